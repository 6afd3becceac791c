-- What wallet passes show, what they are found by, and the devices that hold them (docs/wallet.md).

CREATE TABLE wallet_tags (                -- one row an organisation; its lock puts all changes of passes in one order
  organisation_id integer PRIMARY KEY REFERENCES organisations (id),
  last_tag bigint NOT NULL
);

ALTER TABLE wallet_pass_templates
  ADD COLUMN design jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(design) = 'object'),  -- a `wallet.design.Design`
  ADD COLUMN tag bigint NOT NULL DEFAULT 0;   -- of its last change, as a pass's

ALTER TABLE wallet_passes
  ADD COLUMN public_id text COLLATE "C",      -- what its tokens begin with, behind the organisation's public code
  ADD COLUMN sealed_secret bytea,             -- what its tokens are made from
  ADD COLUMN tag bigint NOT NULL DEFAULT 0,   -- of its last change: strictly grows, and is at least the Unix time
  ADD COLUMN message text CHECK (length(message) BETWEEN 1 AND 500),   -- the last one that was sent to the holder
  ADD CONSTRAINT wallet_passes_tokens CHECK ((public_id IS NULL) = (sealed_secret IS NULL));
CREATE UNIQUE INDEX wallet_passes_public_id ON wallet_passes (organisation_id, public_id) WHERE public_id IS NOT NULL;

CREATE TABLE wallet_template_images (
  organisation_id integer NOT NULL,
  wallet_pass_template_uid text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL CHECK (name IN ('icon', 'logo', 'strip', 'thumbnail')),
  scale smallint NOT NULL CHECK (scale BETWEEN 1 AND 3),
  png bytea NOT NULL,
  PRIMARY KEY (organisation_id, wallet_pass_template_uid, name, scale),
  FOREIGN KEY (organisation_id, wallet_pass_template_uid) REFERENCES wallet_pass_templates (organisation_id, uid)
);

CREATE TABLE wallet_registrations (       -- of a pass on a device that asks for its newer versions
  organisation_id integer NOT NULL,
  device_identifier text COLLATE "C" NOT NULL,   -- as the device calls itself
  wallet_pass_uid text COLLATE "C" NOT NULL,
  push_token text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (organisation_id, device_identifier, wallet_pass_uid),
  FOREIGN KEY (organisation_id, wallet_pass_uid) REFERENCES wallet_passes (organisation_id, uid)
);
CREATE INDEX wallet_registrations_of_pass ON wallet_registrations (organisation_id, wallet_pass_uid, device_identifier);

CREATE TABLE wallet_device_logs (         -- what devices report of our web service; the newest few are kept
  organisation_id integer NOT NULL REFERENCES organisations (id),
  uid text COLLATE "C" NOT NULL,
  message text NOT NULL CHECK (length(message) BETWEEN 1 AND 500),
  logged_at timestamptz NOT NULL,
  PRIMARY KEY (organisation_id, uid)
);

CREATE TABLE wallet_checks (              -- of a pass's code, and what was found
  organisation_id integer NOT NULL REFERENCES organisations (id),
  uid text COLLATE "C" NOT NULL,
  result text NOT NULL CHECK (result IN ('valid', 'revoked', 'expired', 'unknown')),
  wallet_pass_uid text COLLATE "C",
  checked_at timestamptz NOT NULL,
  actor_kind text NOT NULL CHECK (actor_kind IN ('key', 'staff', 'operator', 'system')),
  actor_uid text NOT NULL,
  PRIMARY KEY (organisation_id, uid),
  CHECK ((wallet_pass_uid IS NULL) = (result = 'unknown')),
  FOREIGN KEY (organisation_id, wallet_pass_uid) REFERENCES wallet_passes (organisation_id, uid)
);
CREATE INDEX wallet_checks_of_pass ON wallet_checks (organisation_id, wallet_pass_uid, checked_at)
  WHERE wallet_pass_uid IS NOT NULL;

ALTER TABLE wallet_tags ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON wallet_tags USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);
ALTER TABLE wallet_template_images ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON wallet_template_images USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);
ALTER TABLE wallet_registrations ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON wallet_registrations USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);
ALTER TABLE wallet_device_logs ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON wallet_device_logs USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);
ALTER TABLE wallet_checks ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON wallet_checks USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);
