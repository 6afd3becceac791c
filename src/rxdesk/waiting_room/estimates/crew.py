"""The doctors of a snapshot, drawn anew for each scenario: when each is free, how fast, who goes and who comes."""

from __future__ import annotations

import math
from typing import Final

from rxdesk.waiting_room.estimates.habits import Hour, exponential
from rxdesk.waiting_room.estimates.lengths import LogNormal
from rxdesk.waiting_room.estimates.scenario import Staff
from rxdesk.waiting_room.estimates.snapshot import Doctor, Snapshot
from rxdesk.waiting_room.estimates.variates import MASK, STRIDE, Variates

# How far an announced end of a pause is passed, in minutes, once it is.
_LATE: Final = LogNormal(mu=math.log(3.0), sigma=0.8)
# Doctors whose hours are not known are expected for so many minutes.
_NEWCOMERS_WITHIN: Final = 240.0
_NEVER: Final = 1e9
# Places in the tables that lie apart from those of the patients, who begin at the scenario's.
_APART: Final = 512


class Crew:
    """What is drawn for the doctors of all scenarios, and the doctors of one."""

    def __init__(self, snapshot: Snapshot, table: Variates, scenarios: int) -> None:
        self.snapshot = snapshot
        self.table = table
        self.scenarios = scenarios
        habits = snapshot.habits
        # What a turn takes beside the consultation.
        self.overhead = habits.gap_minutes + habits.pause * habits.pause_length.mean
        # For each doctor, the quantiles of what is left are spread evenly over the scenarios.
        self._left = [self._remaining(doctor, number) for number, doctor in enumerate(snapshot.doctors)]
        self._expected = [sum(left) / scenarios for left in self._left]

    def draw(self, number: int) -> Staff:
        """Give the doctors of scenario `number`."""
        now, lengths = self.snapshot.now, [doctor.length for doctor in self.snapshot.doctors]
        free = [left[number] for left in self._left]
        leaves = [
            self._leaves(doctor.goes, number, place) for place, doctor in enumerate(self.snapshot.doctors)
        ]
        comes: list[tuple[float, LogNormal]] = []
        for place, one in enumerate(self.snapshot.expected, len(lengths)):
            share, trust = self._shares(number, place)
            if trust < one.comes.still(now):
                comes.append((one.comes.ahead(now, share), one.length))
        comes += [(time, self.snapshot.shop_length) for time in self._newcomers(number)]
        times = [time for time, _ in comes]
        lengths += [length for _, length in comes]
        sign = -1.0 if number % 2 else 1.0
        mu = [
            length.mu + sign * length.doubt * self.table.normal[number // 2 * STRIDE - place & MASK]
            for place, length in enumerate(lengths)
        ]
        return Staff(
            present=len(self._left),
            free=free + times,
            expected=self._expected + times,
            leaves=leaves + [_NEVER] * len(times),
            mu=mu,
            sigma=[length.sigma for length in lengths],
            mean=[math.exp(m + length.sigma**2 / 2) for m, length in zip(mu, lengths, strict=True)],
        )

    def _shares(self, number: int, place: int) -> tuple[float, float]:
        """Give two uniform variates for a doctor's place in a scenario."""
        start = number * STRIDE + _APART + 2 * place
        return self.table.uniform[start & MASK], self.table.uniform[start + 1 & MASK]

    def _leaves(self, goes: Hour | None, number: int, place: int) -> float:
        share, trust = self._shares(number, place)
        if goes is not None and trust < goes.chance:
            return goes.ahead(self.snapshot.now, share)
        return exponential(self.snapshot.habits.stay_minutes, share)

    def _newcomers(self, number: int) -> list[float]:
        rate, times, time = self.snapshot.habits.newcomers, [], 0.0
        place = number * STRIDE - 1
        while rate:
            time += self.table.exponential[place & MASK] / rate
            if time > _NEWCOMERS_WITHIN:
                break
            times.append(time)
            place -= 1
        return times

    def _remaining(self, doctor: Doctor, number: int) -> list[float]:
        """Give the minutes until the doctor is free, one for each scenario."""
        count, habits, now = self.scenarios, self.snapshot.habits, self.snapshot.now
        # Each doctor's in an order of its own: a step that shares no divisor with the number of scenarios.
        step = next(step for step in range(2 * number + 5, 10**6, 2) if math.gcd(step, count) == 1)
        shares = [((place * step + 7 * number) % count + 0.5) / count for place in range(count)]
        elapsed = 0.0 if doctor.since is None else max(now - doctor.since, 0.0) / 60
        if doctor.state == "free":
            # Somewhere within the gap that there is between two turns.
            return [2 * habits.gap_minutes * share for share in shares]
        if doctor.state == "busy":
            return [self._busy(doctor.length, elapsed, share) + habits.gap_minutes for share in shares]
        if doctor.until is None:
            return [habits.pause_length.remaining(elapsed, share) for share in shares]
        announced = (doctor.until - now) / 60
        if announced > 0:
            return [announced] * count
        return [_LATE.remaining(-announced, share) for share in shares]

    def _busy(self, length: LogNormal, elapsed: float, share: float) -> float:
        habits = self.snapshot.habits
        # As long as it may turn out that the patient does not come.
        absent = habits.no_show[0] if elapsed < habits.no_show_minutes else 0.0
        if share < absent:
            return habits.no_show_minutes - elapsed
        wide = LogNormal(length.mu, math.hypot(length.sigma, length.doubt))
        return wide.remaining(elapsed, (share - absent) / (1 - absent))
