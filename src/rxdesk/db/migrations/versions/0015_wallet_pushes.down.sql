DELETE FROM jobs WHERE kind = 'wallet_push';
DROP INDEX push_notifications_newest, push_notifications_of_pass;
CREATE INDEX push_notifications_of_pass ON push_notifications (organisation_id, wallet_pass_uid, created_at);
DROP TABLE wallet_pushes;
ALTER TABLE push_notifications DROP COLUMN unchanged;
ALTER TABLE wallet_registrations DROP COLUMN told_tag;
