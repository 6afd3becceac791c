-- What wallets call passes, and changes of what a pass shows that have no tag yet (docs/wallet.md, decision 21).

ALTER TABLE wallet_passes
  ADD COLUMN bare_serial boolean NOT NULL DEFAULT false,  -- wallets know it by its bare uid: issued before decision 21
  ADD COLUMN issued_tag bigint NOT NULL DEFAULT 0,        -- its tag when it was issued: no file of it is older
  ADD COLUMN untold boolean NOT NULL DEFAULT false;       -- an import changed what it shows; no tag was taken for it yet
ALTER TABLE wallet_pass_templates
  ADD COLUMN bare_class boolean NOT NULL DEFAULT false,   -- Google knows its class by the bare uid
  ADD COLUMN untold boolean NOT NULL DEFAULT false;       -- as a pass's
CREATE INDEX wallet_passes_untold ON wallet_passes (organisation_id, uid) WHERE untold;
CREATE INDEX wallet_pass_templates_untold ON wallet_pass_templates (organisation_id, uid) WHERE untold;

-- What is on phones keeps its name, unless another organisation's has it too, or it could be taken for another's.
UPDATE wallet_passes p SET bare_serial = true
WHERE p.public_id IS NOT NULL
  AND NOT EXISTS (
    SELECT FROM wallet_passes x
    WHERE x.uid = p.uid AND x.organisation_id <> p.organisation_id AND x.public_id IS NOT NULL)
  AND NOT EXISTS (SELECT FROM organisations o WHERE starts_with(p.uid, o.public_code || '_'))
  AND NOT starts_with(p.uid, '_.');
UPDATE wallet_pass_templates t SET bare_class = true
WHERE t.google_class IS NOT NULL
  AND NOT EXISTS (
    SELECT FROM wallet_pass_templates x
    WHERE x.uid = t.uid AND x.organisation_id <> t.organisation_id AND x.google_class IS NOT NULL)
  AND NOT EXISTS (SELECT FROM organisations o WHERE starts_with(t.uid, o.public_code || '_'))
  AND NOT starts_with(t.uid, '_.');
-- What shared a name at Google is given under its own when it is saved the next time.
UPDATE wallet_pass_templates SET google_class = NULL WHERE NOT bare_class;
UPDATE wallet_google_passes g SET saved_at = NULL
FROM wallet_passes p
WHERE p.organisation_id = g.organisation_id AND p.uid = g.wallet_pass_uid AND NOT p.bare_serial;
