-- Passes in Google Wallet (docs/wallet.md). Google stands among a pass's devices as `google`, for all that hold it there.

CREATE TABLE wallet_google_passes (       -- of which Google has said that a holder saved or deleted them
  organisation_id integer NOT NULL,
  wallet_pass_uid text COLLATE "C" NOT NULL,
  saved_at timestamptz,                   -- NULL: deleted since, or Google does not have it any more
  callback_ends_at bigint NOT NULL,       -- of the last callback that was heeded, in milliseconds: older ones are not
  callback_nonce text NOT NULL,           -- and what it bore, as it comes again with it
  PRIMARY KEY (organisation_id, wallet_pass_uid),
  FOREIGN KEY (organisation_id, wallet_pass_uid) REFERENCES wallet_passes (organisation_id, uid)
);

ALTER TABLE wallet_pass_templates
  ADD COLUMN google_class text;           -- issuer, tag and address with which Google was last given the class

ALTER TABLE wallet_pushes
  ADD COLUMN notified_at timestamptz;     -- when Google told the holder of the message; NULL: it did not
CREATE INDEX wallet_pushes_notified ON wallet_pushes (organisation_id, wallet_pass_uid, notified_at)
  WHERE notified_at IS NOT NULL;

ALTER TABLE wallet_google_passes ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON wallet_google_passes USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);
