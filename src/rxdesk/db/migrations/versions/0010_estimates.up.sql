-- Each change of who waits, who is with whom or who is on duty raises it: what is kept of a room is good while it stands.
ALTER TABLE waiting_rooms ADD COLUMN revision bigint NOT NULL DEFAULT 0;
