"""What an estimate is made of and what comes out: the whole seam between the waiting room and its estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from rxdesk.waiting_room.estimates.habits import Habits, Hour
from rxdesk.waiting_room.estimates.lengths import PRIOR, LogNormal

Reason = Literal["no_doctor_on_duty"]


@dataclass(frozen=True, slots=True)
class Doctor:
    """A doctor on duty in the shop. Times are Unix seconds.

    `since` is when the present consultation was called or the pause began (None: free); `until` is the announced
    end of a pause. `length` is what was learned of the doctor's consultations, `goes` of the end of duty.
    """

    uid: str
    state: Literal["free", "busy", "paused"] = "free"
    since: float | None = None
    until: float | None = None
    length: LogNormal = PRIOR
    goes: Hour | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """A doctor who is not on duty but usually comes at some hour of the day."""

    comes: Hour
    length: LogNormal = PRIOR


@dataclass(frozen=True, slots=True)
class Waiting:
    """A patient in the queue. Times are Unix seconds.

    `since` is when this wait began; `anyone_from` from when any doctor may take one who waits for a preferred
    doctor, None for one who was not passed over yet.
    """

    uid: str
    since: float
    preferred_doctor: str | None = None
    no_shows: int = 0
    anyone_from: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A shop's waiting room at the Unix second `now`: who is on duty, who waits, in the order of their turns.

    Of a long queue the first `forward.SIMULATED` patients are enough: `behind` is how many more wait behind
    those that are given.
    """

    now: float
    doctors: Sequence[Doctor]
    queue: Sequence[Waiting]
    behind: int = 0
    expected: Sequence[Expected] = ()
    shop_length: LogNormal = PRIOR
    habits: Habits = field(default_factory=Habits)
    patience_minutes: float = 15.0


class Estimate(NamedTuple):
    """Minutes until the patient is called, if the patient stays, and the range that holds it in 8 of 10 cases."""

    minutes: int
    low: int
    high: int
    reason: Reason | None = None
