CREATE TEMPORARY TABLE numbered_attempts ON COMMIT DROP AS SELECT * FROM delivery_attempts;
DROP TABLE delivery_attempts;
CREATE TABLE delivery_attempts (
  organisation_id integer NOT NULL,
  uid text COLLATE "C" NOT NULL,
  delivery_uid text COLLATE "C" NOT NULL,
  number integer NOT NULL,
  started_at timestamptz NOT NULL,
  duration_ms integer NOT NULL,
  status_code integer,
  error text COLLATE "C",
  answer bytea NOT NULL,
  PRIMARY KEY (organisation_id, uid),
  FOREIGN KEY (organisation_id, delivery_uid) REFERENCES deliveries (organisation_id, uid)
);
INSERT INTO delivery_attempts
SELECT organisation_id, delivery_uid || ':' || number, delivery_uid, number, started_at, duration_ms, status_code,
  error, answer FROM numbered_attempts;
CREATE INDEX delivery_attempts_of_delivery ON delivery_attempts (organisation_id, delivery_uid, number);
ALTER TABLE delivery_attempts ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON delivery_attempts USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);

DROP INDEX events_position, events_occurred_at, events_of_type;
ALTER TABLE events ADD CONSTRAINT events_position UNIQUE (organisation_id, position);
CREATE INDEX events_occurred_at ON events (organisation_id, occurred_at);
CREATE INDEX events_of_type ON events (organisation_id, event_type, position);

DROP INDEX deliveries_of_subscription, deliveries_of_event, deliveries_newest;
CREATE INDEX deliveries_of_subscription ON deliveries (organisation_id, subscription_uid, created_at, uid);
CREATE INDEX deliveries_of_event ON deliveries (organisation_id, event_uid);
CREATE INDEX deliveries_pending ON deliveries (organisation_id, subscription_uid) WHERE status = 'pending';
ALTER TABLE deliveries RESET (fillfactor);
CREATE INDEX deliveries_newest ON deliveries (organisation_id, created_at, uid);

DROP INDEX jobs_key;
ALTER TABLE jobs REPLICA IDENTITY DEFAULT;
ALTER TABLE jobs ADD PRIMARY KEY (organisation_id, kind, uid);
