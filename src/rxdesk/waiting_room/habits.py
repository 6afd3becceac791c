"""What a shop's waiting room is used to: learned by the worker from its history, and kept as one row a shop.

How often patients are not there or give up, how long pauses are, at which hours each doctor comes and goes. It is
learned anew from the last weeks whenever the room has changed: nothing has to be caught up with, and nothing grows.
Lengths of consultations are no part of it, they are learned at once (`consultations`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import timedelta, tzinfo
from functools import partial
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from rxdesk.access import Access, Transaction
from rxdesk.waiting_room.estimates.learning import Learned, Learner
from rxdesk.waiting_room.estimates.lengths import Lengths
from rxdesk.waiting_room.estimates.room import HistoryError, Room, Row
from rxdesk.waiting_room.estimates.sums import HALF_LIFE_DAYS
from rxdesk.waiting_room.lifecycle import NO_SHOWS

T = TypeVar("T")

# Of what is older, less than an eighth would count.
_WINDOW: Final = timedelta(days=3 * HALF_LIFE_DAYS)
# The latest of them, of a shop that has more.
MOST_ROWS: Final = 100_000
# Rows that are learned from before others have their turn.
_AT_ONCE: Final = 200

_CHANGED = """
SELECT r.uid, r.revision FROM waiting_rooms r
LEFT JOIN waiting_room_habits h ON h.organisation_id = $1 AND h.uid = r.uid
WHERE r.organisation_id = $1 AND r.attended AND r.revision IS DISTINCT FROM h.revision
ORDER BY r.uid"""

# What happened in a shop since then, in order. A patient's own cancellation is taken from the visit, as imported ones
# have no history. Of a duty that changes its shops, those that it leaves are `off_duty`.
# $2: shop, $3: since when, $4: how many rows
_ROWS = """
SELECT x.at, x.kind, x.visit, x.doctor, x.preferred_doctor FROM (
  SELECT v.created_at AS at, 1 AS place, '' AS uid, 'registered' AS kind, v.uid AS visit, NULL AS doctor,
    v.preferred_doctor_uid AS preferred_doctor
  FROM waiting_room_visits v
  WHERE v.organisation_id = $1 AND v.shop_uid = $2 AND v.created_at >= $3 AND v.deleted_at IS NULL
  UNION ALL
  SELECT v.ended_at, 4, '', 'cancelled', v.uid, NULL, NULL FROM waiting_room_visits v
  WHERE v.organisation_id = $1 AND v.shop_uid = $2 AND v.created_at >= $3 AND v.deleted_at IS NULL
    AND v.status = 'cancelled' AND v.end_reason IS DISTINCT FROM 'doctor' AND v.ended_at IS NOT NULL
  UNION ALL
  SELECT h.changed_at, 2, h.uid, CASE
      WHEN h.new_value = 'allocated' THEN 'called'
      WHEN h.new_value = 'completed' THEN 'completed'
      WHEN h.new_value = 'waiting' AND h.reason <> 'no-show' THEN 'returned'
      WHEN h.reason = 'no-show' THEN 'no_show'
      ELSE 'cancelled' END,
    v.uid, CASE WHEN h.new_value = 'allocated' THEN h.reason END, NULL
  FROM waiting_room_visits v
  JOIN changes h ON h.organisation_id = $1 AND h.subject_uid = v.uid AND h.subject_kind = 'visit' AND h.what = 'status'
  WHERE v.organisation_id = $1 AND v.shop_uid = $2 AND v.created_at >= $3 AND v.deleted_at IS NULL
    AND (h.new_value <> 'cancelled' OR v.end_reason IS NOT NULL)
  UNION ALL
  SELECT h.changed_at, CASE WHEN h.new_value = 'on' THEN 0 ELSE 3 END, h.uid, CASE
      WHEN h.new_value = 'paused' THEN 'paused'
      WHEN h.new_value = 'on' AND h.reason IS NULL THEN 'resumed'
      WHEN h.new_value = 'on' AND $2 = ANY (string_to_array(h.reason, ',')) THEN 'on_duty'
      ELSE 'off_duty' END,
    NULL, d.uid, NULL
  FROM doctor_duties d
  JOIN changes h ON h.organisation_id = $1 AND h.subject_uid = d.uid AND h.subject_kind = 'duty' AND h.changed_at >= $3
  WHERE d.organisation_id = $1
) x
ORDER BY x.at DESC, x.place DESC, x.uid DESC LIMIT $4"""

_ZONE = "SELECT time_zone FROM organisations WHERE id = $1"

_KEEP = """
INSERT INTO waiting_room_habits (organisation_id, uid, revision, learned)
VALUES ($1, $2, $3, $4)
ON CONFLICT (organisation_id, uid) DO UPDATE SET revision = excluded.revision, learned = excluded.learned"""


async def learn(access: Access, organisation_id: int) -> int:
    """Learn of each shop whose room has changed; gives how many. Raises DatabaseUnavailableError."""

    async def run(command: Callable[[Transaction], Awaitable[T]]) -> T:
        return await access.write_as_system(organisation_id, "worker", command)

    rooms = await run(_changed)
    for shop_uid, revision in rooms:
        zone, rows = await run(partial(_history, shop_uid=shop_uid))
        learned = await learned_from(rows, ZoneInfo(zone))
        await run(partial(_keep, shop_uid=shop_uid, revision=revision, learned=learned))
    return len(rooms)


async def _changed(tx: Transaction) -> list[tuple[str, int]]:
    return [(row["uid"], row["revision"]) for row in await tx.connection.fetch(_CHANGED, tx.organisation_id)]


async def _history(tx: Transaction, shop_uid: str) -> tuple[str, list[Row]]:
    """Give the time zone that its days are counted in, and what happened, the first thing first."""
    zone = await tx.connection.fetchval(_ZONE, tx.organisation_id)
    found = await tx.connection.fetch(_ROWS, tx.organisation_id, shop_uid, tx.now - _WINDOW, MOST_ROWS)
    rows = [
        Row(
            at=row["at"].timestamp(),
            kind=row["kind"],
            visit=row["visit"],
            doctor=row["doctor"],
            preferred_doctor=row["preferred_doctor"],
        )
        for row in reversed(found)
    ]
    return zone, rows


async def _keep(tx: Transaction, shop_uid: str, revision: int, learned: Learned) -> None:
    text = msgspec.json.encode(learned).decode()
    await tx.connection.execute(_KEEP, tx.organisation_id, shop_uid, revision, text)


async def learned_from(rows: Iterable[Row], zone: tzinfo) -> Learned:
    """Learn from a history that may begin anywhere and tell things that a plain room has not.

    A doctor may have several patients, of whom the first is followed; one who has never gone off duty comes again on
    another day. What cannot follow the rows before it is left out.
    """
    learner = Learner(Room(), zone=zone)
    room = learner.room
    for number, row in enumerate(rows):
        doctor = room.doctors.get(row.doctor or "")
        if doctor is not None and row.kind == "on_duty":
            if learner.day(row.at) == learner.day(doctor.since):
                row = msgspec.structs.replace(row, kind="resumed")  # noqa: PLW2901 (what it is here)
            else:
                del room.doctors[doctor.uid]
        visit = room.queue.get(row.visit or "")
        if visit is not None and visit.no_shows >= NO_SHOWS:
            del room.queue[visit.uid]  # it was cancelled by that, and not given up
            continue
        with suppress(HistoryError):
            learner.observe(row)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    learner.learned.shop, learner.learned.doctors = Lengths(), {}
    return learner.learned
