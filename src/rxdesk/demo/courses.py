"""When things happen to an order: the rhythm of its shop's days, its detours, and what is pinned to the present."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, TypeAlias

from rxdesk.demo.world import DAY, HOUR, MINUTE, World

DAYS = 90
# Orders a weekday, Monday first, and an hour: people see to it on Mondays and in the evening.
_WEEKDAYS = (1.4, 1.15, 1.0, 0.95, 0.85, 0.7, 1.0)
_HOURS = (6, 3, 2, 1, 1, 2, 6, 14, 24, 30, 32, 32, 34, 32, 28, 28, 30, 36, 46, 58, 66, 60, 38, 16)

# What goes otherwise than from init to completed, and how often.
_DETOURS = (
    ("declined", 0.07),
    ("cancelled", 0.04),
    ("out of stock", 0.015),
    ("paused", 0.025),
    ("waiting for manual input", 0.025),
    ("waiting for clearance", 0.025),
    ("waiting for payment", 0.01),
    ("pharmacy not found", 0.004),
    ("prescription not found", 0.003),
    ("prescription not signed", 0.006),
)
_DETOUR_NAMES = [name for name, _ in _DETOURS] + [""]
_DETOUR_WEIGHTS = [weight for _, weight in _DETOURS] + [1 - sum(weight for _, weight in _DETOURS)]
# These are settled after some days, and the order goes its way.
PASSING = frozenset({"paused", "waiting for manual input", "waiting for clearance"})
PASSING_DAYS = 4

Reached: TypeAlias = Literal["created", "started", "assigned", "decided"]


class Pin(NamedTuple):
    """A state that a demo always shows, whatever the hour: an order's status, its prescriptions' ("" for none)."""

    status: str
    prescriptions: str
    reached: Reached
    detour: str = ""


_HELD = (
    Pin("paused", "on_hold", "assigned", "paused"),
    Pin("waiting for manual input", "on_hold", "assigned", "waiting for manual input"),
    Pin("waiting for clearance", "on_hold", "assigned", "waiting for clearance"),
    Pin("waiting for payment", "", "started", "waiting for payment"),
)
_ENDED = (
    Pin("cancelled", "cancelled", "assigned", "cancelled"),
    Pin("prescription not found", "", "assigned", "prescription not found"),
    Pin("prescription declined", "declined", "decided", "declined"),
    Pin("prescription not signed", "approved", "decided", "prescription not signed"),
    Pin("out of stock", "signed", "decided", "out of stock"),
    Pin("pharmacy not found", "signed", "decided", "pharmacy not found"),
)
_APPROVED = Pin("waiting for doctor", "approved", "decided")
# The newest orders, newest first, and for each the most seconds that it may be older than the one before it: an
# order that has just come in is minutes old, one that is held up may be of yesterday.
_PINS: tuple[tuple[int, Pin], ...] = (
    *3 * ((30, Pin("init", "", "created")),),
    *3 * ((3 * MINUTE, Pin("started", "", "started")),),
    *2 * ((4 * MINUTE, Pin("waiting for doctor", "waiting_for_doctor", "started")),),
    *3 * ((10 * MINUTE, Pin("waiting for doctor", "waiting_for_doctor", "assigned")),),
    *2 * ((10 * MINUTE, _APPROVED),),
    *2 * ((10 * MINUTE, Pin("waiting for doctor", "on_hold", "assigned")),),
    (HOUR, Pin("waiting for pharmacy", "externally_signed", "decided")),
    (HOUR, Pin("waiting for pharmacy", "non_qes_signed", "decided")),
    *2 * ((HOUR, Pin("waiting for pharmacy", "signed", "decided")),),
    *((6 * HOUR, pin) for pin in 2 * _HELD),
    *((6 * HOUR, pin) for pin in 2 * _ENDED),
)
_FEWEST_PINNED = 500  # with fewer orders the pinned ones would be most of what there is to see


@dataclass(frozen=True, slots=True)
class Course:
    """When things happen to an order, in Unix seconds, and the detour that it takes, if any."""

    created: int
    started: int
    assigned: int
    decided: int
    completed: int
    detour: str
    example: bool = False
    pin: Pin | None = None


def order_times(world: World, count: int) -> list[int]:
    """Draw the orders' times, oldest first, with the rhythm of days and weeks."""
    today = datetime.fromtimestamp(world.now, world.zone).date()
    days = [today - timedelta(days=DAYS - 1 - n) for n in range(DAYS)]
    weights = [_WEEKDAYS[day.weekday()] * (1 + 0.004 * n) for n, day in enumerate(days)]
    # Midnight may be an hour off where the clocks change that day: nobody minds in a demo.
    midnights = [int(datetime(day.year, day.month, day.day, tzinfo=world.zone).timestamp()) for day in days]
    chosen = world.random.choices(midnights, weights, k=count)
    hours = world.random.choices(range(24), _HOURS, k=count)
    times = []
    for midnight, hour in zip(chosen, hours, strict=True):
        moment = midnight + hour * HOUR + world.random.randrange(HOUR)
        times.append(moment if moment < world.now - MINUTE else moment - DAY)
    return sorted(times)


def pin_newest(world: World, times: list[int]) -> list[Pin | None]:
    """Pin the newest of the times (oldest first) to states: gives each time's pin, and moves what is too old for it.

    A pinned order is made younger where it must be, never older, so the times stay in order.
    """
    if len(times) < _FEWEST_PINNED:
        return [None] * len(times)
    pins: list[Pin | None] = [None] * len(times)
    oldest = world.now - MINUTE
    for back, (gap, pin) in enumerate(_PINS, start=1):
        oldest -= world.random.randint(1, gap)
        times[-back] = max(times[-back], oldest)
        pins[-back] = pin
    return pins


def draw_course(world: World, created: int, speed: float, *, example: bool) -> Course:
    """Draw an order's course; `speed` is the doctor's median minutes to a decision."""
    started = created + world.minutes(2)
    assigned = started + world.minutes(6)
    decided = assigned + world.minutes(speed)
    if example:  # its life lies within the ninety days, or the few minutes that there are
        started, assigned, decided = created + 10, created + 20, created + 50
        return Course(created, started, assigned, decided, created + 55, "", example=True)
    detour = world.random.choices(_DETOUR_NAMES, _DETOUR_WEIGHTS)[0]
    if detour in PASSING:
        decided += PASSING_DAYS * DAY
    completed = decided + world.minutes(30 * 60, 0.5)
    return Course(created, started, assigned, decided, completed, detour)


def pinned_course(world: World, created: int, speed: float, pin: Pin) -> Course:
    """Draw the course of an order that the present finds in the pin's state: what it has reached is past."""
    now, share = world.now, (world.now - created) // 4

    def after(before: int, minutes: float, reached: tuple[Reached, ...]) -> int:
        span = world.minutes(minutes)
        return before + min(span, share) if pin.reached in reached else now + span

    started = after(created, 2, ("started", "assigned", "decided"))
    assigned = after(started, 6, ("assigned", "decided"))
    decided = after(assigned, speed, ("decided",))
    if pin == _APPROVED:  # it is signed within minutes, so it was approved just now
        decided = max(decided, now - 4 * MINUTE)
    completed = max(decided, now) + world.minutes(20 * 60, 0.5)
    return Course(created, started, assigned, decided, completed, pin.detour, pin=pin)
