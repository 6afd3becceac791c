DELETE FROM changes WHERE subject_kind IN ('visit', 'duty');
ALTER TABLE changes DROP CONSTRAINT changes_subject_kind_check,
  ADD CONSTRAINT changes_subject_kind_check CHECK (subject_kind IN
    ('order', 'prescription', 'pharmacy_order', 'pharmacy_sku'));
DROP INDEX waiting_room_visits_preferring, waiting_room_visits_allocated;
ALTER TABLE waiting_room_visits
  DROP COLUMN no_shows, DROP COLUMN requeued_at, DROP COLUMN passed_over_at, DROP COLUMN outcome, DROP COLUMN end_reason;
DROP TABLE doctor_duty_shops;
DROP TABLE doctor_duties;
