"""Estimated waits by forward simulation, for all patients of a shop at once.

The first `SIMULATED` patients are walked through in `SCENARIOS` imagined courses; the wait is the median of them
and the range lies between two of their quantiles. Behind these the queue is so long that its mean tells nearly all:
each patient moves the next ones back by a mean turn, in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Final

from rxdesk.waiting_room.estimates.crew import Crew
from rxdesk.waiting_room.estimates.scenario import LONGEST_WAIT, Scenario, front_of
from rxdesk.waiting_room.estimates.snapshot import Doctor, Estimate, Reason, Snapshot
from rxdesk.waiting_room.estimates.variates import STRIDE, variates

SCENARIOS: Final = 48
SIMULATED: Final = 96
# Quantiles of the scenarios whose whole minutes, rounded outwards, hold the wait in 8 of 10 cases: chosen on the
# tuning seeds (docs/waiting-room-estimates.md).
LOW: Final = 0.095
HIGH: Final = 0.905
# Where the normal distribution has 10 and 90 %.
_SPREAD: Final = 1.2816
# Variance of one turn, relative to its square; and the most that scenarios are taken to differ in speed.
_TURN_VARIANCE: Final = 0.25
_MOST_DOUBT: Final = 0.5

# Of those behind, so many are estimated in one step.
_AT_ONCE: Final = 64
# Low, middle, high: minutes from now.
_Range = tuple[float, float, float]


def estimate(snapshot: Snapshot, *, seed: int = 0, scenarios: int = SCENARIOS) -> list[Estimate]:
    """Estimate the wait of each patient in the queue and behind it, in their order.

    The same arguments give the same estimates.
    With no doctor on duty it is that of one who is free now, and says so (`no_doctor_on_duty`).
    """
    steps = in_steps(snapshot, seed=seed, scenarios=scenarios)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: list[Estimate] = end.value
            return found


def in_steps(
    snapshot: Snapshot, *, seed: int = 0, scenarios: int = SCENARIOS
) -> Generator[None, None, list[Estimate]]:
    """Estimate as `estimate` does, and stop now and then, for others who have something to do: after 0.2 ms or so."""
    if not snapshot.queue:
        return []
    reason: Reason | None = None
    if not snapshot.doctors:
        reason = "no_doctor_on_duty"
        snapshot = replace(snapshot, doctors=[Doctor(uid="", length=snapshot.shop_length)])
    table = variates(seed)
    front = front_of(snapshot, SIMULATED)
    course = Scenario(snapshot, front, table)
    crew = Crew(snapshot, table, scenarios)
    waits: list[list[float]] = [[] for _ in front.waited]
    rates = []
    for number in range(scenarios):
        staff = crew.draw(number)
        # Each two have mirrored variates, so that their median needs fewer of them.
        left = course.walk(staff, waits, number // 2 * STRIDE, -1.0 if number % 2 else 1.0)
        rates.append(sum(1 / (staff.mean[doctor] + crew.overhead) for doctor in left))
        yield
    ranges: list[_Range] = []
    for drawn in waits:
        drawn.sort()
        ranges.append((_quantile(drawn, LOW), _quantile(drawn, 0.5), _quantile(drawn, HIGH)))
    found = [_rounded(one, reason) for one in ranges]
    count = len(snapshot.queue) + snapshot.behind - len(found)
    for number, one in enumerate(_behind(count, ranges[-1], rates, course.given_up)):
        found.append(_rounded(one, reason))
        if number % _AT_ONCE == 0:
            yield
    return found


def _rounded(one: _Range, reason: Reason | None) -> Estimate:
    low, middle, high = one
    return Estimate(round(middle), math.floor(low), math.ceil(high), reason)


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _behind(count: int, last: _Range, rates: Sequence[float], given_up: Sequence[float]) -> Iterator[_Range]:
    """Go on from the `last` simulated patient: each who is still there by then takes one mean turn."""
    low, middle, high = last
    turn = len(rates) / sum(rates)
    # How far the scenarios differ in speed, relative to it; lengths of single consultations average out.
    doubt = min(_deviation(rates) * turn, _MOST_DOUBT)
    passed = 0.0
    for _ in range(count):
        time = middle + passed
        passed += turn * math.exp(-given_up[int(time) if time < LONGEST_WAIT else LONGEST_WAIT])
        beyond = _SPREAD**2 * ((passed * doubt) ** 2 + _TURN_VARIANCE * turn * passed)
        here = middle + passed
        yield (
            here - math.sqrt((middle - low) ** 2 + beyond),
            here,
            here + math.sqrt((high - middle) ** 2 + beyond),
        )


def _deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
