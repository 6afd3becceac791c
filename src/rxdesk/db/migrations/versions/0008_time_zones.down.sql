DROP TRIGGER organisations_keep_their_time_zone ON organisations;
DROP FUNCTION organisations_keep_their_time_zone();
