"""Reads of prescriptions: one statement each."""

from __future__ import annotations

from rxdesk import history
from rxdesk.access import Read

# $4: uid
PRESCRIPTION = Read("""
SELECT json_build_object(
  'uid', p.uid,
  'status', p.status,
  'doctor', (SELECT json_build_object('uid', d.uid, 'display_name', d.display_name) FROM doctors d
             WHERE d.organisation_id = $1 AND d.uid = p.doctor_uid AND d.deleted_at IS NULL),
  'rendered', p.rendered)::text AS body
FROM prescriptions p
WHERE p.organisation_id = $1 AND p.uid = $4 AND p.deleted_at IS NULL
""")

# $4: uid, $5: rows a page, $6: rows before it
CHANGES = Read(f"""
SELECT {history.PAGE}
FROM (SELECT 'prescription' AS kind FROM prescriptions
  WHERE organisation_id = $1 AND uid = $4 AND deleted_at IS NULL) s
CROSS JOIN {history.COUNTED}
""")
