"""Reads of the doctor's side of the waiting room: one statement each."""

from __future__ import annotations

from rxdesk import history
from rxdesk.access import Read

# A visit `v` as its doctor sees it.
VISIT = """json_build_object(
  'queue_uid', v.uid,
  'shop_uid', v.shop_uid,
  'status', v.status,
  'patient_profile_uid', v.patient_uid,
  'preferred_doctor_uid', v.preferred_doctor_uid,
  'visit_reason', v.visit_reason,
  'doctor_uid', v.doctor_uid,
  'video_room_id', v.video_room_id,
  'no_shows', v.no_shows,
  'created_at', unix_seconds(v.created_at),
  'allocated_at', unix_seconds(v.allocated_at),
  'ended_at', unix_seconds(v.ended_at),
  'outcome', v.outcome,
  'end_reason', v.end_reason)"""

# The status of a duty `d`, if there is one; who was not seen since `{since}` is away.
_STATUS = """CASE WHEN d.status IS NULL THEN 'off'
    WHEN d.status <> 'off' AND d.seen_at < {since}::timestamptz THEN 'away' ELSE d.status END"""

# $4: doctor's uid, $5: who was not seen since then is away
DUTY = Read(f"""
SELECT json_build_object(
  'doctor_uid', o.uid,
  'status', {_STATUS.format(since="$5")},
  'shop_uids', coalesce((
    SELECT json_agg(s.shop_uid ORDER BY s.shop_uid) FROM doctor_duty_shops s
    WHERE s.organisation_id = $1 AND s.doctor_uid = o.uid), '[]'),
  'seen_at', unix_seconds(d.seen_at),
  'paused_until', unix_seconds(d.paused_until),
  'visits', coalesce((
    SELECT json_agg({VISIT} ORDER BY v.allocated_at, v.uid) FROM waiting_room_visits v
    WHERE v.organisation_id = $1 AND v.doctor_uid = o.uid AND v.status = 'allocated' AND v.deleted_at IS NULL),
    '[]'))::text AS body
FROM doctors o
LEFT JOIN doctor_duties d ON d.organisation_id = $1 AND d.uid = o.uid
WHERE o.organisation_id = $1 AND o.uid = $4 AND o.deleted_at IS NULL
""")

_ON_BOARD = """json_build_object(
  'queue_uid', v.uid,
  'status', v.status,
  'position', {position},
  'patient_profile_uid', v.patient_uid,
  'preferred_doctor_uid', v.preferred_doctor_uid,
  'doctor_uid', v.doctor_uid,
  'no_shows', v.no_shows,
  'created_at', unix_seconds(v.created_at),
  'allocated_at', unix_seconds(v.allocated_at))"""

# $4: shop's uid, $5: who was not seen since then is away, $6: rows a page, $7: rows before it
BOARD = Read(f"""
SELECT json_build_object(
  'shop_uid', s.uid,
  'doctors', coalesce((
    SELECT json_agg(json_build_object(
      'uid', o.uid,
      'display_name', o.display_name,
      'status', {_STATUS.format(since="$5")},
      'paused_until', unix_seconds(d.paused_until),
      'queue_uids', coalesce((
        SELECT json_agg(v.uid ORDER BY v.allocated_at, v.uid) FROM waiting_room_visits v
        WHERE v.organisation_id = $1 AND v.doctor_uid = o.uid AND v.status = 'allocated' AND v.deleted_at IS NULL),
        '[]')) ORDER BY o.sort_key, o.uid)
    FROM doctor_duty_shops h
    JOIN doctor_duties d ON d.organisation_id = $1 AND d.uid = h.doctor_uid
    JOIN doctors o ON o.organisation_id = $1 AND o.uid = h.doctor_uid AND o.deleted_at IS NULL
    WHERE h.organisation_id = $1 AND h.shop_uid = s.uid AND d.status <> 'off'), '[]'),
  'allocated', coalesce((
    SELECT json_agg({_ON_BOARD.format(position="NULL")} ORDER BY v.allocated_at, v.uid) FROM waiting_room_visits v
    WHERE v.organisation_id = $1 AND v.doctor_uid IS NOT NULL AND v.shop_uid = s.uid AND v.status = 'allocated'
      AND v.deleted_at IS NULL), '[]'),
  'data', coalesce((
    SELECT json_agg({_ON_BOARD.format(position="$7::bigint + v.number")} ORDER BY v.turn)
    FROM (
      SELECT w.*, row_number() OVER (ORDER BY w.turn) AS number FROM (
        SELECT * FROM waiting_room_visits
        WHERE organisation_id = $1 AND shop_uid = s.uid AND status = 'waiting' AND deleted_at IS NULL
        ORDER BY turn LIMIT $6::bigint OFFSET $7::bigint
      ) w
    ) v), '[]'),
  'totalRegistries', n.total,
  'totalPages', (n.total + $6::bigint - 1) / $6::bigint)::text AS body
FROM shops s
CROSS JOIN LATERAL (
  SELECT count(*) AS total FROM waiting_room_visits w
  WHERE w.organisation_id = $1 AND w.shop_uid = s.uid AND w.status = 'waiting' AND w.deleted_at IS NULL) n
WHERE s.organisation_id = $1 AND s.uid = $4 AND s.deleted_at IS NULL
""")

# $4: uid, $5: rows a page, $6: rows before it
VISIT_CHANGES = Read(f"""
SELECT {history.PAGE}
FROM (SELECT 'visit' AS kind FROM waiting_room_visits
  WHERE organisation_id = $1 AND uid = $4 AND deleted_at IS NULL) s
CROSS JOIN {history.COUNTED}
""")
DUTY_CHANGES = Read(f"""
SELECT {history.PAGE}
FROM (SELECT 'duty' AS kind FROM doctors
  WHERE organisation_id = $1 AND uid = $4 AND deleted_at IS NULL) s
CROSS JOIN {history.COUNTED}
""")
