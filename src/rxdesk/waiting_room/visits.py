"""What a doctor does with a visit; run inside the caller's transaction.

Of several who act on one visit at once one does, and the others find what it did: the visit's row is locked, after
the duties of the doctors concerned and the rooms of their shops.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from rxdesk import errors, history
from rxdesk.access import Transaction
from rxdesk.waiting_room import duty
from rxdesk.waiting_room.consultations import LEARNED
from rxdesk.waiting_room.desk_queries import VISIT
from rxdesk.waiting_room.desk_schemas import (
    Absence,
    Cancellation,
    Completion,
    HandOver,
    Visit,
    VisitStatus,
)
from rxdesk.waiting_room.lifecycle import NO_SHOWS, VISIT_STEPS, Rules, require_visit_step
from rxdesk.waiting_room.rooms import LOCKED, raise_of_duty
from rxdesk.waiting_room.telling import tell

# The rooms that the visit and these doctors concern are locked before the visit, whose row is the last committed.
# $3 its shop, $4 the doctors, $5 turns to draw in its shop
_LOCK = f"""
WITH concerned AS (
  SELECT $3::text AS shop_uid
  UNION ALL
  SELECT s.shop_uid FROM doctor_duty_shops s WHERE s.organisation_id = $1 AND s.doctor_uid = ANY ($4::text[])
), {LOCKED}, raised AS (
  UPDATE waiting_rooms AS r SET revision = r.revision + 1,
    last_turn = r.last_turn + CASE WHEN r.uid = $3 THEN $5::int ELSE 0 END
  FROM room
  WHERE r.organisation_id = $1 AND r.uid = room.uid
  RETURNING r.uid, r.last_turn
)
SELECT v.uid, v.shop_uid, v.status, v.doctor_uid, v.no_shows, v.created_at, drawn.turn
FROM waiting_room_visits v
CROSS JOIN (SELECT max(raised.last_turn) FILTER (WHERE raised.uid = $3) AS turn FROM raised) drawn
WHERE v.organisation_id = $1 AND v.uid = $2 AND v.deleted_at IS NULL FOR NO KEY UPDATE OF v"""

_PLACE = """
SELECT shop_uid, doctor_uid FROM waiting_room_visits
WHERE organisation_id = $1 AND uid = $2 AND deleted_at IS NULL"""

# $3 now, $4 and $5 the actor
_COMPLETE = f"""
WITH done AS (
  UPDATE waiting_room_visits AS v SET status = 'completed', outcome = $6, doctor_uid = $7, ended_at = $3,
    updated_at = $3, actor_kind = $4, actor_uid = $5
  WHERE v.organisation_id = $1 AND v.uid = $2 RETURNING v.*
), {LEARNED}
SELECT {VISIT}::text AS body FROM done v"""

_CANCEL = f"""
UPDATE waiting_room_visits AS v SET status = 'cancelled', end_reason = $6, no_shows = $7, ended_at = $3,
  updated_at = $3, actor_kind = $4, actor_uid = $5
WHERE v.organisation_id = $1 AND v.uid = $2 RETURNING {VISIT}::text AS body"""

_REQUEUE = f"""
UPDATE waiting_room_visits AS v SET status = 'waiting', turn = $6, no_shows = $7, requeued_at = $3,
  passed_over_at = NULL, doctor_uid = NULL, video_room_id = NULL, allocated_at = NULL, updated_at = $3,
  actor_kind = $4, actor_uid = $5
WHERE v.organisation_id = $1 AND v.uid = $2 RETURNING {VISIT}::text AS body"""

_HAND_OVER = f"""
UPDATE waiting_room_visits AS v SET doctor_uid = $6, updated_at = $3, actor_kind = $4, actor_uid = $5
WHERE v.organisation_id = $1 AND v.uid = $2 RETURNING {VISIT}::text AS body"""

_TAKES = """
SELECT EXISTS (
  SELECT FROM doctor_duties d
  JOIN doctor_duty_shops s ON s.organisation_id = $1 AND s.doctor_uid = d.uid AND s.shop_uid = $3
  JOIN doctors o ON o.organisation_id = $1 AND o.uid = d.uid AND o.active AND o.deleted_at IS NULL
  WHERE d.organisation_id = $1 AND d.uid = $2 AND d.status = 'on' AND d.seen_at >= $4)"""

_LOCK_DUTIES = """
SELECT uid FROM doctor_duties WHERE organisation_id = $1 AND uid = ANY ($2::text[]) ORDER BY uid FOR NO KEY UPDATE"""

_IS_DOCTOR = """
SELECT EXISTS (SELECT FROM doctors WHERE organisation_id = $1 AND uid = $2 AND deleted_at IS NULL)"""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a visit is, as it was before any lock: a visit keeps its shop, but not its doctor."""

    shop_uid: str
    doctor_uid: str | None


@dataclass(frozen=True, slots=True)
class _Locked:
    """A visit whose row this transaction has locked; `turn` is the last that was drawn in its shop."""

    uid: str
    shop_uid: str
    status: VisitStatus
    doctor_uid: str | None
    no_shows: int
    created_at: datetime
    turn: int | None


async def complete(tx: Transaction, uid: str, body: Completion) -> Visit:
    """End the consultation of an allocated visit with its outcome.

    Raises 404, also naming `doctor_uid`; 409 when it is not allocated, or to another doctor.
    """
    place = await _place_of(tx, uid)
    await duty.see(tx, body.doctor_uid, field="doctor_uid")
    visit = await _lock(tx, uid, place, body.doctor_uid)
    _require_doctor_s(visit, body.doctor_uid, "completed")
    return await _write(tx, visit, "completed", body.outcome, _COMPLETE, body.outcome, body.doctor_uid)


async def no_show(tx: Transaction, uid: str, body: Absence) -> Visit:
    """Put the patient of an allocated visit, who was not there, at the end of the queue; the third time cancel.

    Raises as `complete`.
    """
    place = await _place_of(tx, uid)
    await duty.see(tx, body.doctor_uid, field="doctor_uid")
    visit = await _lock(tx, uid, place, body.doctor_uid, turns=1)
    _require_doctor_s(visit, body.doctor_uid, "waiting")
    times = visit.no_shows + 1
    if times >= NO_SHOWS:
        return await _write(tx, visit, "cancelled", "no-show", _CANCEL, "no_show", times)
    return await _write(tx, visit, "waiting", "no-show", _REQUEUE, visit.turn, times)


async def hand_over(tx: Transaction, uid: str, body: HandOver, rules: Rules) -> Visit:
    """Give an allocated visit to a colleague who is on duty in its shop; the video room stays.

    Raises as `complete`, also naming `to_doctor_uid`; 409 when the colleague takes no patients there.
    """
    place = await _place_of(tx, uid)
    both = [body.doctor_uid, body.to_doctor_uid]
    await tx.connection.execute(_LOCK_DUTIES, tx.organisation_id, both)
    await duty.see(tx, body.doctor_uid, field="doctor_uid")
    if not await tx.connection.fetchval(_IS_DOCTOR, tx.organisation_id, body.to_doctor_uid):
        raise errors.not_found("to_doctor_uid")
    visit = await _lock(tx, uid, place, *both)
    if visit.status != "allocated":
        raise errors.not_allowed(
            f"A visit that is {visit.status} cannot be handed over", VISIT_STEPS[visit.status]
        )
    _require_doctor_s(visit, body.doctor_uid, None)
    if body.to_doctor_uid == body.doctor_uid:
        raise errors.simple(409, "The doctor has the patient already")
    since = tx.now - rules.heartbeat
    if not await tx.connection.fetchval(
        _TAKES, tx.organisation_id, body.to_doctor_uid, visit.shop_uid, since
    ):
        raise errors.simple(409, "The other doctor takes no patients in this shop now")
    text = await _update(tx, visit, _HAND_OVER, body.to_doctor_uid)
    await history.record(
        tx, "visit", uid, "doctor_uid", old=visit.doctor_uid, new=body.to_doctor_uid, reason=body.reason
    )
    tell(tx, uid, "allocated", visit.created_at)
    return msgspec.json.decode(text, type=Visit)


async def cancel(tx: Transaction, uid: str, body: Cancellation) -> Visit:
    """Cancel a visit that waits or is allocated, from the doctor's side.

    Raises 404, also naming `doctor_uid`; 409 when it has ended, or another doctor has it than the one named.
    """
    place = await _place_of(tx, uid)
    if body.doctor_uid is not None:
        await duty.see(tx, body.doctor_uid, field="doctor_uid")
    visit = await _lock(tx, uid, place)
    require_visit_step(visit.status, "cancelled")
    if body.doctor_uid is not None and visit.status == "allocated":
        _require_doctor_s(visit, body.doctor_uid, None)
    if visit.doctor_uid not in (None, place.doctor_uid):
        # A doctor has called the patient before the lock was had. Out of the order of locks, as it is so rare.
        await raise_of_duty(tx, visit.doctor_uid)
    return await _write(tx, visit, "cancelled", body.reason, _CANCEL, "doctor", visit.no_shows)


async def _place_of(tx: Transaction, uid: str) -> _Place:
    row = await tx.connection.fetchrow(_PLACE, tx.organisation_id, uid)
    if row is None:
        raise errors.not_found()
    return _Place(**row)


async def _lock(tx: Transaction, uid: str, place: _Place, *doctor_uids: str, turns: int = 0) -> _Locked:
    """Lock the rooms that the visit's shop, its doctor and these doctors concern, then the visit."""
    doctors = [*doctor_uids] if place.doctor_uid is None else [place.doctor_uid, *doctor_uids]
    row = await tx.connection.fetchrow(_LOCK, tx.organisation_id, uid, place.shop_uid, doctors, turns)
    if row is None:
        raise errors.not_found()
    return _Locked(**row)


def _require_doctor_s(visit: _Locked, doctor_uid: str, wanted: VisitStatus | None) -> None:
    """Require the step, and that the doctor has the visit; of an imported one nobody may know who has it."""
    if wanted is not None:
        require_visit_step(visit.status, wanted)
    if visit.doctor_uid not in (None, doctor_uid):
        raise errors.simple(409, "Another doctor has this patient")


async def _update(tx: Transaction, visit: _Locked, statement: str, *values: object) -> str:
    text: str = await tx.connection.fetchval(
        statement, tx.organisation_id, visit.uid, tx.now, tx.actor_kind, tx.actor_uid, *values
    )
    return text


async def _write(
    tx: Transaction, visit: _Locked, status: VisitStatus, reason: str | None, statement: str, *values: object
) -> Visit:
    """Write a step with its history and event."""
    text = await _update(tx, visit, statement, *values)
    await history.record(tx, "visit", visit.uid, "status", old=visit.status, new=status, reason=reason)
    tell(tx, visit.uid, status, visit.created_at)
    return msgspec.json.decode(text, type=Visit)
