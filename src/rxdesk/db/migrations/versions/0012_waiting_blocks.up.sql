-- How many wait, by blocks of turns: a position is the sum of the blocks before and a count within one, so that it
-- costs about as much in a long queue as in a short one (docs/decisions/0017-positions-by-blocks.md).
CREATE TABLE waiting_room_blocks (        -- of a block in which nobody waits there is no row
  organisation_id integer NOT NULL,
  shop_uid text COLLATE "C" NOT NULL,
  block bigint NOT NULL,                  -- 256 turns: turn >> 8
  waiting integer NOT NULL CHECK (waiting >= 0),
  PRIMARY KEY (organisation_id, shop_uid, block),
  FOREIGN KEY (organisation_id, shop_uid) REFERENCES shops (organisation_id, uid)
) WITH (fillfactor = 50);                 -- a row is changed by each who comes and goes

CREATE FUNCTION waiting_room_visits_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO waiting_room_blocks AS kept (organisation_id, shop_uid, block, waiting)
  SELECT organisation_id, shop_uid, turn >> 8, count(*) FROM added
  WHERE status = 'waiting' AND deleted_at IS NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
  ON CONFLICT (organisation_id, shop_uid, block) DO UPDATE SET waiting = kept.waiting + excluded.waiting;
  RETURN NULL;
END $$;
CREATE TRIGGER waiting_room_visits_added AFTER INSERT ON waiting_room_visits
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION waiting_room_visits_added();

CREATE FUNCTION waiting_room_visits_moved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  left_over integer;
BEGIN
  IF OLD.status = 'waiting' AND OLD.deleted_at IS NULL THEN
    UPDATE waiting_room_blocks SET waiting = waiting - 1
    WHERE organisation_id = OLD.organisation_id AND shop_uid = OLD.shop_uid AND block = OLD.turn >> 8
    RETURNING waiting INTO left_over;
    IF left_over = 0 THEN
      DELETE FROM waiting_room_blocks
      WHERE organisation_id = OLD.organisation_id AND shop_uid = OLD.shop_uid AND block = OLD.turn >> 8;
    END IF;
  END IF;
  IF TG_OP = 'UPDATE' AND NEW.status = 'waiting' AND NEW.deleted_at IS NULL THEN
    INSERT INTO waiting_room_blocks AS kept (organisation_id, shop_uid, block, waiting)
    VALUES (NEW.organisation_id, NEW.shop_uid, NEW.turn >> 8, 1)
    ON CONFLICT (organisation_id, shop_uid, block) DO UPDATE SET waiting = kept.waiting + 1;
  END IF;
  RETURN NULL;
END $$;
-- One by one, since a statement's trigger would run for each change of a visit, and most move nobody.
CREATE TRIGGER waiting_room_visits_moved AFTER UPDATE ON waiting_room_visits FOR EACH ROW
  WHEN ((OLD.status, OLD.deleted_at, OLD.shop_uid, OLD.turn) IS DISTINCT FROM
        (NEW.status, NEW.deleted_at, NEW.shop_uid, NEW.turn) AND 'waiting' IN (OLD.status, NEW.status))
  EXECUTE FUNCTION waiting_room_visits_moved();
CREATE TRIGGER waiting_room_visits_removed AFTER DELETE ON waiting_room_visits FOR EACH ROW
  WHEN (OLD.status = 'waiting') EXECUTE FUNCTION waiting_room_visits_moved();

-- After the triggers, whose making lets nobody change visits until the migration ends.
INSERT INTO waiting_room_blocks (organisation_id, shop_uid, block, waiting)
SELECT organisation_id, shop_uid, turn >> 8, count(*) FROM waiting_room_visits
WHERE status = 'waiting' AND deleted_at IS NULL GROUP BY 1, 2, 3;

ALTER TABLE waiting_room_blocks ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON waiting_room_blocks USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);
