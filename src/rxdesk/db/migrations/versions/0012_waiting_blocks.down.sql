DROP TRIGGER waiting_room_visits_added ON waiting_room_visits;
DROP TRIGGER waiting_room_visits_moved ON waiting_room_visits;
DROP TRIGGER waiting_room_visits_removed ON waiting_room_visits;
DROP FUNCTION waiting_room_visits_added();
DROP FUNCTION waiting_room_visits_moved();
DROP TABLE waiting_room_blocks;
