DROP INDEX notification_subscriptions_active;
ALTER TABLE notification_subscriptions DROP COLUMN target_key;
CREATE UNIQUE INDEX notification_subscriptions_active
  ON notification_subscriptions (organisation_id, notification_type, target) WHERE deactivated_at IS NULL;
DROP TABLE encryption_keys;
