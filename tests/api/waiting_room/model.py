"""The specification of docs/waiting-room.md as a pure model: no database, no clock, no locks.

It is written from the page and not from the code: lists that are searched from the front, and times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

CONSULTATION = 600  # seconds, in every shop of the model
PATIENCE = 900
HEARTBEAT = 3600
GRACE = 600


@dataclass
class Doctor:
    """A doctor; `shops` is empty off duty."""

    uid: str
    status: str = "off"
    shops: frozenset[str] = frozenset()
    seen_at: int = 0
    paused_until: int | None = None


@dataclass
class Visit:
    """A visit; `since` is when it took its present place."""

    uid: str
    shop: str
    patient: str
    preferred: str | None
    since: int
    status: str = "waiting"
    doctor: str | None = None
    allocated_at: int | None = None
    passed_over_at: int | None = None
    no_shows: int = 0


class RefusedError(Exception):
    """The command is a 409."""


@dataclass
class Model:
    """All shops of an organisation: each one's visits in the order of their places, those that ended too."""

    doctors: dict[str, Doctor]
    places: dict[str, list[Visit]]
    now: int = 0
    visits: dict[str, Visit] = field(default_factory=dict)

    def waiting(self, shop: str) -> list[Visit]:
        """Who waits in the shop, the first one first."""
        return [visit for visit in self.places[shop] if visit.status == "waiting"]

    def had_by(self, doctor: str) -> list[Visit]:
        """Whom the doctor has."""
        return [v for v in self.visits.values() if v.status == "allocated" and v.doctor == doctor]

    # Who is due -----------------------------------------------------------------------------------------------

    def takes(self, doctor: Doctor, shop: str) -> bool:
        """On duty in the shop and not away, nor in a pause of unknown length."""
        here = shop in doctor.shops and self.now - doctor.seen_at <= HEARTBEAT
        return here and (doctor.status == "on" or doctor.paused_until is not None)

    def extra_wait(self, visit: Visit) -> int:
        """How much longer the patient would wait for the preferred doctor than for whoever calls now."""
        assert visit.preferred is not None
        doctor = self.doctors[visit.preferred]
        waited = 0 if visit.passed_over_at is None else self.now - visit.passed_over_at
        pause = max(0, (doctor.paused_until or 0) - self.now)
        begun = [v.allocated_at for v in self.had_by(doctor.uid) if v.allocated_at is not None]
        rest = max(0, max(begun) + CONSULTATION - self.now) if begun else 0
        queue = self.waiting(visit.shop)
        ahead = sum(1 for v in queue[: queue.index(visit)] if v.preferred == doctor.uid)
        return waited + pause + rest + ahead * CONSULTATION

    def kept(self, visit: Visit, caller: str) -> bool:
        """Whether the visit waits for its preferred doctor when another one calls."""
        if visit.preferred in (None, caller):
            return False
        preferred = self.doctors[str(visit.preferred)]
        return self.takes(preferred, visit.shop) and self.extra_wait(visit) <= PATIENCE

    def call(self, doctor: str) -> Visit | None:
        """Give the doctor the patient who is due."""
        caller = self.doctors[doctor]
        if caller.status != "on":
            raise RefusedError
        self._see(doctor)
        self.bring_back(caller.shops)
        due: list[Visit] = []
        passed: list[Visit] = []
        for shop in sorted(caller.shops):
            for visit in self.waiting(shop):
                if not self.kept(visit, doctor):
                    due.append(visit)
                    break
                passed.append(visit)
        for visit in passed:
            if visit.passed_over_at is None:
                visit.passed_over_at = self.now
        if not due:
            return None
        found = min(due, key=lambda visit: (visit.since, visit.shop))
        found.status, found.doctor, found.allocated_at = "allocated", doctor, self.now
        return found

    def bring_back(self, shops: frozenset[str]) -> None:
        """Put the patients of doctors who have vanished back to their places."""
        for visit in self.visits.values():
            if visit.status == "allocated" and visit.shop in shops:
                doctor = self.doctors[str(visit.doctor)]
                if doctor.status != "off" and self.now - doctor.seen_at > HEARTBEAT + GRACE:
                    self._wait_again(visit)

    # What patients do -------------------------------------------------------------------------------------------

    def register(self, uid: str, shop: str, patient: str, preferred: str | None) -> None:
        """Take the last place."""
        visit = Visit(uid, shop, patient, preferred, self.now)
        self.places[shop].append(visit)
        self.visits[uid] = visit

    def is_there(self, shop: str, patient: str) -> bool:
        """Whether the patient waits, or is allocated, in the shop."""
        return any(v.patient == patient and v.status in ("waiting", "allocated") for v in self.places[shop])

    def cancel(self, uid: str) -> None:
        """Leave."""
        visit = self.visits[uid]
        if visit.status == "completed":
            raise RefusedError
        visit.status = "cancelled"

    # What doctors do --------------------------------------------------------------------------------------------

    def _see(self, doctor: str) -> Doctor:
        found = self.doctors[doctor]
        if found.status != "off":
            found.seen_at = self.now
        return found

    def go_on(self, doctor: str, shops: frozenset[str]) -> None:
        """Go on duty."""
        found = self.doctors[doctor]
        found.status, found.shops, found.seen_at, found.paused_until = "on", shops, self.now, None

    def pause(self, doctor: str, seconds: int | None) -> None:
        """Pause."""
        found = self._on(doctor)
        found.status, found.paused_until = "paused", None if seconds is None else self.now + seconds

    def resume(self, doctor: str) -> None:
        """End a pause."""
        found = self._on(doctor)
        found.status, found.paused_until = "on", None

    def go_off(self, doctor: str) -> None:
        """Go off duty."""
        if self.doctors[doctor].status == "off" or self.had_by(doctor):
            raise RefusedError
        found = self.doctors[doctor]
        found.status, found.shops, found.paused_until = "off", frozenset(), None

    def heartbeat(self, doctor: str) -> None:
        """Give a sign of life."""
        self._on(doctor)

    def _on(self, doctor: str) -> Doctor:
        if self.doctors[doctor].status == "off":
            raise RefusedError
        return self._see(doctor)

    def complete(self, uid: str, doctor: str) -> None:
        """End the consultation."""
        self._had(uid, doctor).status = "completed"
        self._see(doctor)

    def no_show(self, uid: str, doctor: str) -> None:
        """To the end of the queue, or the third time out of it."""
        visit = self._had(uid, doctor)
        self._see(doctor)
        visit.no_shows += 1
        if visit.no_shows == 3:
            visit.status = "cancelled"
            return
        self._wait_again(visit)
        visit.since = self.now
        self.places[visit.shop].remove(visit)
        self.places[visit.shop].append(visit)

    def hand_over(self, uid: str, doctor: str, to: str) -> None:
        """To a colleague."""
        visit, colleague = self._had(uid, doctor), self.doctors[to]
        away = self.now - colleague.seen_at > HEARTBEAT
        if to == doctor or colleague.status != "on" or away or visit.shop not in colleague.shops:
            raise RefusedError
        self._see(doctor)
        visit.doctor = to

    def cancel_by_doctor(self, uid: str) -> None:
        """Whoever cancels for a doctor."""
        if self.visits[uid].status not in ("waiting", "allocated"):
            raise RefusedError
        self.visits[uid].status = "cancelled"

    def _had(self, uid: str, doctor: str) -> Visit:
        visit = self.visits[uid]
        if visit.status != "allocated" or visit.doctor != doctor:
            raise RefusedError
        return visit

    def _wait_again(self, visit: Visit) -> None:
        visit.status, visit.doctor, visit.allocated_at, visit.passed_over_at = "waiting", None, None, None

    # What is seen -----------------------------------------------------------------------------------------------

    def shown(self) -> Iterator[tuple[str, str, str | None, int]]:
        """Each visit: uid, status, its doctor while it is allocated, how often nobody was there."""
        for visit in self.visits.values():
            doctor = visit.doctor if visit.status == "allocated" else None
            yield visit.uid, visit.status, doctor, visit.no_shows
