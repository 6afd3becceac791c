"""What patients do with the waiting room; run inside the caller's transaction.

The order of a shop's queue comes from a sequence that is drawn under the lock of its room, never from clock
times: the lock is held until the transaction ends, so turns become visible in their order. A position is read under it
too: who cancels waits for the lock, so that nobody ahead is gone before the position is answered.
"""

from __future__ import annotations

from rxdesk import errors
from rxdesk.access import Transaction
from rxdesk.kit.uids import new_uid
from rxdesk.waiting_room.forecasts import Window
from rxdesk.waiting_room.queries import POSITION
from rxdesk.waiting_room.rooms import LOCKED, raise_of_duty
from rxdesk.waiting_room.schemas import Place, Registration
from rxdesk.waiting_room.telling import tell

# One statement, so that the room is locked for as few round trips as can be. Whether a patient is there is
# judged by the unique index, which sees what was committed while this waited for the lock.
_REGISTER = """
WITH given AS (
  SELECT EXISTS (SELECT FROM shops WHERE organisation_id = $1 AND uid = $3 AND deleted_at IS NULL)
      AS shop_uid,
    EXISTS (SELECT FROM patients WHERE organisation_id = $1 AND uid = $4 AND deleted_at IS NULL)
      AS patient_profile_uid,
    $5::text IS NULL
      OR EXISTS (SELECT FROM doctors WHERE organisation_id = $1 AND uid = $5 AND deleted_at IS NULL)
      AS preferred_doctor_uid
), turn AS (
  INSERT INTO waiting_rooms AS room (organisation_id, uid, last_turn, revision)
  SELECT $1, $3, 1, 1 FROM given WHERE shop_uid AND patient_profile_uid AND preferred_doctor_uid
  ON CONFLICT (organisation_id, uid) DO UPDATE SET last_turn = room.last_turn + 1,
    revision = room.revision + 1
  RETURNING last_turn
), visit AS (
  INSERT INTO waiting_room_visits (organisation_id, uid, shop_uid, patient_uid, preferred_doctor_uid,
    visit_reason, status, turn, created_at, updated_at, actor_kind, actor_uid)
  SELECT $1, $2, $3, $4, $5, $6, 'waiting', last_turn, $7, $7, $8, $9 FROM turn
  ON CONFLICT (organisation_id, shop_uid, patient_uid)
    WHERE status IN ('waiting', 'allocated') AND deleted_at IS NULL DO NOTHING
  RETURNING uid
)
SELECT shop_uid, patient_profile_uid, preferred_doctor_uid, (SELECT uid FROM visit) AS queue_uid FROM given"""

_PRESENT = """
SELECT uid FROM waiting_room_visits
WHERE organisation_id = $1 AND shop_uid = $2 AND patient_uid = $3 AND status IN ('waiting', 'allocated')
  AND deleted_at IS NULL"""

# The estimate of the position is kept, to be judged by the wait that comes. $3: the position before the first of the
# window of estimates, $4, $5, $6: minutes, low and high of each place of it
_PLACE = f"""
WITH place AS (
  SELECT v.uid, q.position, least(greatest(q.position - $3::bigint, 1), cardinality($4::bigint[])) AS number
  FROM waiting_room_visits v CROSS JOIN LATERAL ({POSITION}) q
  WHERE v.organisation_id = $1 AND v.uid = $2
)
UPDATE waiting_room_visits AS v SET estimated_minutes = ($4::bigint[])[p.number],
  estimated_low = ($5::bigint[])[p.number], estimated_high = ($6::bigint[])[p.number]
FROM place p
WHERE v.organisation_id = $1 AND v.uid = p.uid
RETURNING p.position, v.estimated_minutes"""


# Gives the status that it was in, and the doctor whose rooms were locked; what it is judged by is the row as it is once
# the locks are had. A visit that has ended stays so, and nothing is locked for it.
_CANCEL = f"""
WITH present AS MATERIALIZED (
  SELECT shop_uid, doctor_uid FROM waiting_room_visits
  WHERE organisation_id = $1 AND uid = $2 AND status IN ('waiting', 'allocated') AND deleted_at IS NULL
), concerned AS (
  SELECT shop_uid FROM present
  UNION ALL
  SELECT s.shop_uid FROM present p
  JOIN doctor_duty_shops s ON s.organisation_id = $1 AND s.doctor_uid = p.doctor_uid
), {LOCKED}, raised AS (
  UPDATE waiting_rooms AS r SET revision = r.revision + 1 FROM room
  WHERE r.organisation_id = $1 AND r.uid = room.uid
  RETURNING r.uid
), visit AS MATERIALIZED (
  SELECT v.uid, v.status, v.created_at, v.doctor_uid
  FROM waiting_room_visits v CROSS JOIN (SELECT count(*) FROM raised) locked
  WHERE v.organisation_id = $1 AND v.uid = $2 AND v.deleted_at IS NULL FOR NO KEY UPDATE OF v
), cancelled AS (
  UPDATE waiting_room_visits SET status = 'cancelled', ended_at = $3, updated_at = $3, actor_kind = $4, actor_uid = $5
  FROM visit v
  WHERE waiting_room_visits.organisation_id = $1 AND waiting_room_visits.uid = v.uid
    AND v.status IN ('waiting', 'allocated')
)
SELECT v.status, v.created_at, v.doctor_uid, p.doctor_uid AS locked_doctor_uid
FROM visit v LEFT JOIN present p ON true"""


async def register(tx: Transaction, body: Registration, estimates: Window) -> Place:
    """Give the patient the next place in the shop's queue.

    `estimates` are those of the places that may be next. Raises 404 naming the reference that is not the
    organisation's, 409 with the queue_uid of a patient who is waiting or allocated there.
    """
    uid = await _take_turn(tx, body)
    if uid is None:
        present = await tx.connection.fetchval(
            _PRESENT, tx.organisation_id, body.shop_uid, body.patient_profile_uid
        )
        raise errors.simple(409, "Patient is already waiting", queue_uid=present)
    [place] = await tx.connection.fetch(_PLACE, tx.organisation_id, uid, *estimates)
    tell(tx, uid, "waiting", tx.now)
    return Place(queue_uid=uid, position=place["position"], estimated_wait_minutes=place["estimated_minutes"])


async def _take_turn(tx: Transaction, body: Registration) -> str | None:
    """Insert the visit under the room's lock; None when the patient already has one in the shop."""
    [row] = await tx.connection.fetch(
        _REGISTER,
        tx.organisation_id,
        new_uid("q"),
        body.shop_uid,
        body.patient_profile_uid,
        body.preferred_doctor_uid,
        body.visit_reason,
        tx.now,
        tx.actor_kind,
        tx.actor_uid,
    )
    for field in ("shop_uid", "patient_profile_uid", "preferred_doctor_uid"):
        if not row[field]:
            raise errors.not_found(field)
    uid: str | None = row["queue_uid"]
    return uid


async def cancel(tx: Transaction, uid: str) -> None:
    """Cancel a visit that waits or is allocated; one that is cancelled already stays so.

    Raises 404 for an unknown visit, 409 for a completed one.
    """
    visit = await tx.connection.fetchrow(
        _CANCEL, tx.organisation_id, uid, tx.now, tx.actor_kind, tx.actor_uid
    )
    if visit is None:
        raise errors.not_found()
    if visit["status"] == "completed":
        raise errors.simple(409, "The visit is completed and cannot be cancelled")
    if visit["status"] != "cancelled":
        if visit["doctor_uid"] not in (None, visit["locked_doctor_uid"]):
            # A doctor has called the patient before the lock was had. Out of the order of locks, as it is so rare.
            await raise_of_duty(tx, visit["doctor_uid"])
        tell(tx, uid, "cancelled", visit["created_at"])
