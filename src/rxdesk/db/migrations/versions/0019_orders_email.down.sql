CREATE INDEX orders_email_all ON orders (organisation_id, email_key, patient_uid) WHERE email_key IS NOT NULL;
DROP INDEX orders_email;
ALTER INDEX orders_email_all RENAME TO orders_email;
