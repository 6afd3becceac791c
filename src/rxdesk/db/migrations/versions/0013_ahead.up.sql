-- How many wait in a shop, all of them ahead of whoever takes the next turn. Volatile, so that its statement sees what was
-- committed before it is called, and not only before the statement that calls it began: that one takes the room's lock
-- first.
CREATE FUNCTION waiting_room_ahead(organisation integer, shop text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN (SELECT coalesce(sum(b.waiting), 0) FROM waiting_room_blocks b
    WHERE b.organisation_id = organisation AND b.shop_uid = shop);
END $$;
