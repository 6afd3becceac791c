"""What is learned of a shop from the rows of its history: `Learned` is kept, `Learner` adds to it.

All of it is sums in which older things count less, so that it is added to row by row, and never read anew.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

import msgspec

from rxdesk.waiting_room.estimates.habits import GIVE_UP_STEPS, Habits, Hour
from rxdesk.waiting_room.estimates.lengths import PRIOR, Lengths, LogNormal, of_doctor, of_shop
from rxdesk.waiting_room.estimates.room import OnDuty, Room, Row, Visit
from rxdesk.waiting_room.estimates.snapshot import Doctor, Expected, Snapshot, Waiting
from rxdesk.waiting_room.estimates.sums import Rate, Sums

# A longer time until the next call says that the doctor did something else.
_LONGEST_GAP: Final = 5.0
_PRIOR: Final = Habits()
# The hours of a doctor are believed after about two days; they never are to the minute.
_HOURS_WEIGHT: Final = 1.0
_HOURS_DEVIATION: Final = 60.0
_LEAST_DEVIATION: Final = 8.0


class Hours(msgspec.Struct, kw_only=True):
    """When a doctor comes and goes, in minutes of the local day, and on how many of the shop's days.

    Who goes after midnight goes at more than 1440 minutes of the day of coming.
    """

    comes: Sums = msgspec.field(default_factory=Sums)
    goes: Sums = msgspec.field(default_factory=Sums)
    days: Rate = msgspec.field(default_factory=Rate)


class Learned(msgspec.Struct, kw_only=True):
    """What is known of a shop. It turns into JSON as it is; `doctors` and `hours` may be rows of their own."""

    shop: Lengths = msgspec.field(default_factory=Lengths)
    doctors: dict[str, Lengths] = msgspec.field(default_factory=dict)
    hours: dict[str, Hours] = msgspec.field(default_factory=dict)
    no_show: list[Rate] = msgspec.field(default_factory=lambda: [Rate(), Rate()])
    # Minutes, over the number of no-shows.
    no_show_minutes: Rate = msgspec.field(default_factory=Rate)
    give_up: list[Rate] = msgspec.field(
        default_factory=lambda: [Rate() for _ in range(len(GIVE_UP_STEPS) + 1)]
    )
    # Minutes, over the number of calls that followed at once.
    gap_minutes: Rate = msgspec.field(default_factory=Rate)
    pause: Rate = msgspec.field(default_factory=Rate)
    pause_length: Lengths = msgspec.field(default_factory=Lengths)
    # Doctors who came for the first time, over the minutes in which somebody waited or was on duty.
    newcomers: Rate = msgspec.field(default_factory=Rate)


class Learner:
    """Adds to what is learned of a shop. `zone` is the organisation's: its day is what doctors come and go by.

    `prior` is what is assumed of consultations of which nothing is known.
    """

    def __init__(
        self, room: Room, learned: Learned | None = None, zone: tzinfo = UTC, prior: LogNormal = PRIOR
    ) -> None:
        self.room = room
        self.learned = learned or Learned()
        self.zone = zone
        self.prior = prior

    def observe(self, row: Row) -> None:
        """Learn from the next row and apply it to the room. Raises HistoryError."""
        room = self.room
        before = room.at
        visit = room.queue.get(row.visit or "") or room.called.get(row.visit or "")
        waited = row.visit in room.queue
        doctor = room.doctors.get(row.doctor or (visit.doctor if visit and visit.doctor else ""))
        kept = None if doctor is None else (doctor.called_at, doctor.paused_at, doctor.free_since)
        idle = not (room.doctors or room.queue)
        room.apply(row)
        self.learned.newcomers.add(0.0, 0.0 if idle else (row.at - before) / 60, row.at)
        self._of_hours(row, before, row.at if doctor is None else doctor.since)
        if visit is not None and waited and row.kind in ("called", "cancelled"):
            self._left_queue(visit, row)
        if kept is not None and doctor is not None:
            self._of_doctor(row, doctor, visit, *kept)

    def _left_queue(self, visit: Visit, row: Row) -> None:
        """Count the minutes of a wait, and whether it was given up, by how long it had lasted."""
        waited, start = (row.at - visit.queued_at) / 60, 0.0
        for rate, end in zip(self.learned.give_up, (*GIVE_UP_STEPS, float("inf")), strict=True):
            here = start <= waited < end
            rate.add(float(here and row.kind == "cancelled"), max(min(waited, end) - start, 0.0), row.at)
            start = end
            if here:
                break

    def _of_doctor(
        self,
        row: Row,
        doctor: OnDuty,
        visit: Visit | None,
        called_at: float | None,
        paused_at: float | None,
        free_since: float | None,
    ) -> None:
        learned, at = self.learned, row.at
        if row.kind == "completed" and called_at is not None:
            minutes = (at - called_at) / 60
            learned.shop.add(minutes, at)
            learned.doctors.setdefault(doctor.uid, Lengths()).add(minutes, at)
            learned.pause.add(0.0, 1.0, at)
            self._met(visit, 0.0, at)
        elif row.kind == "no_show" and called_at is not None:
            learned.no_show_minutes.add((at - called_at) / 60, 1.0, at)
            self._met(visit, 1.0, at)
        elif row.kind == "called" and free_since is not None and visit is not None:
            gap = (at - free_since) / 60
            # Only if the doctor did not wait for this patient to come.
            if visit.queued_at < free_since and gap < _LONGEST_GAP:
                learned.gap_minutes.add(gap, 1.0, at)
        elif row.kind == "paused":
            learned.pause.add(1.0, 0.0, at)
        elif row.kind == "resumed" and paused_at is not None:
            learned.pause_length.add((at - paused_at) / 60, at)

    def _met(self, visit: Visit | None, missed: float, at: float) -> None:
        if visit is not None:
            # The room has counted the present one already.
            self.learned.no_show[min(visit.no_shows - int(missed), 1)].add(missed, 1.0, at)

    # ------------------------------------------------------------------------------------------------ hours
    def _of_hours(self, row: Row, before: float, since: float) -> None:
        """Count days on which doctors came, and the minutes at which they came first and went.

        `before`: the row before; `since`: the doctor is on duty.
        """
        hours = self.learned.hours
        if self.day(row.at) != self.day(before):
            for known in hours.values():
                known.days.add(0.0, 1.0, row.at)
        if row.doctor is None or row.kind not in ("on_duty", "off_duty"):
            return
        minute = (row.at - self._midnight(since)) / 60
        new = row.doctor not in hours
        self.learned.newcomers.add(float(new), 0.0, row.at)
        of = hours.setdefault(row.doctor, Hours())
        if row.kind == "off_duty":
            of.goes.add(minute, row.at)
        elif new or self.day(of.comes.updated_at) != self.day(row.at):
            of.comes.add(minute, row.at)
            of.days.add(1.0, float(new), row.at)

    def day(self, at: float) -> object:
        """Give the local day of a Unix second."""
        return datetime.fromtimestamp(at, self.zone).date()

    def _midnight(self, at: float) -> float:
        local = datetime.fromtimestamp(at, self.zone)
        return at - timedelta(hours=local.hour, minutes=local.minute, seconds=local.second).total_seconds()

    def _hour(self, minutes: Sums, day: float, chance: float) -> Hour:
        mean = minutes.total / minutes.weight
        middle, deviation = minutes.shrunk(mean, _HOURS_DEVIATION, _HOURS_WEIGHT / 4, _LEAST_DEVIATION)
        return Hour(self._midnight(day) + 60 * middle, deviation, chance)

    def goes(self, doctor: str, since: float) -> Hour | None:
        """Give when a doctor goes who is on duty since then; None if the usual hour says nothing of it."""
        hours = self.learned.hours.get(doctor)
        if hours is None or hours.goes.weight <= 0:
            return None
        found = self._hour(hours.goes, since, hours.goes.weight / (hours.goes.weight + _HOURS_WEIGHT))
        return found if found.at > since else None

    def expected(self, now: float) -> list[Expected]:
        """Give the doctors who have not come today and usually do."""
        return [
            Expected(
                comes=self._hour(hours.comes, now, hours.days.value(0.0, _HOURS_WEIGHT)),
                length=self.length(uid),
            )
            for uid, hours in self.learned.hours.items()
            if uid not in self.room.doctors
            and hours.comes.weight > 0
            and self.day(hours.comes.updated_at) != self.day(now)
        ]

    def habits(self) -> Habits:
        """Give what the shop is used to."""
        learned = self.learned
        prior = zip(learned.give_up, _PRIOR.give_up, strict=True)
        return Habits(
            no_show=(
                learned.no_show[0].value(_PRIOR.no_show[0], 40.0),
                learned.no_show[1].value(_PRIOR.no_show[1], 8.0),
            ),
            no_show_minutes=learned.no_show_minutes.value(_PRIOR.no_show_minutes, 4.0),
            give_up=tuple(rate.value(before, 300.0) for rate, before in prior),
            gap_minutes=learned.gap_minutes.value(_PRIOR.gap_minutes, 10.0),
            newcomers=learned.newcomers.value(0.0, 240.0),
            pause=min(learned.pause.value(_PRIOR.pause, 50.0), 0.5),
            pause_length=_PRIOR.pause_length.learned(learned.pause_length, 4.0),
        )

    def length(self, doctor: str) -> LogNormal:
        """Give what is known of a doctor's consultations in the shop."""
        return of_doctor(self.learned.doctors.get(doctor), self.learned.shop, self.prior)

    @property
    def shop_length(self) -> LogNormal:
        """What is known of the shop's consultations, whoever holds them."""
        return of_shop(self.learned.shop, self.prior)

    def snapshot(self, now: float) -> Snapshot:
        """Give the room as it stands, for an estimate."""
        return Snapshot(
            now=now,
            doctors=[
                Doctor(
                    uid=one.uid,
                    state="free" if one.free else "busy" if one.visit is not None else "paused",
                    since=one.called_at if one.visit is not None else one.paused_at,
                    until=one.until,
                    length=self.length(one.uid),
                    goes=self.goes(one.uid, one.since),
                )
                for one in self.room.doctors.values()
            ],
            queue=[
                Waiting(one.uid, one.queued_at, one.preferred_doctor, one.no_shows, one.anyone_from)
                for one in self.room.queue.values()
            ],
            expected=self.expected(now),
            shop_length=self.shop_length,
            habits=self.habits(),
            patience_minutes=self.room.patience_minutes,
        )
