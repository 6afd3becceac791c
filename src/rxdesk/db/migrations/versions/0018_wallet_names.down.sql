DROP INDEX wallet_pass_templates_untold;
DROP INDEX wallet_passes_untold;
ALTER TABLE wallet_pass_templates DROP COLUMN untold, DROP COLUMN bare_class;
ALTER TABLE wallet_passes DROP COLUMN untold, DROP COLUMN issued_tag, DROP COLUMN bare_serial;
