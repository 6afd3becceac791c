"""A shop's waiting room as its history tells it: rows of what happened in, who is on duty and who waits out.

A history is NDJSON, one row a line, in the order of what happened; `docs/waiting-room-estimates.md` describes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

Kind = Literal[
    "registered",
    "called",
    "completed",
    "no_show",
    "cancelled",
    "returned",
    "on_duty",
    "paused",
    "resumed",
    "off_duty",
]
# The end of the year 2199: beyond it is a fault, such as milliseconds.
LATEST: Final = 7_258_118_400.0
OF_DOCTORS: Final = frozenset({"called", "on_duty", "paused", "resumed", "off_duty"})
OF_VISITS: Final = frozenset({"registered", "called", "completed", "no_show", "cancelled", "returned"})


class Row(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """One thing that happened in a shop, at the Unix second `at`.

    `registered` (visit, perhaps preferred_doctor), `called` (visit, doctor), `completed`, `no_show` (back to the end
    of the queue), `cancelled` (gave up, or has missed too many calls), `returned` (to the front: the doctor has
    vanished; each with visit); `on_duty`, `paused` (perhaps until), `resumed`, `off_duty` (each with doctor).
    """

    at: Annotated[float, msgspec.Meta(ge=0, le=LATEST)]
    kind: Kind
    visit: str | None = None
    doctor: str | None = None
    preferred_doctor: str | None = None
    until: float | None = None


class HistoryError(ValueError):
    """A row cannot follow those before it; the message says why."""


@dataclass(slots=True)
class OnDuty:
    """A doctor on duty; `visit` is the one who was called, `free_since` when the last turn or pause ended."""

    uid: str
    since: float
    visit: str | None = None
    called_at: float | None = None
    paused_at: float | None = None
    until: float | None = None
    free_since: float | None = None

    @property
    def free(self) -> bool:
        """Whether a patient could be called now."""
        return self.visit is None and self.paused_at is None


@dataclass(slots=True)
class Visit:
    """A patient in the room; `since` is the registration, `queued_at` when the present wait began."""

    uid: str
    since: float
    queued_at: float
    preferred_doctor: str | None = None
    no_shows: int = 0
    anyone_from: float | None = None
    doctor: str | None = None


class Room:
    """Who is on duty and who waits, in the order of their turns, after the rows that were applied."""

    def __init__(self, patience_minutes: float = 15.0) -> None:
        self.patience_minutes = patience_minutes
        self.at = 0.0
        self.doctors: dict[str, OnDuty] = {}
        self.queue: dict[str, Visit] = {}
        self.called: dict[str, Visit] = {}

    def apply(self, row: Row) -> None:
        """Take in the next row. Raises HistoryError."""
        if row.at < self.at:
            raise HistoryError("it is earlier than the row before")
        if row.kind in OF_VISITS and row.visit is None:
            raise HistoryError(f"{row.kind} needs a visit")
        if row.kind in OF_DOCTORS and row.doctor is None:
            raise HistoryError(f"{row.kind} needs a doctor")
        self.at = row.at
        if row.kind in OF_VISITS:
            self._of_visit(row, row.visit or "")
        else:
            self._of_doctor(row, row.doctor or "")

    def _of_visit(self, row: Row, uid: str) -> None:
        if row.kind == "registered":
            if uid in self.queue or uid in self.called:
                raise HistoryError(f"the visit {uid} is there already")
            self.queue[uid] = Visit(uid, row.at, row.at, row.preferred_doctor)
        elif row.kind == "called":
            self._call(row, uid)
        elif row.kind == "cancelled" and uid in self.queue:
            del self.queue[uid]
        else:
            self._end_call(row, uid)

    def _call(self, row: Row, uid: str) -> None:
        doctor = self._on_duty(row.doctor or "")
        visit = self.queue.get(uid)
        if visit is None:
            raise HistoryError(f"the visit {uid} does not wait")
        if doctor.visit is not None:
            raise HistoryError(f"the doctor {doctor.uid} has a visit already")
        for passed in self.queue.values():
            if passed is visit:
                break
            if passed.anyone_from is None and passed.preferred_doctor in self.doctors:
                passed.anyone_from = row.at + 60 * self.patience_minutes
        del self.queue[uid]
        self.called[uid] = visit
        visit.doctor = doctor.uid
        doctor.visit, doctor.called_at, doctor.paused_at, doctor.until = uid, row.at, None, None

    def _end_call(self, row: Row, uid: str) -> None:
        visit = self.called.pop(uid, None)
        if visit is None:
            raise HistoryError(f"the visit {uid} has not been called")
        doctor = self.doctors.get(visit.doctor or "")
        if doctor is not None:
            doctor.visit, doctor.called_at, doctor.free_since = None, None, row.at
        if row.kind in ("no_show", "returned"):
            visit.doctor, visit.queued_at, visit.anyone_from = None, row.at, None
            if row.kind == "no_show":
                visit.no_shows += 1
                self.queue[uid] = visit
            else:
                self.queue = {uid: visit, **self.queue}

    def _of_doctor(self, row: Row, uid: str) -> None:
        if row.kind == "on_duty":
            if uid in self.doctors:
                raise HistoryError(f"the doctor {uid} is on duty already")
            self.doctors[uid] = OnDuty(uid, row.at)
            return
        doctor = self._on_duty(uid)
        if row.kind == "paused":
            doctor.paused_at, doctor.until = row.at, row.until
        elif row.kind == "resumed":
            doctor.paused_at, doctor.until, doctor.free_since = None, None, None
        else:
            del self.doctors[uid]

    def _on_duty(self, uid: str) -> OnDuty:
        doctor = self.doctors.get(uid)
        if doctor is None:
            raise HistoryError(f"the doctor {uid} is not on duty")
        return doctor
