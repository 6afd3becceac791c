-- Which encryption keys have sealed something here: a text that each of them sealed, opened again at every start. So
-- a ring that lost or changed a key is refused before it seals anything, and not found out by a patient's request.
CREATE TABLE encryption_keys (
  key_id text COLLATE "C" PRIMARY KEY,
  canary bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- A target in its one normal spelling: https://A.example and https://a.example:443/ are one target, and one active
-- subscription. `target` stays as it was given.
ALTER TABLE notification_subscriptions ADD COLUMN target_key text COLLATE "C";
UPDATE notification_subscriptions SET target_key = target;
ALTER TABLE notification_subscriptions ALTER COLUMN target_key SET NOT NULL;
DROP INDEX notification_subscriptions_active;
CREATE UNIQUE INDEX notification_subscriptions_active
  ON notification_subscriptions (organisation_id, notification_type, target_key) WHERE deactivated_at IS NULL;
