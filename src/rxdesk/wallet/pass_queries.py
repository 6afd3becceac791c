"""Reads of one pass with all that it shows, and of templates with their designs: one statement each."""

from __future__ import annotations

from typing import Final

from rxdesk.access import Read
from rxdesk.wallet.queries import PASS_STATUS

_PRESENT: Final = "p.deleted_at IS NULL AND t.deleted_at IS NULL"

# The holder is the patient where the pass is linked to one, else what the pass itself was given. A change of the
# template is one of each of its passes. What is deleted is revoked for those who hold it, and `_PRESENT` keeps it from
# all others. `unless`: the tag for which the reader has the images already, or NULL; they are left out then, unless
# what is shown has changed since that tag was taken.
PASS: Final = f"""
SELECT json_build_object(
  'uid', p.uid, 'bare_serial', p.bare_serial, 'public_code', o.public_code, 'organisation', o.display_name,
  'public_id', p.public_id, 'sealed_secret', encode(p.sealed_secret, 'base64'),
  'status', CASE WHEN {_PRESENT} THEN {PASS_STATUS.format(now="{now}")} ELSE 'revoked' END,
  'expires_at', unix_seconds(p.expires_at),
  'tag', greatest(p.tag, t.tag), 'message', p.message, 'shop_customer_id', p.shop_customer_id,
  'personal', json_build_object(
    'display_name', coalesce(h.display_name, p.display_name),
    'first_name', coalesce(h.first_name, p.first_name),
    'last_name', coalesce(h.last_name, p.last_name)),
  'field_values', p.field_values::text,
  'template_uid', t.uid, 'bare_class', t.bare_class, 'display_name', t.display_name, 'pass_type', t.pass_type,
  'fields', t.fields, 'design', t.design, 'template_tag', t.tag, 'google_class', t.google_class,
  'image_names', coalesce((
    SELECT json_agg(DISTINCT i.name) FROM wallet_template_images i
    WHERE i.organisation_id = $1 AND i.wallet_pass_template_uid = t.uid), '[]'),
  'images', CASE WHEN {{unless}} IS DISTINCT FROM greatest(p.tag, t.tag) OR p.untold OR t.untold THEN coalesce((
    SELECT json_object_agg(i.name || '@' || i.scale || 'x', encode(i.png, 'base64'))
    FROM wallet_template_images i
    WHERE i.organisation_id = $1 AND i.wallet_pass_template_uid = t.uid), json_build_object()) END
)::text AS body
FROM wallet_passes p
JOIN organisations o ON o.id = $1
JOIN wallet_pass_templates t ON t.organisation_id = $1 AND t.uid = p.wallet_pass_template_uid
LEFT JOIN patients h ON h.organisation_id = $1 AND h.uid = p.patient_uid AND h.deleted_at IS NULL
WHERE p.organisation_id = $1 AND {{found}}"""

# What a template's class at Google was given as. $2 the template, $3 `Issuer.class_mark`
CLASS_GIVEN: Final = """
UPDATE wallet_pass_templates SET google_class = $3
WHERE organisation_id = $1 AND uid = $2 AND google_class IS DISTINCT FROM $3"""

_NAMES = {"now": "$5", "unless": "$6::bigint"}

# $4: uid, $5: now, $6: `unless`
BY_UID = Read(PASS.format(found=f"p.uid = $4 AND {_PRESENT}", **_NAMES))
# For those who hold it, whose wallets are to know that it is good no more. $4 to $6 likewise
HELD_BY_UID = Read(PASS.format(found="p.uid = $4", **_NAMES))
# $4: what its tokens begin with behind the organisation's public code, $5 and $6 likewise
BY_PUBLIC_ID = Read(PASS.format(found=f"p.public_id = $4 AND {_PRESENT}", **_NAMES))

# $4: the template, $5: the image's name. The largest that there is, also of a deleted template: Google fetches it for
# the void passes of those who hold some.
IMAGE = Read("""
SELECT encode(i.png, 'base64') AS body FROM wallet_template_images i
WHERE i.organisation_id = $1 AND i.wallet_pass_template_uid = $4 AND i.name = $5
ORDER BY i.scale DESC LIMIT 1
""")

# $4: uid
TEMPLATE = Read("""
SELECT json_build_object(
  'uid', t.uid, 'display_name', t.display_name, 'pass_type', t.pass_type, 'shop_uid', t.shop_uid,
  'fields', t.fields, 'design', t.design,
  'images', coalesce((
    SELECT json_agg(json_build_object('name', i.name, 'scale', i.scale, 'bytes', length(i.png))
      ORDER BY i.name, i.scale)
    FROM wallet_template_images i
    WHERE i.organisation_id = $1 AND i.wallet_pass_template_uid = t.uid), '[]'))::text AS body
FROM wallet_pass_templates t
WHERE t.organisation_id = $1 AND t.uid = $4 AND t.deleted_at IS NULL
""")
