DROP TABLE wallet_checks;
DROP TABLE wallet_device_logs;
DROP TABLE wallet_registrations;
DROP TABLE wallet_template_images;
DROP INDEX wallet_passes_public_id;
ALTER TABLE wallet_passes DROP CONSTRAINT wallet_passes_tokens,
  DROP COLUMN message, DROP COLUMN tag, DROP COLUMN sealed_secret, DROP COLUMN public_id;
ALTER TABLE wallet_pass_templates DROP COLUMN tag, DROP COLUMN design;
DROP TABLE wallet_tags;
