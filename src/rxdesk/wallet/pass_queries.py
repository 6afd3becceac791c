"""Reads of one pass with all that it shows, and of templates with their designs: one statement each."""

from __future__ import annotations

from rxdesk.access import Read
from rxdesk.wallet.queries import PASS_STATUS

# The holder is the patient where the pass is linked to one, else what the pass itself was given. A change of the
# template is one of each of its passes. $5: now, $6: the tag for which the reader has the images already, or NULL
_PASS = f"""
SELECT json_build_object(
  'uid', p.uid, 'public_code', o.public_code, 'organisation', o.display_name,
  'public_id', p.public_id, 'sealed_secret', encode(p.sealed_secret, 'base64'),
  'status', {PASS_STATUS.format(now="$5")}, 'expires_at', unix_seconds(p.expires_at),
  'tag', greatest(p.tag, t.tag), 'message', p.message, 'shop_customer_id', p.shop_customer_id,
  'personal', json_build_object(
    'display_name', coalesce(h.display_name, p.display_name),
    'first_name', coalesce(h.first_name, p.first_name),
    'last_name', coalesce(h.last_name, p.last_name)),
  'field_values', p.field_values::text,
  'template_uid', t.uid, 'display_name', t.display_name, 'pass_type', t.pass_type, 'fields', t.fields,
  'design', t.design,
  'images', CASE WHEN $6::bigint IS DISTINCT FROM greatest(p.tag, t.tag) THEN coalesce((
    SELECT json_object_agg(i.name || '@' || i.scale || 'x', encode(i.png, 'base64'))
    FROM wallet_template_images i
    WHERE i.organisation_id = $1 AND i.wallet_pass_template_uid = t.uid), json_build_object()) END
)::text AS body
FROM wallet_passes p
JOIN organisations o ON o.id = $1
JOIN wallet_pass_templates t ON t.organisation_id = $1 AND t.uid = p.wallet_pass_template_uid
  AND t.deleted_at IS NULL
LEFT JOIN patients h ON h.organisation_id = $1 AND h.uid = p.patient_uid AND h.deleted_at IS NULL
WHERE p.organisation_id = $1 AND p.deleted_at IS NULL AND {{found}}"""

# $4: uid
BY_UID = Read(_PASS.format(found="p.uid = $4"))
# $4: what its tokens begin with behind the organisation's public code
BY_PUBLIC_ID = Read(_PASS.format(found="p.public_id = $4"))

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
