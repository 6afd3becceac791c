"""The specification of one shop's waiting room: a sequential machine, each step a pure function.

A step takes the room, a uid for a visit that it may make, and the operation's arguments; it gives the room
afterwards and the answer. A room is immutable and hashable. Preferred doctors are left out, as their
rule depends on time, and so are doctors who vanish.

An answer is flat: the HTTP status, then what the specification says of the body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Answer = tuple[int | str | None, ...]
NO_SHOWS = 3  # the third ends the visit


class Visit(NamedTuple):
    """One visit that has not ended."""

    uid: str
    patient: str
    no_shows: int = 0


class Room(NamedTuple):
    """A shop's room: who waits, in order; who is with which doctor; the uids of those who have gone."""

    waiting: tuple[Visit, ...] = ()
    allocated: frozenset[tuple[Visit, str]] = frozenset()
    completed: frozenset[str] = frozenset()
    cancelled: frozenset[str] = frozenset()

    def knows(self, uid: str) -> bool:
        """Tell whether there is such a visit, or was one."""
        return (
            uid in self.completed
            or uid in self.cancelled
            or any(visit.uid == uid for visit in self.waiting)
            or any(visit.uid == uid for visit, _ in self.allocated)
        )

    def renamed(self, old: str, new: str) -> Room:
        """Give the room in which a visit bears another uid."""

        def name(uids: frozenset[str]) -> frozenset[str]:
            return uids - {old} | {new} if old in uids else uids

        return Room(
            tuple(visit._replace(uid=new) if visit.uid == old else visit for visit in self.waiting),
            frozenset((v._replace(uid=new) if v.uid == old else v, doctor) for v, doctor in self.allocated),
            name(self.completed),
            name(self.cancelled),
        )


EMPTY = Room()

Step = Callable[..., tuple[Room, Answer]]


def _without(room: Room, visit: Visit) -> Room:
    return room._replace(
        waiting=tuple(one for one in room.waiting if one is not visit),
        allocated=frozenset(pair for pair in room.allocated if pair[0] is not visit),
    )


def _held(room: Room, uid: str) -> tuple[Visit, str] | None:
    """The allocated visit of that uid and its doctor."""
    return next((pair for pair in room.allocated if pair[0].uid == uid), None)


def register(room: Room, fresh: str, patient: str) -> tuple[Room, Answer]:
    """(201, uid, position), or (409, uid) of the visit that the patient has already."""
    for visit in (*room.waiting, *(visit for visit, _ in room.allocated)):
        if visit.patient == patient:
            return room, (409, visit.uid)
    waiting = (*room.waiting, Visit(fresh, patient))
    return room._replace(waiting=waiting), (201, fresh, len(waiting))


def status(room: Room, fresh: str, uid: str) -> tuple[Room, Answer]:
    """(200, status, position); the position is None for one who does not wait."""
    for position, visit in enumerate(room.waiting, start=1):
        if visit.uid == uid:
            return room, (200, "waiting", position)
    if _held(room, uid):
        return room, (200, "allocated", None)
    for name, uids in (("completed", room.completed), ("cancelled", room.cancelled)):
        if uid in uids:
            return room, (200, name, None)
    return room, (404,)


def cancel(room: Room, fresh: str, uid: str) -> tuple[Room, Answer]:
    """(204) for one who waits, is with a doctor or has been cancelled before; (409) for a completed one."""
    if uid in room.cancelled:
        return room, (204,)
    if uid in room.completed:
        return room, (409,)
    for visit in (*room.waiting, *(visit for visit, _ in room.allocated)):
        if visit.uid == uid:
            return _without(room, visit)._replace(cancelled=room.cancelled | {uid}), (204,)
    return room, (404,)


def listing(room: Room, fresh: str) -> tuple[Room, Answer]:
    """(200, uid, …) of all who wait, in order."""
    return room, (200, *(visit.uid for visit in room.waiting))


def call_next(room: Room, fresh: str, doctor: str) -> tuple[Room, Answer]:
    """(200, uid) of the first who waits, who is with that doctor from then on; (204) when nobody waits."""
    if not room.waiting:
        return room, (204,)
    first = room.waiting[0]
    return room._replace(waiting=room.waiting[1:], allocated=room.allocated | {(first, doctor)}), (
        200,
        first.uid,
    )


def complete(room: Room, fresh: str, uid: str, doctor: str) -> tuple[Room, Answer]:
    """(200) for a visit that is with that doctor, (409) for any other."""
    held = _held(room, uid)
    if held is None or held[1] != doctor:
        return room, (409,) if room.knows(uid) else (404,)
    return _without(room, held[0])._replace(completed=room.completed | {uid}), (200,)


def no_show(room: Room, fresh: str, uid: str, doctor: str) -> tuple[Room, Answer]:
    """(200) for a visit that is with that doctor: it waits again, as the last, or ends; (409) for any other."""
    held = _held(room, uid)
    if held is None or held[1] != doctor:
        return room, (409,) if room.knows(uid) else (404,)
    left, times = _without(room, held[0]), held[0].no_shows + 1
    if times == NO_SHOWS:
        return left._replace(cancelled=room.cancelled | {uid}), (200,)
    return left._replace(waiting=(*room.waiting, held[0]._replace(no_shows=times))), (200,)


STEPS: dict[str, Step] = {
    "register": register,
    "status": status,
    "cancel": cancel,
    "list": listing,
    "call_next": call_next,
    "complete": complete,
    "no_show": no_show,
}
READS = frozenset({"status", "list"})
