"""The demo's files: the same for the same seed, believable, and accepted by the importer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.factories import Tenant

from rxdesk.demo.generator import generate, make_files
from rxdesk.demo.organisations import ORGANISATIONS
from rxdesk.demo.world import World
from rxdesk.importing.decoding import decode
from rxdesk.importing.files import find_files
from rxdesk.importing.formats import KINDS, PassType
from rxdesk.importing.load import import_files
from rxdesk.orders.schemas import OrderStatus
from rxdesk.prescriptions.schemas import PrescriptionStatus

AS_OF = datetime(2026, 3, 30, 17, 45, tzinfo=UTC)  # the clocks have changed the day before
ORDERS = 2500
Row = dict[str, Any]


def read(folder: Path) -> dict[str, list[Row]]:
    return {
        kind: [json.loads(line) for line in (folder / f"{kind}.ndjson").read_bytes().splitlines()]
        for kind in KINDS
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("demo")
    generate(made, seed=1, orders=ORDERS, as_of=AS_OF, organisation=1)
    return made


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[str, list[Row]]:
    return read(folder)


def test_the_same_bytes_in_another_process(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from datetime import datetime; from pathlib import Path; "
        "from rxdesk.demo.generator import generate; "
        f"generate(Path(sys.argv[1]), seed=1, orders={ORDERS}, "
        "as_of=datetime.fromisoformat(sys.argv[2]), organisation=1)"
    )
    elsewhere = AS_OF.astimezone(timezone(timedelta(hours=-7))).isoformat()
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C", "LANG": "C"}
    subprocess.run([sys.executable, "-c", code, tmp_path, elsewhere], check=True, env=environment, timeout=60)
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted([f"{kind}.ndjson" for kind in KINDS] + ["samples.json"])
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_another_seed_and_organisation_share_no_uid(folder: Path, tmp_path: Path) -> None:
    def uids(value: object) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(uids, value))
        if isinstance(value, dict):
            return {value["uid"]}.union(*map(uids, value.values())) if "uid" in value else set()
        return set()

    generate(tmp_path / "2", seed=1, orders=50, as_of=AS_OF, organisation=2)
    generate(tmp_path / "3", seed=2, orders=50, as_of=AS_OF, organisation=1)
    kept = uids(list(read(folder).values()))
    assert len(kept) > 9 * ORDERS
    for other in ("2", "3"):
        assert not kept & uids(list(read(tmp_path / other).values()))
    pzns = [
        {sku["pzn"] for product in read(made)["products"] for sku in product["skus"]}
        for made in (folder, tmp_path / "2")
    ]
    assert not pzns[0] & pzns[1]


def test_how_much_there_is(rows: dict[str, list[Row]]) -> None:
    counts = {kind: len(found) for kind, found in rows.items()}
    assert (counts["shops"], counts["pharmacies"], counts["doctors"], counts["products"]) == (2, 4, 12, 60)
    assert counts["orders"] == ORDERS
    assert all(2 <= len(product["skus"]) <= 4 for product in rows["products"])
    assert {template["pass_type"] for template in rows["wallet_templates"]} == set(get_args(PassType))
    assert {held["status"] for held in rows["wallet_passes"]} == {"active", "revoked", "expired"}
    emails = [person["email"] for kind in ("patients", "doctors", "orders") for person in rows[kind]]
    assert all(email.endswith(("@example.com", "@example.org")) for email in emails)
    for shop in rows["shops"]:
        present = Counter(
            visit["status"] for visit in rows["waiting_room"] if visit["shop_uid"] == shop["uid"]
        )
        assert 8 <= present["waiting"] <= 15
        assert "allocated" not in present  # nobody is on duty in a fresh demo
        assert present["completed"] > 5 < 5 + present["cancelled"]


def test_every_line_is_accepted(rows: dict[str, list[Row]]) -> None:
    for kind in KINDS:
        for row in rows[kind]:
            assert not isinstance(found := decode(kind, json.dumps(row).encode()), list), (kind, found)


def check_nothing_is_later(value: object, now: int) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name.endswith("_at") and name != "expires_at" and inner is not None:
                assert inner <= now, value
            check_nothing_is_later(inner, now)
    elif isinstance(value, list):
        for inner in value:
            check_nothing_is_later(inner, now)


def test_nothing_happens_after_the_present(rows: dict[str, list[Row]]) -> None:
    now = int(AS_OF.timestamp())
    check_nothing_is_later(list(rows.values()), now)
    oldest = min(order["created_at"] for order in rows["orders"])
    assert now - 92 * 86400 < oldest < now - 85 * 86400


def test_orders_states_make_sense_together(rows: dict[str, list[Row]]) -> None:
    statuses = Counter(order["status"] for order in rows["orders"])
    assert statuses["completed"] > ORDERS * 0.7
    check_states(rows["orders"])


def check_states(orders: list[Row]) -> None:
    allowed = {
        "init": set(),
        "started": set(),
        "waiting for payment": set(),
        "prescription not found": set(),
        "waiting for doctor": {"waiting_for_doctor", "on_hold", "approved"},
        "paused": {"on_hold"},
        "waiting for manual input": {"on_hold"},
        "waiting for clearance": {"on_hold"},
        "cancelled": {"cancelled"},
        "prescription declined": {"declined"},
        "prescription not signed": {"approved"},
    }
    signed = {"signed", "non_qes_signed", "externally_signed"}
    for order in orders:
        status, prescriptions = order["status"], order["prescriptions"]
        found = {one["status"] for one in prescriptions}
        assert found <= allowed.get(status, signed), order
        if status in {"completed", "waiting for pharmacy"}:
            assert len(prescriptions) == len(order["items"])
            assert len(order["pharmacy_orders"]) == len(order["fulfillment_orders"])
        if status == "completed":
            assert {one["status"] for one in order["pharmacy_orders"]} == {"completed"}
        elif status == "waiting for pharmacy":
            assert not {one["status"] for one in order["pharmacy_orders"]} & {"completed", "cancelled"}
        elif status == "out of stock":
            assert {one["status"] for one in order["pharmacy_orders"]} == {"cancelled"}
        else:
            assert order["pharmacy_orders"] == []
        for one in prescriptions:
            decided = one["status"] in signed | {"approved", "declined"}
            assert ("decided_at" in one) == decided
            assert one.get("rendered", False) == (one["status"] in signed)
            assert "doctor_uid" in one or one["status"] == "waiting_for_doctor"
        times = [one.get("updated_at", one["created_at"]) for one in prescriptions + order["pharmacy_orders"]]
        assert max([order["created_at"], *times]) <= order["updated_at"]


@pytest.mark.parametrize("organisation", [1, 2])
@pytest.mark.parametrize(
    ("seed", "moment"),
    [
        (1, "2026-11-26T06:10:00+01:00"),
        (1, "2026-11-26T20:30:00+01:00"),
        (7, "2026-03-29T03:01:00+02:00"),  # the clocks have changed a minute ago
        (8, "2026-08-02T00:00:00+02:00"),
        (9, "2027-01-01T04:59:59+01:00"),
    ],
)
def test_every_status_is_there_at_any_hour(organisation: int, seed: int, moment: str) -> None:
    number = next(key for key in ORGANISATIONS if key == organisation)
    as_of = datetime.fromisoformat(moment)
    files, samples = make_files(World(ORGANISATIONS[number], seed, as_of), 500)
    orders = files["orders"]
    statuses = Counter(order["status"] for order in orders)
    assert set(statuses) == set(get_args(OrderStatus))
    assert min(statuses.values()) >= 2, statuses
    assert statuses["completed"] > 300
    prescriptions = Counter(one["status"] for order in orders for one in order["prescriptions"])
    assert set(prescriptions) == set(get_args(PrescriptionStatus))
    assert samples["order_uid"] == orders[0]["uid"]
    assert [order["created_at"] for order in orders] == sorted(order["created_at"] for order in orders)
    now = int(as_of.timestamp())
    assert all(now - order["created_at"] < 300 for order in orders if order["status"] == "init")
    check_nothing_is_later(list(files.values()), now)
    check_states(orders)


def test_intents_are_valid_expired_and_missing(rows: dict[str, list[Row]]) -> None:
    year_ago = int(AS_OF.timestamp()) - 365 * 86400
    signed = [one["signed_at"] for patient in rows["patients"] for one in patient["submissions"]]
    assert any(moment is None for moment in signed)
    assert any(moment is not None and moment < year_ago for moment in signed)
    assert any(moment is not None and moment > year_ago for moment in signed)
    assert any(not patient["submissions"] for patient in rows["patients"])


@pytest.mark.parametrize(("orders", "organisation"), [(1, 1), (3, 2), (300, 2), (ORDERS, 1)])
def test_samples_are_what_they_promise(orders: int, organisation: int, tmp_path: Path) -> None:
    number = next(key for key in ORGANISATIONS if key == organisation)
    generate(tmp_path, seed=5, orders=orders, as_of=AS_OF, organisation=number)
    samples, rows = json.loads((tmp_path / "samples.json").read_text("utf-8")), read(tmp_path)

    def by_uid(kind: str, uid: str) -> Row:
        return next(row for row in rows[kind] if row["uid"] == uid)

    order = by_uid("orders", samples["order_uid"])
    assert (order["status"], order["patient_profile_uid"]) == ("completed", samples["patient_uid"])
    assert order["email"] == samples["patient_email"]
    prescription = next(one for one in order["prescriptions"] if one["uid"] == samples["prescription_uid"])
    assert (prescription["status"], prescription["doctor_uid"]) == ("signed", samples["doctor_uid"])
    assert prescription["fulfillment_order_uid"] in {one["uid"] for one in order["fulfillment_orders"]}
    doctors = by_uid("doctors", samples["doctor_uid"]), by_uid("doctors", samples["second_doctor_uid"])
    assert all(doctor["active"] for doctor in doctors)
    assert samples["second_doctor_uid"] != samples["doctor_uid"]
    owners = {row["uid"] for row in rows["patients"] if row["email"] == samples["patient_email"]}
    owners |= {
        row["patient_profile_uid"] for row in rows["orders"] if row["email"] == samples["patient_email"]
    }
    assert owners == {samples["patient_uid"]}
    now = int(AS_OF.timestamp())
    patient = by_uid("patients", samples["patient_uid"])
    assert any(
        one["intent"] == samples["intent"] and now - one["signed_at"] < 365 * 86400
        for one in patient["submissions"]
    )
    shop = by_uid("shops", samples["shop_uid"])
    assert shop["identifier"] == samples["shop_identifier"]
    held = by_uid("wallet_passes", samples["wallet_pass_uid"])
    assert (held["status"], held["shop_customer_id"]) == ("active", samples["shop_customer_id"])
    assert by_uid("wallet_templates", held["wallet_pass_template_uid"])["shop_uid"] == shop["uid"]
    assert held["expires_at"] is None or held["expires_at"] > now
    second = by_uid("patients", samples["second_patient_uid"])
    assert second["uid"] != samples["patient_uid"]
    waiting = {row["patient_profile_uid"] for row in rows["waiting_room"] if row["status"] == "waiting"}
    assert second["uid"] not in waiting
    visit = by_uid("waiting_room", samples["queue_uid"])
    assert (visit["status"], visit["shop_uid"]) == ("waiting", shop["uid"])


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one order"):
        generate(tmp_path, seed=1, orders=0, as_of=AS_OF, organisation=1)
    with pytest.raises(ValueError, match="no time zone"):
        generate(tmp_path, seed=1, orders=1, as_of=AS_OF.replace(tzinfo=None), organisation=1)


async def test_it_is_imported(folder: Path, tenant: Tenant) -> None:
    await tenant.enter()
    report = await import_files(tenant.connection, tenant.id, find_files([folder]), now=AS_OF)
    assert report.ok, report.files
    counted = await tenant.rows(
        "SELECT sum(waiting_for_doctor + approved + signed + declined + cancelled + on_hold + non_qes_signed "
        "+ externally_signed)::int AS total FROM doctor_statistics "
        "WHERE organisation_id = $1 AND span = 'all'"
    )
    assigned = await tenant.rows(
        "SELECT count(*)::int AS total FROM prescriptions "
        "WHERE organisation_id = $1 AND doctor_uid IS NOT NULL"
    )
    assert counted == assigned
