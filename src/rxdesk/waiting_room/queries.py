"""Reads of the waiting room: one statement each."""

from __future__ import annotations

from rxdesk.access import Read

# Positions ahead × mean minutes ÷ doctors on duty, rounded up. $5: mean minutes and $6: doctors on duty where
# the shop sets none.
ESTIMATE = """
ceil((q.position - 1) * coalesce(s.consultation_minutes, {minutes}::int)
     / greatest(1, coalesce(s.doctors_on_duty, {doctors}::int))::numeric)::bigint"""

# The position is counted, never stored, so that a cancelled one moves the others up at once.
POSITION = """
SELECT count(*) AS position FROM waiting_room_visits w
WHERE w.organisation_id = $1 AND w.shop_uid = v.shop_uid AND w.turn <= v.turn
  AND w.status = 'waiting' AND w.deleted_at IS NULL"""

# $4: uid
STATUS = Read(f"""
SELECT json_build_object(
  'queue_uid', v.uid,
  'status', v.status,
  'position', q.position,
  'estimated_wait_minutes', {ESTIMATE.format(minutes="$5", doctors="$6")},
  'video_room_id', v.video_room_id,
  'allocated_at', unix_seconds(v.allocated_at))::text AS body
FROM waiting_room_visits v
JOIN shops s ON s.organisation_id = $1 AND s.uid = v.shop_uid
LEFT JOIN LATERAL ({POSITION}) q ON v.status = 'waiting'
WHERE v.organisation_id = $1 AND v.uid = $4 AND v.deleted_at IS NULL
""")
