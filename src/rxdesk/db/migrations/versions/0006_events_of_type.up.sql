-- Events of one type in their order: polled by type, a rare one is found among any number of others. It takes the place
-- of an index that nothing reads, so a write keeps as many indexes as before; and each of its entries goes to the end of
-- its type's. The old one goes first: it asks for the stronger lock.
DROP INDEX events_of_subject;
CREATE INDEX events_of_type ON events (organisation_id, event_type, position);
