"""Reads of wallet templates and passes: one statement each."""

from __future__ import annotations

from rxdesk.access import Read

# A pass that is active in name may have run out. $now: the argument with the present instant.
PASS_STATUS = """
CASE WHEN p.status = 'active' AND p.expires_at <= {now}::timestamptz THEN 'expired' ELSE p.status END"""  # noqa: S105

# $4: shop's identifier
TEMPLATES = Read("""
SELECT json_build_object('data', t.data, 'total', t.total)::text AS body
FROM shops s CROSS JOIN LATERAL (
  SELECT count(*) AS total, coalesce(json_agg(json_build_object(
    'uid', t.uid, 'display_name', t.display_name, 'pass_type', t.pass_type, 'shop_identifier', s.identifier)
    ORDER BY t.sort_key, t.uid), '[]') AS data
  FROM wallet_pass_templates t
  WHERE t.organisation_id = $1 AND t.shop_uid = s.uid AND t.deleted_at IS NULL
) t
WHERE s.organisation_id = $1 AND s.identifier = $4 AND s.deleted_at IS NULL
""")

# $4: shop's identifier, $5: the shop's id of the customer, $6: template's uid or NULL, $7: now
PASSES = Read(f"""
SELECT json_build_object('data', p.data, 'total', p.total)::text AS body
FROM shops s CROSS JOIN LATERAL (
  SELECT count(*) AS total, coalesce(json_agg(json_build_object(
    'uid', p.uid, 'wallet_pass_template_uid', p.wallet_pass_template_uid,
    'shop_customer_id', p.shop_customer_id, 'status', {PASS_STATUS.format(now="$7")})
    ORDER BY p.created_at DESC, p.uid DESC), '[]') AS data
  FROM wallet_passes p
  JOIN wallet_pass_templates t ON t.organisation_id = $1 AND t.uid = p.wallet_pass_template_uid
    AND t.shop_uid = s.uid AND t.deleted_at IS NULL
  WHERE p.organisation_id = $1 AND p.shop_customer_id = $5 AND p.deleted_at IS NULL
    AND ($6::text IS NULL OR p.wallet_pass_template_uid = $6)
) p
WHERE s.organisation_id = $1 AND s.identifier = $4 AND s.deleted_at IS NULL
""")
