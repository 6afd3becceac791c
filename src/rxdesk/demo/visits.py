"""Waiting rooms that are full, and wallet passes."""

from __future__ import annotations

from rxdesk.demo.catalogue import Catalogue
from rxdesk.demo.world import DAY, HOUR, MINUTE, Row, World

_REASONS = (
    "Folgerezept",
    "Rückfrage zur Dosierung",
    "Nebenwirkungen besprechen",
    "Erstgespräch",
    "Befund besprechen",
    "Wechsel des Präparats",
    "Hautausschlag seit drei Tagen",
    None,
)
_TEMPLATES = (
    ("Patientenkarte", "generic", ["patient_number"]),
    ("Treuekarte", "storeCard", ["points", "level"]),
    ("Videosprechstunde", "eventTicket", ["appointment"]),
    ("Gutschein Folgerezept", "coupon", ["code", "discount"]),
)
_LEVELS = ("Bronze", "Silber", "Gold")


def make_visits(world: World, catalogue: Catalogue, doctors: list[Row], patients: list[Row]) -> list[Row]:
    """Make the visits of the last day, in the order of their coming; nobody waits twice in one shop.

    No doctor has a patient, as an import puts none on duty.
    """
    visits: list[Row] = []
    on_duty = [doctor for doctor in doctors if doctor["active"] and doctor["can_sign_prescriptions"]]
    for shop in catalogue.shops:
        present = world.random.sample(patients, min(len(patients), world.random.randint(8, 15)))
        for number in range(36):
            created = world.now - 22 * HOUR + number * 35 * MINUTE + world.random.randrange(20 * MINUTE)
            visit = _visit(world, shop, world.random.choice(patients), on_duty, created)
            visits.append(_ended(world, visit, on_duty, cancelled=world.chance(0.18)))
        for number, patient in enumerate(present):
            ago = int((len(present) - number) * 45 * MINUTE / len(present)) + world.random.randrange(60)
            visits.append(_visit(world, shop, patient, on_duty, world.now - ago))
    return sorted(visits, key=lambda visit: visit["created_at"])


def _visit(world: World, shop: Row, patient: Row, on_duty: list[Row], created: int) -> Row:
    return {
        "uid": world.uid("q", created),
        "shop_uid": shop["uid"],
        "patient_profile_uid": patient["uid"],
        "preferred_doctor_uid": world.random.choice(on_duty)["uid"] if world.chance(0.2) else None,
        "visit_reason": world.random.choice(_REASONS),
        "status": "waiting",
        "created_at": created,
    }


def _ended(world: World, visit: Row, on_duty: list[Row], *, cancelled: bool) -> Row:
    if cancelled:
        ended = visit["created_at"] + world.minutes(10, 0.4)
        return visit | {"status": "cancelled", "ended_at": ended, "updated_at": ended}
    allocated = visit["created_at"] + world.minutes(9, 0.3)
    ended = allocated + world.minutes(8, 0.3)
    return visit | {
        "status": "completed",
        "doctor_uid": visit["preferred_doctor_uid"] or world.random.choice(on_duty)["uid"],
        "video_room_id": f"room-{world.random.getrandbits(48):012x}",
        "allocated_at": allocated,
        "ended_at": ended,
        "updated_at": ended,
    }


def make_templates(world: World, catalogue: Catalogue) -> list[Row]:
    """Make one template of each type for each shop."""
    created = world.now - 500 * DAY
    return [
        {
            "uid": world.uid("wpt", created),
            "shop_uid": shop["uid"],
            "display_name": f"{name} {shop['display_name']}",
            "pass_type": pass_type,
            "fields": fields,
            "created_at": created,
        }
        for shop in catalogue.shops
        for name, pass_type, fields in _TEMPLATES
    ]


def make_passes(world: World, templates: list[Row], patients: list[Row]) -> list[Row]:
    """Make passes for a fifth of the patients. The first patient's are the demo's example: active."""
    passes = []
    for number, patient in enumerate(patients):
        if number and not world.chance(0.2):
            continue
        # The example's are of the first shop.
        chosen = templates[:2] if number == 0 else world.random.sample(templates, world.random.randint(1, 3))
        passes += [_pass(world, template, patient, number, example=number == 0) for template in chosen]
    return passes


def _pass(world: World, template: Row, patient: Row, number: int, *, example: bool) -> Row:
    created = world.random.randrange(patient["created_at"], world.now - HOUR)
    status = "active" if example else world.random.choices(("active", "revoked", "expired"), (78, 9, 13))[0]
    expires: int | None = world.now + world.random.randrange(20, 700) * DAY
    if status == "expired":
        expires = max(created + MINUTE, world.now - world.random.randrange(1, 60) * DAY)
    elif template["pass_type"] == "generic":  # noqa: S105 (no password)
        expires = None
    values: Row = {
        "patient_number": f"P{number + 1:06d}",
        "points": world.random.randrange(0, 2500, 10),
        "level": world.random.choice(_LEVELS),
        "appointment": "Montag, 18:30 Uhr",
        "code": f"REZEPT{world.random.randrange(1000, 10000)}",
        "discount": "5 €",
    }
    return {
        "uid": world.uid("wp", created),
        "wallet_pass_template_uid": template["uid"],
        "shop_customer_id": f"cust-{100_000 + number * 17}",
        "patient_profile_uid": patient["uid"],
        "status": status,
        "expires_at": expires,
        "display_name": patient["display_name"],
        "first_name": patient["first_name"],
        "last_name": patient["last_name"],
        "field_values": {name: values[name] for name in template["fields"]},
        "created_at": created,
    }
