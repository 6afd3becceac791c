-- Each change of a room raises its revision, so whoever changes one tells of it without a word. The notice comes with the
-- commit, to every process that listens; it names the room and nothing of whoever is in it.
CREATE FUNCTION waiting_room_noticed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('rxdesk_rooms', NEW.organisation_id || ' ' || NEW.uid);
  RETURN NULL;
END $$;
CREATE TRIGGER waiting_room_noticed AFTER INSERT OR UPDATE OF revision ON waiting_rooms
  FOR EACH ROW EXECUTE FUNCTION waiting_room_noticed();
