"""Reads of the waiting room: one statement each."""

from __future__ import annotations

from rxdesk.access import Read

# The position is counted, never stored, so that a cancelled one moves the others up at once: those who wait in the
# blocks of 256 turns before, of which the database keeps the numbers as visits change, and those in its own. The order,
# which a count does not need, leads every plan to an index of turns: without it one that takes the queue for short may
# read all of it.
POSITION = """
SELECT coalesce((
    SELECT sum(b.waiting) FROM waiting_room_blocks b
    WHERE b.organisation_id = $1 AND b.shop_uid = v.shop_uid AND b.block < v.turn >> 8), 0)
  + (SELECT count(*) FROM (
    SELECT FROM waiting_room_visits w
    WHERE w.organisation_id = $1 AND w.shop_uid = v.shop_uid AND w.turn BETWEEN (v.turn >> 8) << 8 AND v.turn
      AND w.status = 'waiting' AND w.deleted_at IS NULL
    ORDER BY w.turn LIMIT 256) w) AS position"""

# A `schemas.Standing` of a visit `v` in a room `r`, whose place in the queue is `q`.
STANDING = """json_build_object(
  'queue_uid', v.uid,
  'status', v.status,
  'position', q.position,
  'video_room_id', v.video_room_id,
  'allocated_at', unix_seconds(v.allocated_at),
  'shop_uid', v.shop_uid,
  'prefers', v.preferred_doctor_uid IS NOT NULL,
  'revision', coalesce(r.revision, 0))"""

# $4: uid
STATUS = Read(f"""
SELECT {STANDING}::text AS body
FROM waiting_room_visits v
LEFT JOIN waiting_rooms r ON r.organisation_id = $1 AND r.uid = v.shop_uid
LEFT JOIN LATERAL ({POSITION}) q ON v.status = 'waiting'
WHERE v.organisation_id = $1 AND v.uid = $4 AND v.deleted_at IS NULL
""")
