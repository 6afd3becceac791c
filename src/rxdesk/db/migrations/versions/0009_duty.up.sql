-- The doctor's side of the waiting room (docs/waiting-room.md).

CREATE TABLE doctor_duties (              -- one row a doctor who ever was on duty
  organisation_id integer NOT NULL,
  uid text COLLATE "C" NOT NULL,          -- the doctor's
  status text COLLATE "C" NOT NULL CHECK (status IN ('on', 'paused', 'off')),
  seen_at timestamptz NOT NULL,           -- the last sign of life: who is silent for long counts as away
  paused_until timestamptz,               -- when a pause is meant to end, if that was said
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  actor_kind text NOT NULL CHECK (actor_kind IN ('key', 'staff', 'operator', 'system')),
  actor_uid text NOT NULL,
  PRIMARY KEY (organisation_id, uid),
  CONSTRAINT doctor_duties_paused CHECK (paused_until IS NULL OR status = 'paused'),
  FOREIGN KEY (organisation_id, uid) REFERENCES doctors (organisation_id, uid)
);

CREATE TABLE doctor_duty_shops (          -- the shops of a duty that has not ended
  organisation_id integer NOT NULL,
  doctor_uid text COLLATE "C" NOT NULL,
  shop_uid text COLLATE "C" NOT NULL,
  PRIMARY KEY (organisation_id, doctor_uid, shop_uid),
  FOREIGN KEY (organisation_id, doctor_uid) REFERENCES doctors (organisation_id, uid),
  FOREIGN KEY (organisation_id, shop_uid) REFERENCES shops (organisation_id, uid)
);
CREATE INDEX doctor_duty_shops_of_shop ON doctor_duty_shops (organisation_id, shop_uid, doctor_uid)
  WHERE shop_uid IS NOT NULL;

ALTER TABLE waiting_room_visits
  ADD COLUMN no_shows smallint NOT NULL DEFAULT 0 CHECK (no_shows >= 0),
  ADD COLUMN requeued_at timestamptz,     -- when it took a new place at the end of the queue
  ADD COLUMN passed_over_at timestamptz,  -- when another doctor first passed it over, for its preferred one
  ADD COLUMN outcome text COLLATE "C" CHECK (outcome IN
    ('treated', 'follow_up', 'referred', 'not_treated', 'other')),
  ADD COLUMN end_reason text COLLATE "C" CHECK (end_reason IN ('no_show', 'doctor'));
-- How many wait ahead for the same doctor, and what a doctor is doing. Each serves only conditions on its own column.
CREATE INDEX waiting_room_visits_preferring
  ON waiting_room_visits (organisation_id, shop_uid, preferred_doctor_uid, turn)
  WHERE preferred_doctor_uid IS NOT NULL AND status = 'waiting' AND deleted_at IS NULL;
CREATE INDEX waiting_room_visits_allocated ON waiting_room_visits (organisation_id, doctor_uid, uid)
  WHERE doctor_uid IS NOT NULL AND status = 'allocated' AND deleted_at IS NULL;

ALTER TABLE changes DROP CONSTRAINT changes_subject_kind_check,
  ADD CONSTRAINT changes_subject_kind_check CHECK (subject_kind IN
    ('order', 'prescription', 'pharmacy_order', 'pharmacy_sku', 'visit', 'duty'));

ALTER TABLE doctor_duties ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON doctor_duties USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);
ALTER TABLE doctor_duty_shops ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON doctor_duty_shops USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);
