-- Which encryption keys have sealed something here: a text that each of them sealed, opened again at every start. So
-- a ring that lost or changed a key is refused before it seals anything, and not found out by a patient's request.
CREATE TABLE encryption_keys (
  key_id text COLLATE "C" PRIMARY KEY,
  canary bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
