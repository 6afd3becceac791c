"""Replays history row by row: estimates are made from the rows so far, and judged by those that follow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Final

from rxdesk.waiting_room.backtest.formulas import Formulas
from rxdesk.waiting_room.estimates.forward import estimate
from rxdesk.waiting_room.estimates.learning import Learner
from rxdesk.waiting_room.estimates.room import Room, Row, Visit
from rxdesk.waiting_room.estimates.snapshot import Estimate, Snapshot

# While patients wait, all of them are estimated anew so often.
EVERY_SECONDS: Final = 600.0
# Where nothing happens for longer, the history has a gap: nobody was watching.
_LONGEST_LULL: Final = 6 * 3600.0
Estimator = Callable[[Snapshot], list[Estimate]]


@dataclass(frozen=True, slots=True)
class Made:
    """An estimate that was made, and what the usual formulas said."""

    visit: str
    at: float
    ours: Estimate
    usual: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Judged:
    """An estimate with the minutes that it came to."""

    made: Made
    minutes: float


@dataclass(slots=True)
class Replay:
    """The state of a replay; `judged` grows with each call of a patient.

    Judged are waits that end with a call. Left out is the patient next in turn for whom a doctor is free:
    there is nothing to estimate.
    """

    learner: Learner
    estimator: Estimator = estimate
    judged: list[Judged] = field(default_factory=list)
    open: dict[str, list[Made]] = field(default_factory=dict)
    formulas: Formulas = field(default_factory=Formulas)
    minutes: float = 0.0
    consultations: int = 0

    def feed(self, rows: Iterable[Row]) -> None:
        """Replay the next rows. Raises HistoryError for one that cannot follow."""
        room = self.learner.room
        for row in rows:
            tick = (room.at // EVERY_SECONDS + 1) * EVERY_SECONDS
            while room.queue and tick < min(row.at, room.at + _LONGEST_LULL):
                self._estimate(tick, list(room.queue))
                tick += EVERY_SECONDS
            visit = room.queue.get(row.visit or "")
            called = room.called.get(row.visit or "")
            doctor = room.doctors.get(called.doctor or "") if called is not None else None
            if row.kind == "completed" and doctor is not None and doctor.called_at is not None:
                self.minutes += (row.at - doctor.called_at) / 60
                self.consultations += 1
            self.learner.observe(row)
            if visit is not None:
                self._left(visit, row)
            if row.kind == "registered" and row.visit is not None:
                self._estimate(row.at, [row.visit])

    def _left(self, visit: Visit, row: Row) -> None:
        made = self.open.pop(visit.uid, [])
        if row.kind == "called":
            self.judged += [Judged(one, (row.at - one.at) / 60) for one in made]
            self.formulas.called((row.at - visit.queued_at) / 60)

    def _estimate(self, at: float, visits: Sequence[str]) -> None:
        room = self.learner.room
        found = self.estimator(self.learner.snapshot(at))
        mean = (self.minutes + 8.0 * 5) / (self.consultations + 5)
        doctors = len(room.doctors)
        wanted = set(visits)
        for position, (visit, ours) in enumerate(zip(room.queue.values(), found, strict=True), 1):
            if visit.uid in wanted and not (position == 1 and self._free_for(visit)):
                waited = (at - visit.queued_at) / 60
                made = Made(visit.uid, at, ours, self.formulas.minutes(position, waited, mean, doctors))
                self.open.setdefault(visit.uid, []).append(made)

    def _free_for(self, visit: Visit) -> bool:
        doctors = self.learner.room.doctors
        wanted = doctors.get(visit.preferred_doctor or "")
        return any(one.free for one in ([wanted] if wanted is not None else doctors.values()))


def replay(
    days: Iterable[Iterable[Row]], *, estimator: Estimator = estimate, zone: tzinfo = UTC
) -> Iterable[Replay]:
    """Replay days, learning from each for the next ones; gives the same state after each."""
    state = Replay(Learner(Room(), zone=zone), estimator)
    for rows in days:
        state.feed(rows)
        yield state
