DROP INDEX orders_email;
CREATE INDEX orders_email ON orders (organisation_id, email_key, patient_uid) WHERE email_key IS NOT NULL;
