DROP TABLE waiting_room_habits;
DROP TABLE consultation_lengths;
DROP INDEX waiting_room_visits_estimated;
ALTER TABLE waiting_room_visits
  DROP COLUMN estimated_minutes, DROP COLUMN estimated_low, DROP COLUMN estimated_high, DROP COLUMN first_allocated_at;
ALTER TABLE waiting_rooms DROP COLUMN revision, DROP COLUMN attended;
