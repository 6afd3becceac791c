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
SELECT json_build_object(
  'data', coalesce((
    SELECT json_agg({history.SHOWN} ORDER BY h.changed_at, h.uid)
    FROM (
      SELECT * FROM changes WHERE organisation_id = $1 AND subject_uid = $4 AND subject_kind = 'prescription'
      ORDER BY changed_at, uid LIMIT $5::bigint OFFSET $6::bigint
    ) h), '[]'),
  'totalRegistries', n.total,
  'totalPages', (n.total + $5::bigint - 1) / $5::bigint)::text AS body
FROM prescriptions p
CROSS JOIN (
  SELECT count(*) AS total FROM changes
  WHERE organisation_id = $1 AND subject_uid = $4 AND subject_kind = 'prescription') n
WHERE p.organisation_id = $1 AND p.uid = $4 AND p.deleted_at IS NULL
""")
