-- What estimated waits are made of, and what tells how far off they were (docs/waiting-room-estimates.md).

ALTER TABLE waiting_rooms
  -- Each change of who waits, who is with whom or who is on duty raises it: what is kept of a room is good while it stands.
  ADD COLUMN revision bigint NOT NULL DEFAULT 0,
  ADD COLUMN attended boolean NOT NULL DEFAULT false; -- a doctor was on duty there: who is counts, not what a setting says
UPDATE waiting_rooms AS r SET attended = true FROM doctor_duty_shops s
WHERE s.organisation_id = r.organisation_id AND s.shop_uid = r.uid;

ALTER TABLE waiting_room_visits
  ADD COLUMN estimated_minutes bigint,    -- what was estimated when it was registered
  ADD COLUMN estimated_low bigint,
  ADD COLUMN estimated_high bigint,
  ADD COLUMN first_allocated_at timestamptz; -- the end of the wait that was estimated, whatever comes after it
CREATE INDEX waiting_room_visits_estimated ON waiting_room_visits (organisation_id, created_at)
  WHERE estimated_minutes IS NOT NULL;

CREATE TABLE consultation_lengths (       -- of a doctor's consultations in a shop: sums over logarithms of minutes
  organisation_id integer NOT NULL,
  shop_uid text COLLATE "C" NOT NULL,
  doctor_uid text COLLATE "C" NOT NULL,
  weight double precision NOT NULL,       -- how many; each counts half after 21 days
  total double precision NOT NULL,
  square_total double precision NOT NULL,
  updated_at timestamptz NOT NULL,        -- as of when
  PRIMARY KEY (organisation_id, shop_uid, doctor_uid),
  FOREIGN KEY (organisation_id, shop_uid) REFERENCES shops (organisation_id, uid),
  FOREIGN KEY (organisation_id, doctor_uid) REFERENCES doctors (organisation_id, uid)
);
CREATE TABLE waiting_room_habits (        -- of a shop: what the worker has learned of it besides, from the last weeks
  organisation_id integer NOT NULL,
  uid text COLLATE "C" NOT NULL,          -- the shop's
  revision bigint NOT NULL,               -- of its room, as of when
  learned jsonb NOT NULL,                 -- an `estimates.learning.Learned`
  PRIMARY KEY (organisation_id, uid),
  FOREIGN KEY (organisation_id, uid) REFERENCES shops (organisation_id, uid)
);

ALTER TABLE waiting_room_habits ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON waiting_room_habits USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);
ALTER TABLE consultation_lengths ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON consultation_lengths USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);

INSERT INTO consultation_lengths
SELECT n.organisation_id, n.shop_uid, n.doctor_uid, sum(n.fade), sum(n.fade * n.value), sum(n.fade * n.value * n.value),
  n.latest
FROM (
  SELECT w.*, power(0.5::float8, least(extract(epoch FROM w.latest - w.ended_at)::float8 / 86400 / 21, 1000)) AS fade
  FROM (
    SELECT v.organisation_id, v.shop_uid, v.doctor_uid, v.ended_at,
      ln(least(greatest(extract(epoch FROM v.ended_at - v.allocated_at)::float8 / 60, 0.5), 120)) AS value,
      max(v.ended_at) OVER (PARTITION BY v.organisation_id, v.shop_uid, v.doctor_uid) AS latest
    FROM waiting_room_visits v
    WHERE v.status = 'completed' AND v.deleted_at IS NULL AND v.doctor_uid IS NOT NULL AND v.ended_at >= v.allocated_at
  ) w) n
GROUP BY n.organisation_id, n.shop_uid, n.doctor_uid, n.latest;
