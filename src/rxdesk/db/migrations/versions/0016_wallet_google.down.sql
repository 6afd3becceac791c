DELETE FROM jobs WHERE kind = 'google_push';
DELETE FROM wallet_pushes WHERE device_identifier = 'google';
DROP INDEX wallet_pushes_notified;
ALTER TABLE wallet_pushes DROP COLUMN notified_at;
ALTER TABLE wallet_pass_templates DROP COLUMN google_class;
DROP TABLE wallet_google_passes;
