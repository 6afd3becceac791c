"""Duty: which doctors take patients of which shops; run inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from rxdesk import errors, history
from rxdesk.access import Transaction, look
from rxdesk.waiting_room.desk_queries import DUTY
from rxdesk.waiting_room.desk_schemas import Duty, DutyStatus, Pause, Shops
from rxdesk.waiting_room.lifecycle import Rules, require_duty_step
from rxdesk.waiting_room.rooms import raise_of_duty

# The duty's row is locked, and what it says is the last that was committed. A deleted doctor is none.
_LOCK = """
SELECT o.active, d.status, d.seen_at FROM doctors o
LEFT JOIN LATERAL (
  SELECT status, seen_at FROM doctor_duties WHERE organisation_id = $1 AND uid = $2 FOR NO KEY UPDATE) d ON true
WHERE o.organisation_id = $1 AND o.uid = $2 AND o.deleted_at IS NULL"""

# Whatever a doctor on duty does is a sign of life. The row is locked, and what it says is the last committed.
_SEE = """
WITH seen AS (
  UPDATE doctor_duties SET seen_at = greatest(seen_at, $3) WHERE organisation_id = $1 AND uid = $2 AND status <> 'off'
  RETURNING status
)
SELECT o.active, (SELECT status FROM seen) AS status FROM doctors o
WHERE o.organisation_id = $1 AND o.uid = $2 AND o.deleted_at IS NULL"""

_SET = """
INSERT INTO doctor_duties AS kept (organisation_id, uid, status, seen_at, paused_until, created_at, updated_at,
  actor_kind, actor_uid)
VALUES ($1, $2, $3, $4, $5, $4, $4, $6, $7)
ON CONFLICT (organisation_id, uid) DO UPDATE SET status = excluded.status,
  seen_at = greatest(kept.seen_at, excluded.seen_at), paused_until = excluded.paused_until,
  updated_at = excluded.updated_at, actor_kind = excluded.actor_kind, actor_uid = excluded.actor_uid"""

_UNKNOWN_SHOP = """
SELECT EXISTS (SELECT FROM unnest($2::text[]) AS g (uid) WHERE NOT EXISTS (
  SELECT FROM shops s WHERE s.organisation_id = $1 AND s.uid = g.uid AND s.deleted_at IS NULL))"""

_LEAVE_SHOPS = """
DELETE FROM doctor_duty_shops WHERE organisation_id = $1 AND doctor_uid = $2 AND shop_uid <> ALL ($3::text[])"""

_ENTER_SHOPS = """
INSERT INTO doctor_duty_shops (organisation_id, doctor_uid, shop_uid)
SELECT $1, $2, g.uid FROM unnest($3::text[]) AS g (uid)
ON CONFLICT (organisation_id, doctor_uid, shop_uid) DO NOTHING"""

_ALLOCATED = """
SELECT uid FROM waiting_room_visits
WHERE organisation_id = $1 AND doctor_uid = $2 AND status = 'allocated' AND deleted_at IS NULL
ORDER BY allocated_at, uid LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Doctor:
    """A doctor whose duty's row, if there is one, this transaction has locked."""

    uid: str
    active: bool
    status: DutyStatus


async def go_on(tx: Transaction, doctor_uid: str, body: Shops, rules: Rules) -> Duty:
    """Put an active doctor on duty in these shops and no others; also ends a pause.

    Raises 404, also naming `shop_uids`; 409 for a doctor who is not active.
    """
    doctor = await _lock(tx, doctor_uid)
    shop_uids = sorted(set(body.shop_uids))
    if await tx.connection.fetchval(_UNKNOWN_SHOP, tx.organisation_id, shop_uids):
        raise errors.not_found("shop_uids")
    if not doctor.active:
        raise errors.simple(409, "The doctor is not active")
    await _set(tx, doctor, "on", shop_uids=shop_uids)
    await tx.connection.execute(_LEAVE_SHOPS, tx.organisation_id, doctor_uid, shop_uids)
    await tx.connection.execute(_ENTER_SHOPS, tx.organisation_id, doctor_uid, shop_uids)
    return await _shown(tx, doctor_uid, rules)


async def pause(tx: Transaction, doctor_uid: str, body: Pause, rules: Rules) -> Duty:
    """Give the doctor no further patients for a while. Raises 404; 409 when off duty."""
    doctor = await _lock(tx, doctor_uid)
    require_duty_step(doctor.status, "paused")
    until = None if body.minutes is None else tx.now + timedelta(minutes=body.minutes)
    await _set(tx, doctor, "paused", until=until)
    return await _shown(tx, doctor_uid, rules)


async def resume(tx: Transaction, doctor_uid: str, rules: Rules) -> Duty:
    """End a pause; of one who does not pause it is a sign of life. Raises 404; 409 when off duty or not active."""
    doctor = await _lock(tx, doctor_uid)
    if doctor.status == "off":  # going on duty names the shops
        raise errors.not_allowed("The doctor is off duty", ("on",))
    if not doctor.active:
        raise errors.simple(409, "The doctor is not active")
    await _set(tx, doctor, "on")
    return await _shown(tx, doctor_uid, rules)


async def go_off(tx: Transaction, doctor_uid: str, rules: Rules) -> Duty:
    """End a duty. Raises 404; 409 when off duty, or naming a visit that the doctor still has."""
    doctor = await _lock(tx, doctor_uid)
    require_duty_step(doctor.status, "off")
    uid = await tx.connection.fetchval(_ALLOCATED, tx.organisation_id, doctor_uid)
    if uid is not None:
        raise errors.simple(409, "The doctor still has a patient", queue_uid=uid)
    await _set(tx, doctor, "off")
    await tx.connection.execute(_LEAVE_SHOPS, tx.organisation_id, doctor_uid, [])
    return await _shown(tx, doctor_uid, rules)


async def heartbeat(tx: Transaction, doctor_uid: str) -> None:
    """Note that the doctor is there. Raises 404; 409 when off duty."""
    doctor = await see(tx, doctor_uid)
    if doctor.status == "off":
        raise errors.not_allowed("The doctor is off duty", ("on",))


async def see(tx: Transaction, doctor_uid: str, *, field: str | None = None) -> Doctor:
    """Note a sign of life of a doctor on duty and lock the duty; one off duty is given too.

    Raises 404, naming `field` if the doctor stands in a body.
    """
    row = await tx.connection.fetchrow(_SEE, tx.organisation_id, doctor_uid, tx.now)
    if row is None:
        raise errors.not_found(field)
    return Doctor(doctor_uid, row["active"], row["status"] or "off")


async def _lock(tx: Transaction, doctor_uid: str) -> Doctor:
    row = await tx.connection.fetchrow(_LOCK, tx.organisation_id, doctor_uid)
    if row is None:
        raise errors.not_found()
    return Doctor(doctor_uid, row["active"], row["status"] or "off")


async def _set(
    tx: Transaction,
    doctor: Doctor,
    status: DutyStatus,
    *,
    until: datetime | None = None,
    shop_uids: Sequence[str] = (),
) -> None:
    """Write the status; the rooms are raised of the shops where the doctor was on duty, and of `shop_uids`."""
    await tx.connection.execute(
        _SET, tx.organisation_id, doctor.uid, status, tx.now, until, tx.actor_kind, tx.actor_uid
    )
    await raise_of_duty(tx, doctor.uid, shop_uids)
    reason = ",".join(shop_uids) or None
    await history.record(tx, "duty", doctor.uid, "status", old=doctor.status, new=status, reason=reason)


async def _shown(tx: Transaction, doctor_uid: str, rules: Rules) -> Duty:
    text = await look(tx.connection, tx.organisation_id, DUTY, doctor_uid, tx.now - rules.heartbeat)
    return msgspec.json.decode(text or "", type=Duty)
