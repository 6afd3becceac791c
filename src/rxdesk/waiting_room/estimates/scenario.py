"""One imagined course of a waiting room: a walk through the front of its queue, consultation by consultation.

The rule of who is due stands here as it is worked: a doctor who is free takes the first in the order of turns
who may be taken. A patient with a preferred doctor on duty is passed over by the others while that doctor is
expected within the patience, and until the patience has passed since; then anyone may take that patient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace

from rxdesk.waiting_room.estimates.habits import GIVE_UP_STEPS, Habits
from rxdesk.waiting_room.estimates.snapshot import Snapshot
from rxdesk.waiting_room.estimates.variates import MASK, Variates

# Nobody is expected to be patient for longer: from here on the rate of giving up is not known.
LONGEST_WAIT = 720
# A consultation that lasts longer than expected may end at any minute.
_SOON = 1.0


@dataclass(frozen=True, slots=True)
class Front:
    """The patients at the front, by column; minutes from now. `preferred` is an index of doctors, -1 for none."""

    preferred: Sequence[int]
    released: Sequence[float]
    waited: Sequence[float]
    no_show: Sequence[float]


def front_of(snapshot: Snapshot, limit: int) -> Front:
    """Give the first `limit` patients; a preferred doctor who is not on duty is none."""
    numbers = {doctor.uid: number for number, doctor in enumerate(snapshot.doctors)}
    queue, now, no_show = snapshot.queue[:limit], snapshot.now, snapshot.habits.no_show
    return Front(
        preferred=[numbers.get(one.preferred_doctor, -1) if one.preferred_doctor else -1 for one in queue],
        released=[math.inf if one.anyone_from is None else (one.anyone_from - now) / 60 for one in queue],
        waited=[max(now - one.since, 0.0) / 60 for one in queue],
        no_show=[no_show[min(one.no_shows, 1)] for one in queue],
    )


def given_up(habits: Habits) -> list[float]:
    """Give the cumulated rate of giving up, by whole minutes of having waited."""
    total, cumulated = 0.0, []
    for minute in range(LONGEST_WAIT + 1):
        cumulated.append(total)
        total += habits.give_up[sum(minute >= step for step in GIVE_UP_STEPS)]
    return cumulated


@dataclass(slots=True)
class Staff:
    """The doctors of one scenario, by column. Those after the first `present` come on duty later.

    `free`: minutes from now at which each is free, `expected`: as those who only know means expect it; `leaves`:
    after which each goes off duty, once free, unless nobody else is there.
    """

    present: int
    free: list[float]
    expected: list[float]
    leaves: list[float]
    mu: list[float]
    sigma: list[float]
    mean: list[float]

    def to_come(self, time: float) -> int:
        """Give how many are not on duty by then."""
        return sum(free > time for free in self.free[self.present :])


class Scenario:
    """What all scenarios of a snapshot have in common, and how one is walked through."""

    def __init__(self, snapshot: Snapshot, front: Front, table: Variates) -> None:
        self.front = front
        self.habits = snapshot.habits
        self.patience = snapshot.patience_minutes
        self.given_up = given_up(snapshot.habits)
        self.table = table
        self.plain = all(number < 0 for number in front.preferred)

    def walk(self, staff: Staff, waits: Sequence[list[float]], offset: int, sign: float) -> list[int]:
        """Append to `waits` when each patient would be called; give the doctors who are left at the end.

        `offset` says where in the tables to begin, `sign` -1.0 takes the mirrored lengths. Each patient has
        variates by the place in the queue.
        """
        front, habits, given_up = self.front, self.habits, self.given_up
        uniform, normal, exponential = self.table.uniform, self.table.normal, self.table.exponential
        waited, no_show, exp = front.waited, front.no_show, math.exp
        mu, sigma, mean, leaves, expected = staff.mu, staff.sigma, staff.mean, staff.leaves, staff.expected
        pause, gap, no_show_minutes = 1.0 - habits.pause, habits.gap_minutes, habits.no_show_minutes
        heap = [(free, number) for number, free in enumerate(staff.free)]
        heapify(heap)
        due = _InTurn(len(waited)) if self.plain else _Due(self, staff)
        take = due.take
        while True:
            time, doctor = heap[0]
            patient = take(doctor, time)
            if patient < 0:
                if due.finished:
                    return [number for _, number in heap]
                heapreplace(heap, (max(due.next_release(), time + 0.01), doctor))
                continue
            waits[patient].append(time)
            place = offset + patient & MASK
            before = waited[patient]
            then = before + time
            if given_up[int(then) if then < LONGEST_WAIT else LONGEST_WAIT] > (
                given_up[int(before) if before < LONGEST_WAIT else LONGEST_WAIT] + exponential[place]
            ):
                continue
            chance = uniform[place]
            expected[doctor] = time + mean[doctor]
            if chance < no_show[patient]:
                time += no_show_minutes + gap
            else:
                time += exp(mu[doctor] + sign * sigma[doctor] * normal[place]) + gap
                if chance > pause:
                    length = habits.pause_length
                    time += exp(length.mu + length.sigma * normal[place - 1])
            if time >= leaves[doctor] and len(heap) - staff.to_come(time) > 1:
                heappop(heap)
                due.left(doctor)
            else:
                heapreplace(heap, (time, doctor))


class _InTurn:
    """Who is due where nobody has a preferred doctor: the next."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.following = 0
        self.finished = False

    def take(self, doctor: int, time: float) -> int:  # noqa: ARG002 (as _Due has it)
        patient = self.following
        if patient == self.count:
            self.finished = True
            return -1
        self.following = patient + 1
        return patient

    def next_release(self) -> float:
        return math.inf

    def left(self, doctor: int) -> None:
        pass


class _Due:
    """Who is due, with preferred doctors. Those who were passed over stand in `held`, in their order."""

    def __init__(self, of: Scenario, staff: Staff) -> None:
        self.preferred = of.front.preferred
        self.released = list(of.front.released)
        self.patience = of.patience
        self.staff = staff
        self.present = [True] * len(staff.free)
        self.ahead = [0] * len(staff.free)
        self.held: list[int] = []
        self.following = 0

    @property
    def finished(self) -> bool:
        return self.following == len(self.preferred) and not self.held

    def take(self, doctor: int, time: float) -> int:
        """Give the patient whom the doctor takes now, -1 for nobody."""
        preferred, released = self.preferred, self.released
        for place, patient in enumerate(self.held):
            wanted = preferred[patient]
            if wanted == doctor or released[patient] <= time or not self.present[wanted]:
                del self.held[place]
                self.ahead[wanted] -= 1
                return patient
        for patient in range(self.following, len(preferred)):
            wanted = preferred[patient]
            if (
                wanted < 0
                or wanted == doctor
                or released[patient] <= time
                or not self.present[wanted]
                or self.extra_wait(wanted, time) > self.patience
            ):
                self.following = patient + 1
                return patient
            released[patient] = min(released[patient], time + self.patience)
            self.ahead[wanted] += 1
            self.held.append(patient)
        self.following = len(preferred)
        return -1

    def extra_wait(self, wanted: int, time: float) -> float:
        """Give the minutes until the wanted doctor would take one more patient who waits for that doctor."""
        staff = self.staff
        return max(staff.expected[wanted] - time, _SOON) + self.ahead[wanted] * staff.mean[wanted]

    def next_release(self) -> float:
        return min(self.released[patient] for patient in self.held)

    def left(self, doctor: int) -> None:
        self.present[doctor] = False
