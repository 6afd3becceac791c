"""Doctors, patients and their signed anamneses."""

from __future__ import annotations

from datetime import UTC, datetime

from rxdesk.demo.catalogue import INTENTS
from rxdesk.demo.world import DAY, HOUR, MINUTE, Row, World

DOCTORS = 12
_TITLES = ("Dr. med.", "Dr. med.", "Dr. med.", "Dr.", "PD Dr. med.", "Prof. Dr. med.")
_INSURERS = ("gesetzlich", "gesetzlich", "gesetzlich", "privat")


def make_doctors(world: World) -> list[Row]:
    """Make the doctors; the last one has left, the one before may not sign."""
    doctors: list[Row] = []
    for number in range(DOCTORS):
        first, last = world.random.choice(world.first_names), world.random.choice(world.last_names)
        created = world.now - (880 - 40 * number) * DAY
        doctors.append(
            {
                "uid": world.uid("doc", created),
                "display_name": f"{world.random.choice(_TITLES)} {first} {last}",
                "email": world.mailbox(first, last, number + 1),
                "minutes_to_respond": world.random.choice((15, 30, 30, 45, 60, 120)),
                "can_sign_prescriptions": number != DOCTORS - 2,
                "active": number != DOCTORS - 1,
                "created_at": created,
            }
        )
    return doctors


def make_patients(world: World, count: int) -> list[Row]:
    """Make patients, oldest first. The first is the demo's example: a valid intent, a mailbox of its own."""
    patients: list[Row] = []
    times = sorted(world.now - world.random.randrange(91 * DAY, 700 * DAY) for _ in range(count))
    for number, created in enumerate(times):
        first, last = world.random.choice(world.first_names), world.random.choice(world.last_names)
        family = number > 1 and world.chance(0.02)
        email = patients[-1]["email"] if family and number > 2 else world.mailbox(first, last, number + 1)  # noqa: PLR2004
        patients.append(
            {
                "uid": world.uid("pp", created),
                "display_name": f"{first} {last}",
                "first_name": first,
                "last_name": last,
                "email": email,
                "date_of_birth": _birthday(world),
                "profile": _profile(world, first, last),
                "submissions": _submissions(world, created, example=number == 0),
                "created_at": created,
            }
        )
    return patients


def _birthday(world: World) -> str:
    age_days = int(365.25 * min(88, max(18, world.random.gauss(41, 14))))
    return datetime.fromtimestamp(world.now - age_days * DAY - 12 * HOUR, UTC).date().isoformat()


def _profile(world: World, first: str, last: str) -> Row:
    return {
        "phone": f"+49 1512 {world.random.randrange(10**6, 10**7)}",
        "insurance": world.random.choice(_INSURERS),
        "address": world.address(first, last),
    }


def _submissions(world: World, created: int, *, example: bool) -> list[Row]:
    """Make anamneses: some fresh, some signed over a year ago, some never; many patients have none."""
    if example:
        return [
            {
                "uid": world.uid("sub", created),
                "intent": INTENTS[0],
                "signed_at": world.now - 40 * DAY,
            }
        ]
    made = []
    for intent in world.random.sample(INTENTS, world.random.choice((0, 1, 1, 1, 2, 3))):
        signed = world.random.randrange(created, world.now - HOUR)
        made.append(
            {
                "uid": world.uid("sub", max(signed - 10 * MINUTE, created)),
                "intent": intent,
                "signed_at": None if world.chance(0.08) else signed,
            }
        )
    return made
