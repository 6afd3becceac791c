DROP TRIGGER doctor_decision_times_counted_insert ON doctor_decision_times;
DROP TRIGGER doctor_decision_times_counted_update ON doctor_decision_times;
DROP FUNCTION doctor_decision_times_counted();
DROP TABLE doctor_decision_blocks;
ALTER TABLE doctor_statistics DROP COLUMN day_json;
ALTER FUNCTION decision_bucket(bigint) STRICT;
ALTER FUNCTION decision_bucket_seconds(integer) STRICT;
