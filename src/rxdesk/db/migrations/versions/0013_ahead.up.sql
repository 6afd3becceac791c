-- How many wait in a shop before a turn. Volatile, so that its statement sees what was committed before it is called, and
-- not only before the statement that calls it began: that one takes the room's lock first.
CREATE FUNCTION waiting_room_ahead(organisation integer, shop text, before_turn bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN (SELECT count(*) FROM waiting_room_visits w
    WHERE w.organisation_id = organisation AND w.shop_uid = shop AND w.turn < before_turn
      AND w.status = 'waiting' AND w.deleted_at IS NULL);
END $$;
