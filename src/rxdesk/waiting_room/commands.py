"""What patients do with the waiting room: one statement each, with its event, that needs no transaction around it.

The order of a shop's queue comes from a sequence that is drawn under the lock of its room, never from clock
times: the lock is held until the transaction ends, so turns become visible in their order. A position is read under it
too: who cancels waits for the lock, so that nobody ahead is gone before the position is answered.
"""

from __future__ import annotations

from rxdesk import errors
from rxdesk.access import STILL, Transaction
from rxdesk.history import AFTER_LAST
from rxdesk.kit.uids import new_uid
from rxdesk.waiting_room.forecasts import Window
from rxdesk.waiting_room.rooms import LOCKED
from rxdesk.waiting_room.schemas import Place, Registration
from rxdesk.waiting_room.telling import TOLD
from rxdesk.webhooks.outbox import FAN_OUT, NOTICE

# One statement, so that the room is locked for no longer than it takes. Whether a patient is there is judged by the
# unique index, which sees what was committed while this waited for the lock; so does the count of those ahead, a
# function whose own statement begins when the turn is had. The estimate of the position is kept, to be judged by the
# wait that comes. $5 the visit's uid, $6 shop, $7 patient, $8 preferred doctor, $9 reason, $10 the event's uid, $11 the
# position before the first of the window of estimates, $12, $13, $14 minutes, low and high of each place of it, $15 to
# $18 the caller to be judged
_REGISTER = f"""
WITH caller AS MATERIALIZED (
  {STILL.format(digest="$15", permission="$16", per_second="$17", per_minute="$18")}
), given AS (
  SELECT EXISTS (SELECT FROM shops WHERE organisation_id = $1 AND uid = $6 AND deleted_at IS NULL)
      AS shop_uid,
    EXISTS (SELECT FROM patients WHERE organisation_id = $1 AND uid = $7 AND deleted_at IS NULL)
      AS patient_profile_uid,
    $8::text IS NULL
      OR EXISTS (SELECT FROM doctors WHERE organisation_id = $1 AND uid = $8 AND deleted_at IS NULL)
      AS preferred_doctor_uid
), present AS MATERIALIZED (
  SELECT uid FROM waiting_room_visits
  WHERE organisation_id = $1 AND shop_uid = $6 AND patient_uid = $7 AND status IN ('waiting', 'allocated')
    AND deleted_at IS NULL
), turn AS (
  INSERT INTO waiting_rooms AS room (organisation_id, uid, last_turn, revision)
  SELECT $1, $6, 1, 1 FROM given
  WHERE shop_uid AND patient_profile_uid AND preferred_doctor_uid AND NOT EXISTS (SELECT FROM present)
    AND (SELECT stands FROM caller)
  ON CONFLICT (organisation_id, uid) DO UPDATE SET last_turn = room.last_turn + 1, revision = room.revision + 1
  RETURNING last_turn
), counted AS MATERIALIZED (
  SELECT last_turn, waiting_room_ahead($1, $6) + 1 AS position FROM turn
), place AS (
  SELECT last_turn, position, least(greatest(position - $11::bigint, 1), cardinality($12::bigint[])) AS number
  FROM counted
), visit AS (
  INSERT INTO waiting_room_visits (organisation_id, uid, shop_uid, patient_uid, preferred_doctor_uid, visit_reason,
    status, turn, created_at, updated_at, actor_kind, actor_uid, estimated_minutes, estimated_low, estimated_high)
  SELECT $1, $5, $6, $7, $8, $9, 'waiting', last_turn, $2, $2, $3, $4, ($12::bigint[])[number],
    ($13::bigint[])[number], ($14::bigint[])[number]
  FROM place
  ON CONFLICT (organisation_id, shop_uid, patient_uid)
    WHERE status IN ('waiting', 'allocated') AND deleted_at IS NULL DO NOTHING
  RETURNING uid, created_at, estimated_minutes
), {TOLD.format(step="visit", status="waiting", event="$10")}, {FAN_OUT}
SELECT (SELECT stands FROM caller), g.shop_uid, g.patient_profile_uid, g.preferred_doctor_uid, v.uid AS queue_uid,
  v.estimated_minutes,
  (SELECT position FROM counted) AS position, (SELECT uid FROM present) AS present_uid, {NOTICE} AS told
FROM given g LEFT JOIN visit v ON true"""

# Gives the status that it was in; what it is judged by is the row as it is once the locks are had. A visit that has
# ended stays so, and nothing is locked for it. Nor is one cancelled that a doctor has whose rooms are not locked, as
# the patient was called before the locks were had: `unlocked` says so. Its time in the history is after that of the
# last step, of which the row alone tells if it was taken while this waited.
# $5 the visit's uid, $6 the event's, $7 the change's, $8 to $11 the caller to be judged
_CANCEL = f"""
WITH caller AS MATERIALIZED (
  {STILL.format(digest="$8", permission="$9", per_second="$10", per_minute="$11")}
), present AS MATERIALIZED (
  SELECT shop_uid, doctor_uid FROM waiting_room_visits
  WHERE organisation_id = $1 AND uid = $5 AND status IN ('waiting', 'allocated') AND deleted_at IS NULL
    AND (SELECT stands FROM caller)
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
  SELECT v.uid, v.status, v.updated_at AS stepped_at,
    v.status = 'allocated' AND v.doctor_uid IS DISTINCT FROM (SELECT p.doctor_uid FROM present p) AS unlocked
  FROM waiting_room_visits v CROSS JOIN (SELECT count(*) FROM raised) locked
  WHERE v.organisation_id = $1 AND v.uid = $5 AND v.deleted_at IS NULL AND (SELECT stands FROM caller)
  FOR NO KEY UPDATE OF v
), cancelled AS (
  UPDATE waiting_room_visits AS w SET status = 'cancelled', ended_at = $2, updated_at = $2, actor_kind = $3,
    actor_uid = $4
  FROM visit v
  WHERE w.organisation_id = $1 AND w.uid = v.uid AND v.status IN ('waiting', 'allocated') AND NOT v.unlocked
  RETURNING w.uid, w.created_at, v.status AS before, v.stepped_at
), changed AS (
  INSERT INTO changes (organisation_id, uid, subject_kind, subject_uid, what, old_value, new_value, changed_at,
    actor_kind, actor_uid)
  SELECT $1, $7, 'visit', c.uid, 'status', c.before, 'cancelled', greatest($2,
    c.stepped_at + interval '1 microsecond', ({AFTER_LAST.format(uid="c.uid", kind="'visit'")})), $3, $4
  FROM cancelled c
), {TOLD.format(step="cancelled", status="cancelled", event="$6")}, {FAN_OUT}
SELECT c.stands, v.status, v.unlocked, {NOTICE} AS told FROM caller c LEFT JOIN visit v ON true"""


async def register(tx: Transaction, body: Registration, estimates: Window) -> Place:
    """Give the patient the next place in the shop's queue.

    `estimates` are those of the places that may be next. Raises 404 naming the reference that is not the
    organisation's, 409 with the queue_uid of a patient who is waiting or allocated there.
    """
    while True:
        [row] = await tx.connection.fetch(
            _REGISTER,
            *(tx.organisation_id, tx.now, tx.actor_kind, tx.actor_uid),
            *(new_uid("q"), body.shop_uid, body.patient_profile_uid),
            *(body.preferred_doctor_uid, body.visit_reason, new_uid("evt")),
            *estimates,
            *tx.judged,
        )
        tx.stands(row["stands"])
        for field in ("shop_uid", "patient_profile_uid", "preferred_doctor_uid"):
            if not row[field]:
                raise errors.not_found(field)
        if row["present_uid"] is not None:
            raise errors.simple(409, "Patient is already waiting", queue_uid=row["present_uid"])
        # Neither: the same patient was registered while this waited for the lock. That one is found now.
        if row["queue_uid"] is not None:
            return Place(
                queue_uid=row["queue_uid"],
                position=row["position"],
                estimated_wait_minutes=row["estimated_minutes"],
            )


async def cancel(tx: Transaction, uid: str) -> None:
    """Cancel a visit that waits or is allocated; one that is cancelled already stays so.

    Raises 404 for an unknown visit, 409 for a completed one.
    """
    while True:
        [visit] = await tx.connection.fetch(
            _CANCEL,
            *(tx.organisation_id, tx.now, tx.actor_kind, tx.actor_uid),
            *(uid, new_uid("evt"), new_uid("chg")),
            *tx.judged,
        )
        tx.stands(visit["stands"])
        if visit["status"] is None:
            raise errors.not_found()
        if visit["status"] == "completed":
            raise errors.simple(409, "The visit is completed and cannot be cancelled")
        if not visit["unlocked"]:
            return
