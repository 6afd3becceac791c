DROP TABLE jobs, delivery_attempts, deliveries, events, event_streams, changes;
DROP FUNCTION readable_text(bytea);
DROP SEQUENCE worker_ids;
DROP INDEX notification_subscriptions_active;
ALTER TABLE notification_subscriptions DROP COLUMN pharmacy_uid,
  DROP COLUMN sealed_previous_secret, DROP COLUMN previous_secret_until, DROP COLUMN switched,
  DROP COLUMN failing_since, DROP COLUMN deactivated_reason;
CREATE UNIQUE INDEX notification_subscriptions_active
  ON notification_subscriptions (organisation_id, notification_type, target_key) WHERE deactivated_at IS NULL;
ALTER TABLE api_keys DROP COLUMN pharmacy_uid;
ALTER TABLE orders DROP COLUMN pharmacy_uid, DROP COLUMN delivery_type_uid;
DROP INDEX orders_of_patient;
CREATE INDEX orders_of_patient ON orders (organisation_id, patient_uid);
