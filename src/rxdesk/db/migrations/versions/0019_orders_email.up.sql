-- Whose order bears an e-mail is known from the index alone: an order's page need not be read to see that it is deleted.
DROP INDEX orders_email;
CREATE INDEX orders_email ON orders (organisation_id, email_key, patient_uid)
  WHERE email_key IS NOT NULL AND deleted_at IS NULL;
