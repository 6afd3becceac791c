"""Days of a made-up shop, drawn from a seed: patients come, doctors come and go, some patients do not.

Nothing here is known to an estimate: it sees the rows alone, as they happen.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from rxdesk.waiting_room.estimates.room import OnDuty, Room, Row, Visit

DAY_SECONDS = 86400.0
# Monday, 5 January 2026, in UTC.
FIRST_DAY: Final = 1_767_571_200.0
OPENS, CLOSES = 8.0, 17.5
MOST_NO_SHOWS: Final = 3
# How often a doctor of the roster comes; how often a pause is announced with its end, to five minutes.
_PRESENT = 0.9
_ANNOUNCED = 0.67
# Regular hours of duty, and of whom the roster is made up in turns.
_SHIFTS = ((8.0, 16.0), (8.5, 13.0), (11.0, 18.0), (9.0, 17.0), (8.0, 12.5), (13.0, 18.0))


@dataclass(frozen=True, slots=True)
class Made:
    """A doctor of a made-up shop: regular hours, and log-normal lengths of consultations in minutes."""

    uid: str
    mu: float
    sigma: float
    hours: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Shop:
    """What a made-up shop is like, the same on each of its days."""

    seed: int
    doctors: tuple[Made, ...]
    arrivals: float
    peak: float
    peak_hour: float
    prefers: float
    no_show: float
    patience: float


def shop_of(seed: int) -> Shop:
    """Draw the shop of a seed: 3 to 8 doctors, loaded so that a queue grows each morning."""
    source = random.Random(f"shop {seed}")  # noqa: S311 (days are made up)
    pace = source.gauss(math.log(8.0), 0.15)
    doctors = tuple(
        Made(
            uid=f"doctor-{number + 1}",
            mu=source.gauss(pace, 0.28),
            sigma=source.uniform(0.35, 0.6),
            hours=_SHIFTS[number % len(_SHIFTS)],
        )
        for number in range(source.randint(3, 8))
    )
    # Patients in a day whose consultations fill the doctors' hours to the load.
    capacity = sum(
        _PRESENT * 60 * (one.hours[1] - one.hours[0]) / (math.exp(one.mu + one.sigma**2 / 2) + 1.0)
        for one in doctors
    )
    return Shop(
        seed=seed,
        doctors=doctors,
        arrivals=capacity * source.uniform(0.78, 0.95),
        peak=source.uniform(1.0, 2.0),
        peak_hour=source.uniform(9.25, 10.5),
        prefers=source.uniform(0.05, 0.3),
        no_show=source.uniform(0.03, 0.1),
        patience=source.uniform(35.0, 75.0),
    )


def days(seed: int, count: int) -> Iterator[list[Row]]:
    """Give the rows of each of the first `count` days of a seed's shop."""
    shop = shop_of(seed)
    for number in range(count):
        yield Day(shop, number).rows


class Day:
    """One day, played out: what comes next is kept in a heap of instants."""

    def __init__(self, shop: Shop, number: int) -> None:
        self.shop = shop
        self.source = random.Random(f"shop {shop.seed} day {number}")  # noqa: S311 (days are made up)
        self.number = number
        self.start = FIRST_DAY + number * DAY_SECONDS
        self.room = Room()
        self.rows: list[Row] = []
        self.made = {one.uid: one for one in shop.doctors}
        self.ends: dict[str, float] = {}
        self.next_pause: dict[str, float] = {}
        self.next_call: dict[str, float] = {}
        self.coming: list[tuple[float, int, str, str]] = []
        self.order = itertools.count()
        self.closes = self.start + CLOSES * 3600
        self._plan()
        while self.coming:
            at, _, what, who = heappop(self.coming)
            getattr(self, f"_{what}")(at, who)

    # ------------------------------------------------------------------------------------------------ the plan
    def _plan(self) -> None:
        present = [one for one in self.shop.doctors if self.source.random() < _PRESENT]
        for one in present or self.shop.doctors[:1]:
            start, end = one.hours
            arrives = self.start + 3600 * start + 60 * self.source.gauss(0, 8)
            self.ends[one.uid] = self.start + 3600 * end + 60 * self.source.gauss(0, 15)
            self._at(arrives, "on_duty", one.uid)
        demand = self.shop.arrivals * self.source.lognormvariate(0, 0.12)
        weights = [
            1 + self.shop.peak * math.exp(-(((OPENS + m / 60 - self.shop.peak_hour) / 1.0) ** 2))
            for m in range(round(60 * (CLOSES - OPENS)))
        ]
        total = sum(weights)
        visit = 0
        for minute, weight in enumerate(weights):
            # Poisson: exponential times between, within each minute.
            rate = demand * weight / total
            offset = self.source.expovariate(rate)
            while offset < 1:
                visit += 1
                at = self.start + 3600 * OPENS + 60 * (minute + offset)
                self._at(at, "register", f"visit-{self.number + 1}-{visit}")
                offset += self.source.expovariate(rate)

    def _at(self, at: float, what: str, who: str) -> None:
        heappush(self.coming, (at, next(self.order), what, who))

    def _row(self, row: Row) -> None:
        self.room.apply(row)
        self.rows.append(row)

    # ------------------------------------------------------------------------------------------------- patients
    def _register(self, at: float, uid: str) -> None:
        source = self.source
        preferred = None
        if source.random() < self.shop.prefers:
            preferred = source.choice(self.shop.doctors).uid
        self._row(Row(at=at, kind="registered", visit=uid, preferred_doctor=preferred))
        self._at(at + 60 * source.lognormvariate(math.log(self.shop.patience), 0.6), "give_up", uid)
        self._wake(at)

    def _give_up(self, at: float, uid: str) -> None:
        if uid in self.room.queue:
            self._row(Row(at=at, kind="cancelled", visit=uid))

    def _end(self, at: float, uid: str) -> None:
        doctor = self.room.called[uid].doctor or ""
        self._row(Row(at=at, kind="completed", visit=uid))
        self._after(at, doctor)

    def _miss(self, at: float, uid: str) -> None:
        visit = self.room.called[uid]
        doctor = visit.doctor or ""
        last = visit.no_shows + 1 == MOST_NO_SHOWS
        self._row(Row(at=at, kind="cancelled" if last else "no_show", visit=uid))
        self._after(at, doctor)

    # -------------------------------------------------------------------------------------------------- doctors
    def _on_duty(self, at: float, uid: str) -> None:
        self._row(Row(at=at, kind="on_duty", doctor=uid))
        self.next_pause[uid] = at + 60 * self.source.expovariate(1 / 110)
        self._look_at(at + 30, uid)

    def _after(self, at: float, uid: str) -> None:
        """Let a doctor go on after a turn: off duty, into a pause, or to the next after a moment."""
        alone = len(self.room.doctors) == 1 and (self.room.queue or at < self.closes)
        if at >= self.ends[uid] and not alone:
            self._row(Row(at=at, kind="off_duty", doctor=uid))
        elif at >= self.next_pause[uid]:
            length = 60 * self.source.lognormvariate(math.log(11), 0.5)
            until = at + 300 * max(1, round(length / 300)) if self.source.random() < _ANNOUNCED else None
            self._row(Row(at=at, kind="paused", doctor=uid, until=until))
            self._at(at + length, "resume", uid)
        else:
            self._look_at(at + 60 * self.source.lognormvariate(math.log(0.6), 0.5), uid)

    def _resume(self, at: float, uid: str) -> None:
        self._row(Row(at=at, kind="resumed", doctor=uid))
        self.next_pause[uid] = at + 60 * self.source.expovariate(1 / 110)
        self._look_at(at, uid)

    def _look_at(self, at: float, uid: str) -> None:
        """Let a doctor look who is due at an instant, or earlier if that is planned."""
        if at < self.next_call.get(uid, math.inf):
            self.next_call[uid] = at
            self._at(at, "call", uid)

    def _call(self, at: float, uid: str) -> None:
        if self.next_call.get(uid) != at:
            return
        del self.next_call[uid]
        doctor = self.room.doctors.get(uid)
        if doctor is None or not doctor.free:
            return
        visit = self._due(at, doctor)
        if visit is None:
            self._idle(at, uid)
            return
        self._row(Row(at=at, kind="called", visit=visit.uid, doctor=uid))
        missing = self.shop.no_show if not visit.no_shows else 0.6
        if self.source.random() < missing:
            self._at(at + 60 * self.source.uniform(2, 4), "miss", visit.uid)
        else:
            made = self.made[uid]
            self._at(at + 60 * self.source.lognormvariate(made.mu, made.sigma), "end", visit.uid)

    def _idle(self, at: float, uid: str) -> None:
        """Let a doctor for whom nobody is due look again when there may be one, or go at the end of the shift."""
        held = [one.anyone_from for one in self.room.queue.values() if one.anyone_from is not None]
        if at >= self.ends[uid] and (
            len(self.room.doctors) > 1 or (at >= self.closes and not self.room.queue)
        ):
            self._row(Row(at=at, kind="off_duty", doctor=uid))
        else:
            then = [at + 300, *(moment for moment in held if moment > at)]
            self._look_at(min(then), uid)

    def _wake(self, at: float) -> None:
        for doctor in self.room.doctors.values():
            if doctor.free:
                self._look_at(at + self.source.uniform(5, 30), doctor.uid)

    # ------------------------------------------------------------------------------------------------- who is due
    def _due(self, at: float, doctor: OnDuty) -> Visit | None:
        ahead: dict[str, int] = {}
        for visit in self.room.queue.values():
            wanted = visit.preferred_doctor
            if wanted is None or wanted == doctor.uid or wanted not in self.room.doctors:
                return visit
            if visit.anyone_from is not None and at >= visit.anyone_from:
                return visit
            if (
                self._extra(at, self.room.doctors[wanted]) + 9 * ahead.get(wanted, 0)
                > self.room.patience_minutes
            ):
                return visit
            if visit.anyone_from is None:
                visit.anyone_from = at + 60 * self.room.patience_minutes
            ahead[wanted] = ahead.get(wanted, 0) + 1
        return None

    def _extra(self, at: float, wanted: OnDuty) -> float:
        if wanted.called_at is not None:
            return max(9 - (at - wanted.called_at) / 60, 1.0)
        if wanted.paused_at is not None:
            until = wanted.until if wanted.until is not None else wanted.paused_at + 660
            return max((until - at) / 60, 1.0)
        return 0.0
