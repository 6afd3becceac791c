DROP FUNCTION waiting_room_ahead(integer, text);
