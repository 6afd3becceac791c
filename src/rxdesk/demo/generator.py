"""The demo's data: a seeded, believable German telemedicine provider, as files for `rxdesk import`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from rxdesk.demo.catalogue import make_catalogue
from rxdesk.demo.orders import make_orders
from rxdesk.demo.organisations import ORGANISATIONS, Number
from rxdesk.demo.people import make_doctors, make_patients
from rxdesk.demo.visits import make_passes, make_templates, make_visits
from rxdesk.demo.world import Row, World
from rxdesk.importing.formats import Kind

SAMPLES = "samples.json"
_FEWEST_PATIENTS = 60


def generate(directory: Path, *, seed: int, orders: int, as_of: datetime, organisation: Number) -> None:
    """Write the files of one organisation (1 or 2), and beside them `samples.json`: uids to try routes with.

    `as_of` is the moment at which the demo stands still, with a time zone. The same arguments give the same
    bytes. Raises ValueError for fewer than one order and for a moment without a time zone.
    """
    if orders < 1:
        raise ValueError("a demo has at least one order")
    if as_of.tzinfo is None:
        raise ValueError("as_of has no time zone")
    files, samples = make_files(World(ORGANISATIONS[organisation], seed, as_of), orders)
    directory.mkdir(parents=True, exist_ok=True)
    encoder = msgspec.json.Encoder()
    for kind, rows in files.items():
        (directory / f"{kind}.ndjson").write_bytes(encoder.encode_lines(rows))
    text = msgspec.json.format(encoder.encode(samples), indent=2)
    (directory / SAMPLES).write_bytes(text + b"\n")


def make_files(world: World, orders: int) -> tuple[dict[Kind, list[Row]], dict[str, str]]:
    """Make the rows of all files, and the samples."""
    catalogue = make_catalogue(world)
    doctors = make_doctors(world)
    patients = make_patients(world, max(_FEWEST_PATIENTS, orders * 11 // 20))
    made_orders = make_orders(world, orders, catalogue, doctors, patients)
    visits = make_visits(world, catalogue, doctors, patients)
    templates = make_templates(world, catalogue)
    passes = make_passes(world, templates, patients)
    files: dict[Kind, list[Row]] = {
        "shops": catalogue.shops,
        "pharmacies": catalogue.pharmacies,
        "doctors": doctors,
        "delivery_types": catalogue.delivery_types,
        "products": catalogue.products,
        "patients": patients,
        "orders": made_orders,
        "waiting_room": visits,
        "wallet_templates": templates,
        "wallet_passes": passes,
    }
    return files, _samples(files)


def _samples(files: dict[Kind, list[Row]]) -> dict[str, str]:
    """Name the demo's examples: the first order, the first patient and what is theirs; and who may wait beside them."""
    shop, order, patient = files["shops"][0], files["orders"][0], files["patients"][0]
    prescription = order["prescriptions"][0]
    queued = next(
        visit
        for visit in files["waiting_room"]
        if visit["status"] == "waiting" and visit["shop_uid"] == shop["uid"]
    )
    waiting = {
        visit["patient_profile_uid"] for visit in files["waiting_room"] if visit["status"] == "waiting"
    }
    second_patient = next(one for one in files["patients"][1:] if one["uid"] not in waiting)
    second_doctor = next(
        one for one in files["doctors"] if one["active"] and one["uid"] != prescription["doctor_uid"]
    )
    held = files["wallet_passes"][0]
    return {
        "order_uid": order["uid"],
        "prescription_uid": prescription["uid"],
        "patient_uid": patient["uid"],
        "patient_email": patient["email"],
        "second_patient_uid": second_patient["uid"],
        "doctor_uid": prescription["doctor_uid"],
        "second_doctor_uid": second_doctor["uid"],
        "shop_uid": shop["uid"],
        "shop_identifier": shop["identifier"],
        "shop_customer_id": held["shop_customer_id"],
        "queue_uid": queued["uid"],
        "wallet_pass_uid": held["uid"],
        "intent": patient["submissions"][0]["intent"],
    }
