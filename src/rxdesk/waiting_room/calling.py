"""Who is due: the rule of docs/waiting-room.md, and the call that gives a doctor the patient who is.

The rooms of the duty's shops are locked first, so that calls, registrations and returns of one shop come one after
the other, and what the choice reads is what was committed before it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from rxdesk import errors, history
from rxdesk.access import Transaction
from rxdesk.waiting_room import duty
from rxdesk.waiting_room.desk_queries import VISIT
from rxdesk.waiting_room.desk_schemas import Visit
from rxdesk.waiting_room.lifecycle import Rules
from rxdesk.waiting_room.telling import tell
from rxdesk.waiting_room.video import new_video_room

# Before all signs of life.
_NEVER = datetime.fromtimestamp(0, UTC)

# The visits of doctors who have given no sign of life since {since}.
_VANISHED = """
SELECT v.uid, v.shop_uid, v.doctor_uid FROM waiting_room_visits v
JOIN doctor_duties d ON d.organisation_id = $1 AND d.uid = v.doctor_uid AND d.status <> 'off' AND d.seen_at < {since}
WHERE v.organisation_id = $1 AND v.status = 'allocated' AND v.deleted_at IS NULL"""

_LOCK_ROOMS_OF = f"""
SELECT r.uid, r.uid IN (SELECT g.shop_uid FROM ({_VANISHED.format(since="$3")}) g) AS vanished
FROM waiting_rooms r
WHERE r.organisation_id = $1 AND r.uid IN (
  SELECT s.shop_uid FROM doctor_duty_shops s WHERE s.organisation_id = $1 AND s.doctor_uid = $2)
ORDER BY r.uid FOR NO KEY UPDATE OF r"""

_LOCK_ROOMS = """
SELECT uid FROM waiting_rooms WHERE organisation_id = $1 AND uid = ANY ($2::text[]) ORDER BY uid FOR NO KEY UPDATE"""

_SHOPS_OF_VANISHED = f"""
SELECT DISTINCT g.shop_uid FROM ({_VANISHED.format(since="$2")}) g"""

# The turn stays: who came before is in front again.
_RETURN = f"""
WITH gone AS (
  {_VANISHED.format(since="$3")} AND v.shop_uid = ANY ($2::text[])
  FOR NO KEY UPDATE OF v
), returned AS (
  UPDATE waiting_room_visits AS v SET status = 'waiting', doctor_uid = NULL, video_room_id = NULL, allocated_at = NULL,
    passed_over_at = NULL, updated_at = $4, actor_kind = $5, actor_uid = $6
  FROM gone g
  WHERE v.organisation_id = $1 AND v.uid = g.uid AND v.status = 'allocated'
  RETURNING v.uid, v.shop_uid, v.created_at, g.doctor_uid
), raised AS (
  UPDATE waiting_rooms AS r SET revision = r.revision + 1
  WHERE r.organisation_id = $1 AND r.uid IN (SELECT b.shop_uid FROM returned b)
)
SELECT uid, created_at, doctor_uid FROM returned"""

# The further wait until the preferred doctor `p` takes the visit `v`, beyond being taken now: what it has waited
# since it was passed over, the rest of a pause and of a consultation, and one consultation for each visit ahead
# that waits for the same doctor. NULL when that doctor is not on duty there, is away, pauses for nobody knows how
# long, or is the one who calls. More than $10 ahead are past all patience, whatever a consultation takes.
_EXTRA_WAIT = """
SELECT coalesce($3::timestamptz - v.passed_over_at, '0')
  + greatest(coalesce(p.paused_until - $3::timestamptz, '0'), '0')
  + greatest((
    SELECT max(b.allocated_at) + s.consultation - $3::timestamptz FROM waiting_room_visits b
    WHERE b.organisation_id = $1 AND b.doctor_uid = p.uid AND b.status = 'allocated' AND b.deleted_at IS NULL), '0')
  + s.consultation * (SELECT count(*) FROM (
    SELECT FROM waiting_room_visits w
    WHERE w.organisation_id = $1 AND w.shop_uid = v.shop_uid AND w.preferred_doctor_uid = v.preferred_doctor_uid
      AND w.status = 'waiting' AND w.deleted_at IS NULL AND w.turn < v.turn
    LIMIT $10::bigint) ahead)
FROM doctor_duties p
JOIN doctors o ON o.organisation_id = $1 AND o.uid = p.uid AND o.active AND o.deleted_at IS NULL
JOIN doctor_duty_shops ps ON ps.organisation_id = $1 AND ps.doctor_uid = p.uid AND ps.shop_uid = v.shop_uid
WHERE p.organisation_id = $1 AND p.uid = v.preferred_doctor_uid AND p.uid <> $2 AND p.seen_at >= $6::timestamptz
  AND (p.status = 'on' OR p.paused_until IS NOT NULL)"""

# The first one of each shop who is not kept for another doctor, and of those the one who has waited longest. All in
# front of a shop's first one are kept for others, and are passed over. All are found again by where they stand, and
# where the room's lock keeps them: a plan that takes the queue for short would read all visits to look up each.
# $2 doctor, $3 now, $4 minutes of a consultation, $5 patience, $6 seen since, $7 video room, $8 and $9 the actor
_CALL = f"""
WITH shop AS MATERIALIZED (
  SELECT s.uid, coalesce(s.consultation_minutes, $4::int) * interval '1 minute' AS consultation
  FROM doctor_duty_shops d
  JOIN shops s ON s.organisation_id = $1 AND s.uid = d.shop_uid AND s.deleted_at IS NULL
  WHERE d.organisation_id = $1 AND d.doctor_uid = $2
), first AS MATERIALIZED (
  -- A turn past all when nobody is due there; made here, as under row security no index takes a coalesce.
  SELECT s.uid AS shop_uid, f.place, coalesce(f.turn, 9223372036854775807) AS turn, f.since
  FROM shop s LEFT JOIN LATERAL (
    SELECT v.ctid AS place, v.turn, coalesce(v.requeued_at, v.created_at) AS since FROM waiting_room_visits v
    WHERE v.organisation_id = $1 AND v.shop_uid = s.uid AND v.status = 'waiting' AND v.deleted_at IS NULL
      AND (v.preferred_doctor_uid IS NULL OR coalesce(({_EXTRA_WAIT}) > $5::interval, true))
    ORDER BY v.turn LIMIT 1 FOR NO KEY UPDATE OF v) f ON true
), due AS (
  SELECT place FROM first WHERE place IS NOT NULL ORDER BY since, shop_uid LIMIT 1
), front AS MATERIALIZED (
  SELECT w.place FROM first f CROSS JOIN LATERAL (
    SELECT v.ctid AS place FROM waiting_room_visits v
    WHERE v.organisation_id = $1 AND v.shop_uid = f.shop_uid AND v.status = 'waiting' AND v.deleted_at IS NULL
      AND v.passed_over_at IS NULL AND v.turn < f.turn
    ORDER BY v.turn OFFSET 0) w
), passed_over AS (
  UPDATE waiting_room_visits AS v SET passed_over_at = $3
  WHERE v.organisation_id = $1 AND v.ctid = ANY (ARRAY(SELECT f.place FROM front f))
), raised AS (
  UPDATE waiting_rooms AS r SET revision = r.revision + 1 FROM shop s
  WHERE r.organisation_id = $1 AND r.uid = s.uid AND (EXISTS (SELECT FROM due) OR EXISTS (SELECT FROM front))
)
UPDATE waiting_room_visits AS v SET status = 'allocated', doctor_uid = $2, video_room_id = $7, allocated_at = $3,
  first_allocated_at = coalesce(v.first_allocated_at, $3), updated_at = $3, actor_kind = $8, actor_uid = $9
WHERE v.organisation_id = $1 AND v.ctid = (SELECT d.place FROM due d) AND v.status = 'waiting'
RETURNING v.uid, v.created_at, {VISIT}::text AS body"""


_WANTED = """
SELECT v.preferred_doctor_uid FROM waiting_room_visits v
JOIN doctor_duty_shops d ON d.organisation_id = $1 AND d.doctor_uid = $2 AND d.shop_uid = v.shop_uid
WHERE v.organisation_id = $1 AND v.status = 'waiting' AND v.preferred_doctor_uid IS NOT NULL
  AND v.deleted_at IS NULL"""


async def call_next(tx: Transaction, doctor_uid: str, rules: Rules, heard_since: datetime) -> Visit | None:
    """Give the doctor the patient who is due in the shops of the duty; None when nobody is.

    Nobody has vanished in a time in which doctors could not be heard, which was before `heard_since`.
    Raises 404; 409 when the doctor is off duty, pauses or is not active.
    """
    doctor = await duty.see(tx, doctor_uid)
    if doctor.status != "on":
        text = "The doctor pauses" if doctor.status == "paused" else "The doctor is off duty"
        raise errors.not_allowed(text, ("on",))
    if not doctor.active:
        raise errors.simple(409, "The doctor is not active")
    last_seen = _last_seen(tx, rules, heard_since)
    rooms = await tx.connection.fetch(_LOCK_ROOMS_OF, tx.organisation_id, doctor_uid, last_seen)
    if vanished := [room["uid"] for room in rooms if room["vanished"]]:
        await _return(tx, last_seen, vanished)
    minute = timedelta(minutes=1)
    row = await tx.connection.fetchrow(
        _CALL,
        tx.organisation_id,
        doctor_uid,
        tx.now,
        rules.consultation_minutes,
        rules.patience,
        tx.now - rules.heartbeat,
        new_video_room(),
        tx.actor_kind,
        tx.actor_uid,
        rules.patience // minute + 1,
    )
    if row is None:
        return None
    await history.record(tx, "visit", row["uid"], "status", old="waiting", new="allocated", reason=doctor_uid)
    tell(tx, row["uid"], "allocated", row["created_at"])
    return msgspec.json.decode(row["body"], type=Visit)


async def kept_for(tx: Transaction, doctor_uid: str) -> list[str]:
    """Give, when nobody is due for the doctor, the preferred doctor of each who waits in the shops of the duty."""
    return [
        row["preferred_doctor_uid"]
        for row in await tx.connection.fetch(_WANTED, tx.organisation_id, doctor_uid)
    ]


async def return_vanished(tx: Transaction, rules: Rules, heard_since: datetime) -> int:
    """Put back the patients of all doctors who have vanished, as `call_next`; gives how many."""
    last_seen = _last_seen(tx, rules, heard_since)
    shops = await tx.connection.fetch(_SHOPS_OF_VANISHED, tx.organisation_id, last_seen)
    uids = [row["shop_uid"] for row in shops]
    if not uids:
        return 0
    await tx.connection.execute(_LOCK_ROOMS, tx.organisation_id, uids)
    return await _return(tx, last_seen, uids)


def _last_seen(tx: Transaction, rules: Rules, heard_since: datetime) -> datetime:
    """Give the time before which a doctor must have been seen last to count as vanished."""
    since = tx.now - rules.heartbeat - rules.grace
    return since if heard_since < since else _NEVER


async def _return(tx: Transaction, last_seen: datetime, shop_uids: list[str]) -> int:
    """Put back those of shops whose rooms are locked."""
    rows = await tx.connection.fetch(
        _RETURN,
        tx.organisation_id,
        shop_uids,
        last_seen,
        tx.now,
        tx.actor_kind,
        tx.actor_uid,
    )
    for row in rows:
        reason = f"{row['doctor_uid']} is away"
        await history.record(tx, "visit", row["uid"], "status", old="allocated", new="waiting", reason=reason)
        tell(tx, row["uid"], "waiting", row["created_at"])
    return len(rows)
