"""Forecasts: the estimates of a whole room, made once in a while and shared by all who ask for it.

What was made serves while it is fresh and the room's revision is the same. A room that changes all the time is
estimated once a second at most, and never twice at once; who is not in what was made is answered by position, but for
one at the front who has just come and prefers a doctor: for that one it is made anew. It takes milliseconds, so others
are served between its steps.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from rxdesk.access import Access, Transaction, look
from rxdesk.kit.clock import Clock
from rxdesk.settings import Settings
from rxdesk.waiting_room.estimates.forward import SIMULATED, in_steps
from rxdesk.waiting_room.estimates.snapshot import Estimate, Reason
from rxdesk.waiting_room.lifecycle import Rules
from rxdesk.waiting_room.schemas import Standing, Status
from rxdesk.waiting_room.snapshots import NEXT, SNAPSHOT, Seen, read_for, snapshot_of

# A room that changes all the time is not estimated more often.
LEAST_AGE: Final = timedelta(seconds=1)
# Rooms of which a process remembers the forecast; those that nobody asks about go first.
MOST_ROOMS: Final = 256
# No room has it yet: whoever registers makes the next one, so what is kept serves for `LEAST_AGE` alone.
NEWEST: Final = 2**63 - 1

_Key = tuple[int, str]


class Window(NamedTuple):
    """Estimates of neighbouring positions, behind the position `before`; no range holds with no doctor on duty."""

    before: int
    minutes: list[int]
    low: list[int] | None
    high: list[int] | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Estimates of a room at `made_at`, by position, for all who wait and some more.

    `positions` has the visits at the front, where a preferred doctor makes a difference. `waiting` is how many wait.
    """

    revision: int
    made_at: datetime
    waiting: int
    minutes: Sequence[int]
    low: Sequence[int]
    high: Sequence[int]
    positions: Mapping[str, int]
    reason: Reason | None

    @property
    def next_ones(self) -> Window:
        """The estimates around the last one who waits: of those who register next, one has one of these places."""
        first = max(self.waiting - NEXT, 0)
        minutes = list(self.minutes[first:])
        if self.reason is not None:
            return Window(first, minutes, None, None)
        return Window(first, minutes, list(self.low[first:]), list(self.high[first:]))

    def of_visit(self, queue_uid: str, position: int) -> Estimate:
        """Give the estimate of a visit that waits at a position, counted from 1."""
        place = self.positions.get(queue_uid, position)
        # Beyond the last one as for that one: so many have not come since.
        place = min(max(place, 1), len(self.minutes)) - 1
        return Estimate(self.minutes[place], self.low[place], self.high[place], self.reason)


NOTHING = Forecast(
    revision=0,
    made_at=datetime.min.replace(tzinfo=UTC),
    waiting=0,
    minutes=(0,),
    low=(0,),
    high=(0,),
    positions={},
    reason="no_doctor_on_duty",
)


async def forecast_in(tx: Transaction, settings: Settings, shop_uid: str) -> Forecast:
    """Make the forecast of a shop in a transaction, for a program that makes one and ends."""
    rules = Rules.of(settings)
    text = await look(tx.connection, tx.organisation_id, SNAPSHOT, *read_for(rules, shop_uid, tx.now))
    return NOTHING if text is None else await _forecast(text, rules, settings.doctors_on_duty, tx.now)


async def _forecast(text: str, rules: Rules, doctors_on_duty: int, now: datetime) -> Forecast:
    seen = msgspec.json.decode(text, type=Seen)
    steps = in_steps(snapshot_of(seen, rules, doctors_on_duty, now))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return _forecast_of(seen, end.value, now)
        await asyncio.sleep(0)


def _forecast_of(seen: Seen, found: Sequence[Estimate], now: datetime) -> Forecast:
    return Forecast(
        revision=seen.revision,
        made_at=now,
        waiting=seen.waiting,
        minutes=array("q", [one.minutes for one in found]),
        low=array("q", [max(one.low, 0) for one in found]),
        high=array("q", [one.high for one in found]),
        positions={one.uid: position for position, one in enumerate(seen.queue, 1)},
        reason=None if seen.doctors else "no_doctor_on_duty",
    )


class Forecasts:
    """The forecasts that a process keeps; `made` counts how many were made."""

    def __init__(self, access: Access, settings: Settings, clock: Clock) -> None:
        self._access = access
        self._clock = clock
        self._rules = Rules.of(settings)
        self._doctors_on_duty = settings.doctors_on_duty
        self._fresh = timedelta(seconds=settings.forecast_seconds)
        self._kept: OrderedDict[_Key, Forecast] = OrderedDict()
        self._under_way: dict[_Key, asyncio.Task[Forecast]] = {}
        self.made = 0

    async def of(
        self,
        organisation_id: int,
        shop_uid: str,
        revision: int | None = None,
        *,
        least_age: timedelta = LEAST_AGE,
    ) -> Forecast:
        """Give a shop's forecast: made anew if it is not fresh, or older than the revision and the least age.

        Of a shop that there is not it says nothing: 0 minutes. Raises DatabaseUnavailableError.
        """
        key = organisation_id, shop_uid
        kept = self._kept.get(key)
        if kept is not None and self._serves(kept, revision, least_age):
            self._kept.move_to_end(key)
            return kept
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._make(key))
        # One who asked goes away, and the others still want it.
        return await asyncio.shield(task)

    async def status(self, organisation_id: int, standing: Standing) -> Status:
        """Give a visit's status with its estimate, if it waits. Raises DatabaseUnavailableError."""
        status, _ = await self.status_as_of(organisation_id, standing)
        return status

    async def status_as_of(self, organisation_id: int, standing: Standing) -> tuple[Status, bool]:
        """Give a visit's status, and whether its estimate is of the room as it stands."""
        if standing.position is None:
            return standing.with_estimate(None), True
        uid, position = standing.queue_uid, standing.position
        forecast = await self.of(organisation_id, standing.shop_uid, standing.revision)
        if standing.prefers and position <= SIMULATED:
            # Its position does not tell how long it waits. One that was under way may have begun before it came.
            for _ in range(2):
                if uid in forecast.positions or forecast.revision >= standing.revision:
                    break
                forecast = await self.of(
                    organisation_id, standing.shop_uid, standing.revision, least_age=timedelta(0)
                )
        estimate = forecast.of_visit(uid, position)
        return standing.with_estimate(estimate), forecast.revision >= standing.revision

    def _serves(self, kept: Forecast, revision: int | None, least_age: timedelta) -> bool:
        age = abs(self._clock() - kept.made_at)
        return age < least_age or (age < self._fresh and (revision is None or kept.revision >= revision))

    async def _make(self, key: _Key) -> Forecast:
        try:
            organisation_id, shop_uid = key
            now = self._clock()
            text = await self._access.look(organisation_id, SNAPSHOT, *read_for(self._rules, shop_uid, now))
            if text is None:
                return NOTHING
            found = await _forecast(text, self._rules, self._doctors_on_duty, now)
            self.made += 1
            self._kept[key] = found
            self._kept.move_to_end(key)
            if len(self._kept) > MOST_ROOMS:
                self._kept.popitem(last=False)
            return found
        finally:
            del self._under_way[key]

    def close(self) -> None:
        """Make no more."""
        for task in list(self._under_way.values()):
            task.cancel()
