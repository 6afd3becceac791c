"""What patients do with the waiting room; run inside the caller's transaction.

The order of a shop's queue comes from a sequence that is drawn under the lock of its room, never from clock times:
the lock is held until the transaction ends, so turns become visible in their order.
"""

from __future__ import annotations

from rxdesk import errors
from rxdesk.access import Transaction
from rxdesk.kit.uids import new_uid
from rxdesk.waiting_room.queries import ESTIMATE, POSITION
from rxdesk.waiting_room.schemas import Place, Registration

_REFERENCES = """
SELECT EXISTS (SELECT FROM shops WHERE organisation_id = $1 AND uid = $2 AND deleted_at IS NULL) AS shop_uid,
  EXISTS (SELECT FROM patients WHERE organisation_id = $1 AND uid = $3 AND deleted_at IS NULL)
    AS patient_profile_uid,
  $4::text IS NULL OR EXISTS (
    SELECT FROM doctors WHERE organisation_id = $1 AND uid = $4 AND deleted_at IS NULL) AS preferred_doctor_uid"""

_TURN = """
INSERT INTO waiting_rooms AS room (organisation_id, uid, last_turn) VALUES ($1, $2, 1)
ON CONFLICT (organisation_id, uid) DO UPDATE SET last_turn = room.last_turn + 1
RETURNING last_turn"""

_VISIT = """
INSERT INTO waiting_room_visits (organisation_id, uid, shop_uid, patient_uid, preferred_doctor_uid, visit_reason,
  status, turn, created_at, updated_at, actor_kind, actor_uid)
VALUES ($1, $2, $3, $4, $5, $6, 'waiting', $7, $8, $8, $9, $10)
ON CONFLICT (organisation_id, shop_uid, patient_uid)
  WHERE status IN ('waiting', 'allocated') AND deleted_at IS NULL DO NOTHING
RETURNING uid"""

_PRESENT = """
SELECT uid FROM waiting_room_visits
WHERE organisation_id = $1 AND shop_uid = $2 AND patient_uid = $3 AND status IN ('waiting', 'allocated')
  AND deleted_at IS NULL"""

_PLACE = f"""
SELECT q.position, {ESTIMATE.format(minutes="$3", doctors="$4")} AS minutes
FROM waiting_room_visits v
JOIN shops s ON s.organisation_id = $1 AND s.uid = v.shop_uid
CROSS JOIN LATERAL ({POSITION}) q
WHERE v.organisation_id = $1 AND v.uid = $2"""


async def register(tx: Transaction, body: Registration, minutes: int, doctors: int) -> Place:
    """Give the patient the next place in the shop's queue.

    `minutes` and `doctors` are for the estimate, where the shop sets none. Raises 404 naming the reference that is
    not the organisation's, 409 with the queue_uid of a patient who is already waiting or allocated there.
    """
    found = await tx.connection.fetchrow(
        _REFERENCES, tx.organisation_id, body.shop_uid, body.patient_profile_uid, body.preferred_doctor_uid
    )
    for field, exists in found.items():
        if not exists:
            raise errors.not_found(field)
    turn = await tx.connection.fetchval(_TURN, tx.organisation_id, body.shop_uid)
    # A visit that stands in the way may be cancelled before it is looked at: then there is room. The room's lock
    # lets no other take its place.
    while (uid := await _insert(tx, body, turn)) is None:
        present = await tx.connection.fetchval(
            _PRESENT, tx.organisation_id, body.shop_uid, body.patient_profile_uid
        )
        if present is not None:
            raise errors.simple(409, "Patient is already waiting", queue_uid=present)
    place = await tx.connection.fetchrow(_PLACE, tx.organisation_id, uid, minutes, doctors)
    return Place(queue_uid=uid, position=place["position"], estimated_wait_minutes=place["minutes"])


async def _insert(tx: Transaction, body: Registration, turn: int) -> str | None:
    """Insert the visit; None when the patient already has one in the shop."""
    uid: str | None = await tx.connection.fetchval(
        _VISIT,
        tx.organisation_id,
        new_uid("q"),
        body.shop_uid,
        body.patient_profile_uid,
        body.preferred_doctor_uid,
        body.visit_reason,
        turn,
        tx.now,
        tx.actor_kind,
        tx.actor_uid,
    )
    return uid


async def cancel(tx: Transaction, uid: str) -> None:
    """Cancel a visit that waits or is allocated; one that is cancelled already stays so.

    Raises 404 for an unknown visit, 409 for a completed one.
    """
    status = await tx.connection.fetchval(
        "SELECT status FROM waiting_room_visits WHERE organisation_id = $1 AND uid = $2 AND deleted_at IS NULL "
        "FOR NO KEY UPDATE",
        tx.organisation_id,
        uid,
    )
    if status is None:
        raise errors.not_found()
    if status == "completed":
        raise errors.simple(409, "The visit is completed and cannot be cancelled")
    if status == "cancelled":
        return
    await tx.connection.execute(
        "UPDATE waiting_room_visits SET status = 'cancelled', ended_at = $3, updated_at = $3, actor_kind = $4, "
        "actor_uid = $5 WHERE organisation_id = $1 AND uid = $2",
        tx.organisation_id,
        uid,
        tx.now,
        tx.actor_kind,
        tx.actor_uid,
    )
