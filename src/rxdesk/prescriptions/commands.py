"""What is done with prescriptions; run inside the caller's transaction.

The order's row is locked first, then the prescription's: of thirty who decide at once one does, and the others find
what it did.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from rxdesk import errors, history
from rxdesk.access import Transaction
from rxdesk.kit.clock import unix
from rxdesk.kit.text import is_blank
from rxdesk.orders import lifecycle as orders
from rxdesk.prescriptions import lifecycle
from rxdesk.prescriptions.schemas import (
    Assignment,
    Because,
    Explained,
    PrescriptionState,
    PrescriptionStatus,
    Signature,
)
from rxdesk.webhooks.outbox import emit

_ORDER_OF = """
SELECT order_uid FROM prescriptions WHERE organisation_id = $1 AND uid = $2 AND deleted_at IS NULL"""

_LOCK = """
SELECT uid, status, doctor_uid, assigned_at, decided_at, created_at, updated_at FROM prescriptions
WHERE organisation_id = $1 AND uid = $2 AND deleted_at IS NULL FOR NO KEY UPDATE"""

_DOCTOR = """
SELECT active, can_sign_prescriptions FROM doctors
WHERE organisation_id = $1 AND uid = $2 AND deleted_at IS NULL"""

# A decision's time is the first since the assignment; a clock that was put back makes no negative time of it.
_SET_STATUS = """
UPDATE prescriptions SET status = $3, updated_at = $4, actor_kind = $5, actor_uid = $6,
  decided_at = CASE WHEN $7 THEN coalesce(decided_at, greatest($4, assigned_at)) ELSE decided_at END
WHERE organisation_id = $1 AND uid = $2
RETURNING uid, status, doctor_uid, assigned_at, decided_at, created_at, updated_at"""

_SET_DOCTOR = """
UPDATE prescriptions SET doctor_uid = $3, assigned_at = $4, decided_at = NULL, updated_at = $4, actor_kind = $5,
  actor_uid = $6
WHERE organisation_id = $1 AND uid = $2
RETURNING uid, status, doctor_uid, assigned_at, decided_at, created_at, updated_at"""


@dataclass(frozen=True, slots=True)
class _Locked:
    """A prescription whose row, and whose order's, this transaction has locked."""

    uid: str
    status: PrescriptionStatus
    doctor_uid: str | None
    assigned_at: datetime | None
    decided_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def state(self) -> PrescriptionState:
        return PrescriptionState(
            uid=self.uid,
            status=self.status,
            created_at=unix(self.created_at),
            updated_at=unix(self.updated_at),
        )


async def assign(tx: Transaction, uid: str, body: Assignment) -> PrescriptionState:
    """Give a prescription to an active doctor; what the one before decided is void.

    The same doctor again changes nothing. Raises 404, also naming `doctor_uid`; 409 when it is decided, or the doctor
    is not active, or the order has ended.
    """
    order, held = await _lock(tx, uid)
    doctor = await tx.connection.fetchrow(_DOCTOR, tx.organisation_id, body.doctor_uid)
    if doctor is None:
        raise errors.not_found("doctor_uid")
    _require_living(order)
    if held.status not in lifecycle.ASSIGNABLE:
        steps = lifecycle.steps_from(held.status, decided=held.decided_at is not None)
        raise errors.not_allowed(
            f"A prescription that is {held.status} is not given to another doctor", steps
        )
    if not doctor["active"]:
        raise errors.simple(409, "The doctor is not active")
    if held.doctor_uid == body.doctor_uid:
        return held.state
    [row] = await tx.connection.fetch(
        _SET_DOCTOR, tx.organisation_id, uid, body.doctor_uid, tx.now, tx.actor_kind, tx.actor_uid
    )
    await history.record(tx, "prescription", uid, "doctor_uid", old=held.doctor_uid, new=body.doctor_uid)
    return _tell(tx, _Locked(**row))


async def approve(tx: Transaction, uid: str, body: Because) -> PrescriptionState:
    """Approve what waits for its doctor. Raises 404; 409 naming the allowed steps, or that no doctor has it."""
    return await _step(tx, uid, "approved", body.reason)


async def decline(tx: Transaction, uid: str, body: Explained) -> PrescriptionState:
    """Decline for a reason; its order becomes `prescription declined`. Raises as `approve`, and 400 for no reason."""
    _require_reason(body)
    return await _step(tx, uid, "declined", body.reason)


async def hold(tx: Transaction, uid: str, body: Explained) -> PrescriptionState:
    """Put on hold for a reason. Raises 404, 409, and 400 for no reason."""
    _require_reason(body)
    return await _step(tx, uid, "on_hold", body.reason)


async def sign(tx: Transaction, uid: str, body: Signature) -> PrescriptionState:
    """Sign what is approved; an active doctor who may sign has it. Raises as `approve`."""
    return await _step(tx, uid, "non_qes_signed" if body.non_qes else "signed", body.reason)


async def cancel(tx: Transaction, uid: str, body: Because) -> PrescriptionState:
    """Cancel what is not signed and not declined. Raises 404, 409."""
    return await _step(tx, uid, "cancelled", body.reason)


async def resume(tx: Transaction, uid: str, body: Because) -> PrescriptionState:
    """Take one off hold, back to where it was held. Raises 404, 409."""
    order, held = await _lock(tx, uid)
    decided = held.decided_at is not None
    if held.status != "on_hold":
        steps = lifecycle.steps_from(held.status, decided=decided)
        raise errors.not_allowed(f"A prescription that is {held.status} is not on hold", steps)
    return await _change(tx, order, held, lifecycle.resumed(decided=decided), body.reason)


def _require_reason(body: Explained) -> None:
    if is_blank(body.reason):
        raise errors.invalid(errors.fault("reason", "body", "must hold something that can be seen"))


async def _step(
    tx: Transaction, uid: str, wanted: PrescriptionStatus, reason: str | None
) -> PrescriptionState:
    order, held = await _lock(tx, uid)
    return await _change(tx, order, held, wanted, reason)


async def _lock(tx: Transaction, uid: str) -> tuple[orders.Locked, _Locked]:
    order_uid = await tx.connection.fetchval(_ORDER_OF, tx.organisation_id, uid)
    if order_uid is None:
        raise errors.not_found()
    order = await orders.lock(tx, order_uid)
    row = await tx.connection.fetchrow(_LOCK, tx.organisation_id, uid)
    if row is None:
        raise errors.not_found()
    return order, _Locked(**row)


def _require_living(order: orders.Locked) -> None:
    if order.status in orders.ENDED:
        raise errors.not_allowed(f"The order is {order.status}", ())


async def _change(
    tx: Transaction,
    order: orders.Locked,
    held: _Locked,
    wanted: PrescriptionStatus,
    reason: str | None,
) -> PrescriptionState:
    """Write a step with its history and event, and let the order follow."""
    lifecycle.require_step(held.status, wanted, decided=held.decided_at is not None)
    if wanted != "cancelled":  # what an import left open in an order that has ended can still be tidied away
        _require_living(order)
    decides = wanted in lifecycle.DECISIONS
    if decides:
        await _require_doctor(tx, held, signs=wanted in lifecycle.SIGNED)
    [row] = await tx.connection.fetch(
        _SET_STATUS, tx.organisation_id, held.uid, wanted, tx.now, tx.actor_kind, tx.actor_uid, decides
    )
    await history.record(tx, "prescription", held.uid, "status", old=held.status, new=wanted, reason=reason)
    state = _tell(tx, _Locked(**row))
    await orders.settle(tx, order, order.status, await orders.children_of(tx, order.uid))
    return state


async def _require_doctor(tx: Transaction, held: _Locked, *, signs: bool) -> None:
    if held.doctor_uid is None:
        raise errors.simple(409, "No doctor has this prescription: assign one first")
    doctor = await tx.connection.fetchrow(_DOCTOR, tx.organisation_id, held.doctor_uid)
    if doctor is None or not doctor["active"]:
        raise errors.simple(409, "The doctor of this prescription is not active")
    if signs and not doctor["can_sign_prescriptions"]:
        raise errors.simple(409, "The doctor of this prescription may not sign prescriptions")


def _tell(tx: Transaction, changed: _Locked) -> PrescriptionState:
    emit(tx, "prescription_updated", msgspec.structs.asdict(changed.state))
    return changed.state
