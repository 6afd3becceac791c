-- Statistics are counted by days of the organisation's time zone as the rows are written (decision 5): another time zone
-- would leave all counts of before in the days of the old one, and nothing would tell.
CREATE FUNCTION organisations_keep_their_time_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the time zone of an organisation is set when it is made: doctors'' statistics are counted by its days'
    USING ERRCODE = 'feature_not_supported', HINT = 'Make a new organisation with that time zone and import its data.';
END $$;
CREATE TRIGGER organisations_keep_their_time_zone BEFORE UPDATE OF time_zone ON organisations
  FOR EACH ROW WHEN (OLD.time_zone IS DISTINCT FROM NEW.time_zone)
  EXECUTE FUNCTION organisations_keep_their_time_zone();
