DROP INDEX events_of_type;
CREATE INDEX events_of_subject ON events (organisation_id, subject_uid, position);
