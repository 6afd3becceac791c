-- What changes is told: keys of pharmacies, a history of changes, events with their exact bytes, deliveries to
-- subscriptions, each attempt of one, and the queue that routes the work.

-- Keys of a pharmacy: they see its own orders and stock, and nothing else of the organisation.
ALTER TABLE api_keys ADD COLUMN pharmacy_uid text COLLATE "C";
ALTER TABLE api_keys ADD CONSTRAINT api_keys_of_pharmacy
  FOREIGN KEY (organisation_id, pharmacy_uid) REFERENCES pharmacies (organisation_id, uid);

-- Where an order's goods are to come from, and how, if its maker said so.
ALTER TABLE orders ADD COLUMN pharmacy_uid text COLLATE "C", ADD COLUMN delivery_type_uid text COLLATE "C";
ALTER TABLE orders ADD CONSTRAINT orders_of_pharmacy
  FOREIGN KEY (organisation_id, pharmacy_uid) REFERENCES pharmacies (organisation_id, uid);
ALTER TABLE orders ADD CONSTRAINT orders_of_delivery_type
  FOREIGN KEY (organisation_id, delivery_type_uid) REFERENCES delivery_types (organisation_id, uid);

-- A look-up of an order by its uid, as foreign keys make it for each row of an import, must not find this index as good
-- as the key: where statistics are of when there was next to nothing, any index that begins with the organisation is.
DROP INDEX orders_of_patient;
CREATE INDEX orders_of_patient ON orders (organisation_id, patient_uid) WHERE patient_uid IS NOT NULL;

-- History: what changed, from what to what, when, and by whom. It holds no text that anybody wrote but the reason.
CREATE TABLE changes (
  organisation_id integer NOT NULL REFERENCES organisations (id),
  uid text COLLATE "C" NOT NULL,
  subject_kind text COLLATE "C" NOT NULL CHECK (subject_kind IN
    ('order', 'prescription', 'pharmacy_order', 'pharmacy_sku')),
  subject_uid text COLLATE "C" NOT NULL,
  what text COLLATE "C" NOT NULL,         -- the member that changed, or `created`
  old_value text,
  new_value text,
  reason text,
  changed_at timestamptz NOT NULL,
  actor_kind text NOT NULL CHECK (actor_kind IN ('key', 'staff', 'operator', 'system')),
  actor_uid text NOT NULL,
  PRIMARY KEY (organisation_id, uid)
);
CREATE INDEX changes_of_subject ON changes (organisation_id, subject_uid, changed_at, uid);

-- Events ------------------------------------------------------------------------------------------------------
-- One row an organisation: the lock under which its events are given their positions, so that positions become
-- visible in their order and a reader that remembers the last one misses none.
CREATE TABLE event_streams (
  organisation_id integer NOT NULL REFERENCES organisations (id),
  uid text COLLATE "C" NOT NULL,
  last_position bigint NOT NULL,
  PRIMARY KEY (organisation_id, uid)
);

CREATE TABLE events (                     -- the outbox
  organisation_id integer NOT NULL REFERENCES organisations (id),
  uid text COLLATE "C" NOT NULL,          -- the webhook-id
  position bigint NOT NULL,
  event_type text COLLATE "C" NOT NULL,
  subject_uid text COLLATE "C" NOT NULL,  -- of what it tells
  pharmacy_uid text COLLATE "C",          -- the pharmacy that may hear of it
  occurred_at timestamptz NOT NULL,
  body bytea NOT NULL,                    -- the exact bytes that are signed and sent
  cut_body bytea,                         -- those for a subscription that may not read the data; NULL: the same
  actor_kind text NOT NULL CHECK (actor_kind IN ('key', 'staff', 'operator', 'system')),
  actor_uid text NOT NULL,
  PRIMARY KEY (organisation_id, uid),
  CONSTRAINT events_position UNIQUE (organisation_id, position)
);
CREATE INDEX events_occurred_at ON events (organisation_id, occurred_at);
CREATE INDEX events_of_subject ON events (organisation_id, subject_uid, position);

-- Subscriptions -----------------------------------------------------------------------------------------------
ALTER TABLE notification_subscriptions
  ADD COLUMN pharmacy_uid text COLLATE "C",             -- made by that pharmacy's key, and hears of nothing else
  ADD COLUMN sealed_previous_secret bytea,              -- while a rotation's overlap lasts
  ADD COLUMN previous_secret_until timestamptz,
  ADD COLUMN switched boolean NOT NULL DEFAULT false,   -- the vendor's one signature is the new secret's already
  ADD COLUMN failing_since timestamptz,                 -- the first failure since the last success
  ADD COLUMN deactivated_reason text CHECK (deactivated_reason IN ('removed', 'gone', 'failing'));
UPDATE notification_subscriptions SET deactivated_reason = 'removed' WHERE deactivated_at IS NOT NULL;
ALTER TABLE notification_subscriptions ADD CONSTRAINT notification_subscriptions_of_pharmacy
  FOREIGN KEY (organisation_id, pharmacy_uid) REFERENCES pharmacies (organisation_id, uid);
DROP INDEX notification_subscriptions_active;
CREATE UNIQUE INDEX notification_subscriptions_active ON notification_subscriptions
  (organisation_id, notification_type, target_key, coalesce(pharmacy_uid, '')) WHERE deactivated_at IS NULL;

-- Deliveries --------------------------------------------------------------------------------------------------
CREATE TABLE deliveries (
  organisation_id integer NOT NULL,
  uid text COLLATE "C" NOT NULL,          -- dlv-, the event's body, a dot, the subscription's: one of each pair
  subscription_uid text COLLATE "C" NOT NULL,
  event_uid text COLLATE "C" NOT NULL,
  status text NOT NULL CHECK (status IN ('pending', 'delivered', 'failed', 'cancelled')),
  attempts integer NOT NULL DEFAULT 0,    -- of the present run; a replay begins at 0 again
  attempted integer NOT NULL DEFAULT 0,   -- of all runs: the number of the last row of delivery_attempts
  next_attempt_at timestamptz,
  created_at timestamptz NOT NULL,
  ended_at timestamptz,
  PRIMARY KEY (organisation_id, uid),
  FOREIGN KEY (organisation_id, subscription_uid) REFERENCES notification_subscriptions (organisation_id, uid),
  FOREIGN KEY (organisation_id, event_uid) REFERENCES events (organisation_id, uid)
);
CREATE INDEX deliveries_of_subscription ON deliveries (organisation_id, subscription_uid, created_at, uid);
CREATE INDEX deliveries_of_event ON deliveries (organisation_id, event_uid);
CREATE INDEX deliveries_pending ON deliveries (organisation_id, subscription_uid) WHERE status = 'pending';
CREATE INDEX deliveries_newest ON deliveries (organisation_id, created_at, uid);

CREATE TABLE delivery_attempts (
  organisation_id integer NOT NULL,
  uid text COLLATE "C" NOT NULL,          -- the delivery's, a colon, the attempt's number
  delivery_uid text COLLATE "C" NOT NULL,
  number integer NOT NULL,
  started_at timestamptz NOT NULL,
  duration_ms integer NOT NULL,
  status_code integer,
  error text COLLATE "C",                 -- NULL: delivered
  answer bytea NOT NULL,                  -- the first bytes of the receiver's answer
  PRIMARY KEY (organisation_id, uid),
  FOREIGN KEY (organisation_id, delivery_uid) REFERENCES deliveries (organisation_id, uid)
);
CREATE INDEX delivery_attempts_of_delivery ON delivery_attempts (organisation_id, delivery_uid, number);

-- The bytes of an answer as text: UTF-8, the last character of which may be cut; else with escapes.
CREATE FUNCTION readable_text(bytes bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
  FOR cut IN 0..least(3, length(bytes)) LOOP
    BEGIN
      IF cut = 0 OR get_byte(bytes, length(bytes) - cut) BETWEEN 194 AND 244 THEN -- the first byte of a character
        RETURN convert_from(substr(bytes, 1, length(bytes) - cut), 'UTF8');
      END IF;
    EXCEPTION WHEN data_exception THEN -- not UTF-8
    END;
  END LOOP;
  RETURN encode(bytes, 'escape');
END $$;

-- The queue ---------------------------------------------------------------------------------------------------
-- Routes work and holds no payload, so it has no policy: a worker claims here before it knows whose work it is, and
-- reads the payload under the organisation's policy. A claim is its worker's while that one's connection lives: the
-- number is an advisory lock that the connection holds. `lease_until` is for a worker that lives and does nothing.
CREATE SEQUENCE worker_ids AS integer CYCLE;
CREATE TABLE jobs (
  organisation_id integer NOT NULL,
  uid text COLLATE "C" NOT NULL,          -- of the row that is to be worked on
  kind text COLLATE "C" NOT NULL,
  lane text COLLATE "C" NOT NULL CHECK (lane IN ('first', 'retry')),
  endpoint bigint NOT NULL,               -- a hash of where it goes: work for one place is one queue
  due_at timestamptz NOT NULL,
  worker_id integer,
  lease_until timestamptz,
  PRIMARY KEY (organisation_id, kind, uid)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.2);
CREATE INDEX jobs_due ON jobs (kind, lane, organisation_id, endpoint, due_at, uid) WHERE worker_id IS NULL;
CREATE INDEX jobs_held ON jobs (kind, organisation_id, endpoint) WHERE worker_id IS NOT NULL;
CREATE INDEX jobs_next ON jobs (kind, due_at) WHERE worker_id IS NULL AND lane = 'retry';

DO $$
DECLARE
  tenant_table text;
BEGIN
  FOREACH tenant_table IN ARRAY ARRAY['changes', 'event_streams', 'events', 'deliveries', 'delivery_attempts'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
    EXECUTE format('CREATE POLICY tenant ON %I USING (organisation_id = '
      'NULLIF(current_setting(''rxdesk.organisation_id'', true), '''')::int)', tenant_table);
  END LOOP;
END $$;
