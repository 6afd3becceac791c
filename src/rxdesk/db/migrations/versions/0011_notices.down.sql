DROP TRIGGER waiting_room_noticed ON waiting_rooms;
DROP FUNCTION waiting_room_noticed();
