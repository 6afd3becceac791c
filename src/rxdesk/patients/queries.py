"""Reads of patients: one statement each."""

from __future__ import annotations

from rxdesk.access import Read

_BODY = """json_build_object('uid', p.uid, 'data', p.profile || jsonb_build_object(
  'display_name', p.display_name, 'email', p.email, 'date_of_birth', p.date_of_birth::text))::text AS body"""

# $4: uid
PATIENT = Read(f"""
SELECT {_BODY}
FROM patients p WHERE p.organisation_id = $1 AND p.uid = $4 AND p.deleted_at IS NULL
""")

# $4: e-mail key. The newest-created patient wins. In a large database each page that is looked at costs: an order's
# patient is known from the index alone, and who is found by the own address is not looked up again by uid.
PATIENT_BY_EMAIL = Read(f"""
SELECT {_BODY}
FROM (
  SELECT uid, profile, display_name, email, date_of_birth, created_at FROM patients
  WHERE organisation_id = $1 AND email_key = $4 AND deleted_at IS NULL
  UNION ALL
  SELECT p.uid, p.profile, p.display_name, p.email, p.date_of_birth, p.created_at
  FROM (SELECT DISTINCT patient_uid FROM orders
    WHERE organisation_id = $1 AND email_key = $4 AND patient_uid IS NOT NULL AND deleted_at IS NULL) o
  JOIN patients p ON p.organisation_id = $1 AND p.uid = o.patient_uid AND p.deleted_at IS NULL
) p
ORDER BY p.created_at DESC, p.uid DESC
LIMIT 1
""")

# $4: patient's uid, $5: intent, $6: days where the organisation sets none, $7: now in Unix seconds
INTENT = Read("""
SELECT json_build_object('return_code', CASE
  WHEN s.signed_at IS NULL THEN 'NOT_FOUND'
  WHEN $7::bigint - unix_seconds(s.signed_at) <= 86400::bigint * coalesce((
    SELECT valid_days FROM intent_windows WHERE organisation_id = $1 AND uid = $5), $6::int) THEN 'VALID'
  ELSE 'EXPIRED' END)::text AS body
FROM patients p LEFT JOIN LATERAL (
  SELECT max(signed_at) AS signed_at FROM submissions
  WHERE organisation_id = $1 AND patient_uid = p.uid AND intent = $5 AND deleted_at IS NULL
) s ON true
WHERE p.organisation_id = $1 AND p.uid = $4 AND p.deleted_at IS NULL
""")
