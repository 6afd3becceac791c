-- Telling devices that a pass has changed (docs/wallet.md): a row for each change and device.

ALTER TABLE wallet_registrations
  ADD COLUMN told_tag bigint NOT NULL DEFAULT 0;  -- the newest tag of the pass that the device was told of when it asked

ALTER TABLE push_notifications
  ADD COLUMN unchanged boolean NOT NULL DEFAULT false;  -- the pass showed this very text already

CREATE TABLE wallet_pushes (
  organisation_id integer NOT NULL,
  uid text COLLATE "C" NOT NULL,
  wallet_pass_uid text COLLATE "C" NOT NULL,
  device_identifier text COLLATE "C" NOT NULL,
  push_notification_uid text COLLATE "C",         -- NULL: the pass was changed otherwise
  tag bigint NOT NULL,                            -- of the change
  status text NOT NULL CHECK (status IN ('queued', 'sent', 'delivered_to_device', 'failed')),
  reason text,
  attempts integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (organisation_id, uid),
  FOREIGN KEY (organisation_id, wallet_pass_uid) REFERENCES wallet_passes (organisation_id, uid),
  FOREIGN KEY (organisation_id, push_notification_uid) REFERENCES push_notifications (organisation_id, uid)
);
CREATE INDEX wallet_pushes_open ON wallet_pushes (organisation_id, wallet_pass_uid, tag)
  WHERE status IN ('queued', 'sent');
CREATE INDEX wallet_pushes_of_notification ON wallet_pushes (organisation_id, push_notification_uid)
  WHERE push_notification_uid IS NOT NULL;
CREATE INDEX wallet_pushes_ended ON wallet_pushes (organisation_id, updated_at) WHERE status <> 'queued';
-- Notifications are referred to now: no index may look as good as their key while statistics say that there are few.
DROP INDEX push_notifications_of_pass;
CREATE INDEX push_notifications_of_pass ON push_notifications (organisation_id, wallet_pass_uid, created_at)
  WHERE wallet_pass_uid IS NOT NULL;
CREATE INDEX push_notifications_newest ON push_notifications (organisation_id, created_at, uid) WHERE uid IS NOT NULL;

ALTER TABLE wallet_pushes ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON wallet_pushes USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);
