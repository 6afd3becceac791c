-- Statistics of a queue are of when it was empty, and a burst comes in one transaction. A look-up by key must be one
-- then too, so no other index may look as good as the key: each other one serves only conditions on the column that it
-- is for, which its predicate asks for (any comparison with that column implies it).
ALTER TABLE jobs DROP CONSTRAINT jobs_pkey;
CREATE UNIQUE INDEX jobs_key ON jobs (organisation_id, kind, uid) WHERE uid IS NOT NULL;
-- Without a primary key logical replication, by which an installation may move, could not tell of a row that goes.
ALTER TABLE jobs REPLICA IDENTITY FULL;

-- Each delivery is changed when it has been attempted. No index holds what changes then, and a page has room for the
-- second version of each row, so that no index is written to. What waits for a subscription is found in the queue.
ALTER TABLE deliveries SET (fillfactor = 50);
DROP INDEX deliveries_pending, deliveries_of_subscription, deliveries_of_event, deliveries_newest;
CREATE INDEX deliveries_of_subscription ON deliveries (organisation_id, subscription_uid, created_at, uid)
  WHERE subscription_uid IS NOT NULL;
CREATE INDEX deliveries_of_event ON deliveries (organisation_id, event_uid) WHERE event_uid IS NOT NULL;
CREATE INDEX deliveries_newest ON deliveries (organisation_id, created_at, uid) WHERE created_at IS NOT NULL;

ALTER TABLE events DROP CONSTRAINT events_position;
CREATE UNIQUE INDEX events_position ON events (organisation_id, position) WHERE position IS NOT NULL;
DROP INDEX events_occurred_at, events_of_type;
CREATE INDEX events_occurred_at ON events (organisation_id, occurred_at) WHERE occurred_at IS NOT NULL;
CREATE INDEX events_of_type ON events (organisation_id, event_type, position) WHERE event_type IS NOT NULL;

-- An attempt is its delivery's and has a number: no uid beside them, and one index.
ALTER TABLE delivery_attempts DROP CONSTRAINT delivery_attempts_pkey;
DROP INDEX delivery_attempts_of_delivery;
ALTER TABLE delivery_attempts DROP COLUMN uid, ADD PRIMARY KEY (organisation_id, delivery_uid, number);
