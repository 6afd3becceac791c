"""`--emit-events`: what an import tells of, as rows and bytes, in its own transaction."""

from __future__ import annotations

import copy
import json
import re
import secrets
from datetime import timedelta
from typing import Any

import pytest
from tests.factories import LONG_AGO, Tenant
from tests.importing.conftest import NOW, Import
from tests.importing.rows import (
    DELIVERY_TYPE,
    DOCTOR,
    ORDER,
    PATIENT,
    PHARMACY,
    PRODUCT,
    SHOP,
    VISIT,
    Row,
)

from rxdesk.access import Transaction, run_command
from rxdesk.importing import telling
from rxdesk.kit.clock import unix
from rxdesk.kit.sealing import Sealer, new_keys, read_keys
from rxdesk.kit.signing import delivery_headers, new_signing_secret
from rxdesk.kit.verification import diagnose
from rxdesk.pharmacies.events import tell_order, tell_stock

ALL: dict[str, list[Row]] = {
    "shops": [SHOP],
    "pharmacies": [PHARMACY],
    "doctors": [DOCTOR],
    "delivery_types": [DELIVERY_TYPE],
    "products": [PRODUCT],
    "patients": [PATIENT],
    "orders": [ORDER],
    "waiting_room": [VISIT],
}


async def events(tenant: Tenant) -> list[dict[str, Any]]:
    rows = await tenant.rows(
        "SELECT uid, position, event_type, subject_uid, pharmacy_uid, occurred_at, body, cut_body, "
        "actor_kind, actor_uid FROM events WHERE organisation_id = $1 ORDER BY position"
    )
    return [{**row, "data": json.loads(row["body"])["data"]} for row in rows]


def told(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["event_type"], row["subject_uid"]) for row in rows]


EVERY = [
    ("pharmacy_sku_stock_updated", "psku-1"),
    ("order_created", "ord-1"),
    ("prescription_created", "px-1"),
    ("prescription_created", "px-2"),
    ("pharmacy_order_created", "po-1"),
    ("waiting_room_updated", "q-1"),
]


async def test_nothing_is_told_unless_it_is_asked_for(tenant: Tenant, importing: Import) -> None:
    report = await importing(**ALL)
    assert report.ok
    assert (report.events, await events(tenant)) == (0, [])


@pytest.mark.parametrize("chunk", [2, 25_000])
async def test_what_is_new_is_told(
    tenant: Tenant, importing: Import, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(telling, "_CHUNK", chunk)
    report = await importing(**ALL, emit_events=True)
    rows = await events(tenant)
    assert report.events == len(EVERY)
    assert told(rows) == EVERY
    assert [row["position"] for row in rows] == [1, 2, 3, 4, 5, 6]
    for row in rows:
        assert re.fullmatch(r"evt-[0-9A-HJKMNP-TV-Z]{26}", row["uid"])
        assert (row["actor_kind"], row["actor_uid"], row["occurred_at"]) == ("operator", "import", NOW)
        body = json.loads(row["body"])
        assert list(body) == ["event_type", "timestamp", "payload_version", "data"]
        assert (body["event_type"], body["timestamp"], body["payload_version"]) == (
            row["event_type"],
            unix(NOW),
            "1",
        )
    assert len({row["uid"] for row in rows}) == len(rows)
    thin = {"uid": "ord-1", "status": "completed", "created_at": 1_780_000_000, "updated_at": 1_780_000_700}
    assert rows[1]["data"] == thin
    assert rows[1]["cut_body"] is None


async def test_it_is_told_when_it_is_stored_and_not_when_the_import_began(
    tenant: Tenant, importing: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "_CHUNK", 4)
    later = [NOW + timedelta(minutes=5), NOW + timedelta(minutes=6)]
    await importing(**ALL, emit_events=iter(later).__next__)
    rows = await events(tenant)
    assert [row["occurred_at"] for row in rows] == [later[0]] * 4 + [later[1]] * 2
    assert [json.loads(row["body"])["timestamp"] for row in rows] == [
        unix(row["occurred_at"]) for row in rows
    ]
    uids = [row["uid"] for row in rows]
    assert uids[0][:14] == uids[3][:14] < uids[4][:14] == uids[5][:14]


async def test_the_bodies_are_those_of_a_command(tenant: Tenant, importing: Import) -> None:
    await importing(**ALL, emit_events=True)
    by_import = {row["event_type"]: row for row in await events(tenant)}
    tx = Transaction(tenant.connection, tenant.id, "key", "key-1", NOW, Sealer(read_keys(new_keys())))

    async def tell(tx: Transaction) -> None:
        await tell_order(tx, "po-1", "pharmacy_order_created")
        await tell_stock(tx, {"psku-1": None})

    async with tenant.connection.transaction():
        await run_command(tx, tell)
    by_command = (await events(tenant))[len(EVERY) :]
    assert len(by_command) == 2
    for row in by_command:
        same = by_import[row["event_type"]]
        assert same["data"] == row["data"]
        assert same["pharmacy_uid"] == row["pharmacy_uid"] == "ph-1"
        assert json.loads(same["cut_body"]) == json.loads(row["cut_body"])


async def test_only_what_changed_is_told_again(tenant: Tenant, importing: Import) -> None:
    await importing(**ALL)
    assert (await importing(**ALL, emit_events=True)).events == 0
    order, product = copy.deepcopy(ORDER), copy.deepcopy(PRODUCT)
    order["prescriptions"][1]["status"] = "declined"
    order["pharmacy_orders"] = []
    product["skus"][0]["pharmacy_skus"][0] |= {"stock": 3, "price": 1}
    visit = VISIT | {"status": "cancelled"}
    changed = {"orders": [order], "products": [product], "waiting_room": [visit]}
    report = await importing(**changed, emit_events=True)
    rows = await events(tenant)
    assert told(rows) == [
        ("pharmacy_sku_stock_updated", "psku-1"),
        ("pharmacy_order_updated", "po-1"),
        ("prescription_updated", "px-2"),
        ("waiting_room_updated", "q-1"),
    ]
    assert report.events == 4
    assert (rows[0]["data"]["previous_stock"], rows[0]["data"]["stock"]) == (5, 3)
    assert rows[1]["data"]["deleted_at"] == unix(NOW)
    assert rows[2]["data"]["status"] == "declined"
    product["skus"][0]["pharmacy_skus"][0]["price"] = 2  # not its stock
    assert (await importing(products=[product], emit_events=True)).events == 0


async def test_each_goes_to_who_subscribed(tenant: Tenant, importing: Import) -> None:
    await tenant.enter()
    for number, kind in enumerate(("order_created", "pharmacy_order_created", "order_updated")):
        await tenant.connection.execute(
            "INSERT INTO notification_subscriptions (organisation_id, uid, notification_type, target, target_key, "
            "payload_version, sealed_signing_secret, full_data, created_at, actor_kind, actor_uid) "
            "VALUES ($1, $2, $3, 'https://a.example/', 'https://a.example/', '1', 'x', true, $4, 'key', 'key-1')",
            tenant.id,
            f"ns-{number}",
            kind,
            LONG_AGO,
        )
    await importing(**ALL, emit_events=True)
    deliveries = await tenant.rows(
        "SELECT d.uid, d.subscription_uid, e.event_type FROM deliveries d JOIN events e "
        "ON e.organisation_id = $1 AND e.uid = d.event_uid WHERE d.organisation_id = $1 ORDER BY e.position"
    )
    assert [(row["subscription_uid"], row["event_type"]) for row in deliveries] == [
        ("ns-0", "order_created"),
        ("ns-1", "pharmacy_order_created"),
    ]
    jobs = await tenant.rows("SELECT uid FROM jobs WHERE organisation_id = $1")
    assert {row["uid"] for row in jobs} == {row["uid"] for row in deliveries}


async def test_a_refused_import_tells_nothing(tenant: Tenant, importing: Import) -> None:
    rows = ALL | {"orders": [ORDER, {"uid": "ord-2"}]}
    report = await importing(**rows, emit_events=True)
    assert not report.ok
    assert (report.events, await events(tenant)) == (0, [])


async def test_verification_knows_how_the_bodies_are_written(tenant: Tenant, importing: Import) -> None:
    """Each body, whole and cut: with the wrong secret, written again, and as it is."""
    text = 'J\u00fcrgen "\u20ac" / \\ \t \x7f'
    order = copy.deepcopy(ORDER)
    order["delivery_address"] = {"city": text, "street": "x", "first_name": None}
    order["invoice_address"] = {}
    order["pharmacy_orders"][0]["data"] = {"a": {"b": [1, {"c": None}, text]}, "d": []}
    assert (await importing(**{**ALL, "orders": [order]}, emit_events=True)).ok
    secret, other = (new_signing_secret(secrets.token_bytes) for _ in range(2))
    bodies = [row[name] for row in await events(tenant) for name in ("body", "cut_body") if row[name]]
    assert any(
        text in json.loads(body)["data"].get("order", {}).get("delivery_address", {}).values()
        for body in bodies
    )
    for body in bodies:
        headers = delivery_headers(
            event_type="order_updated", secret=secret, message_id="evt-1", timestamp=unix(NOW), body=body
        )
        given = list(headers.items())
        assert all(one.well for one in diagnose(secret, given, body, unix(NOW)))
        *_, cause = diagnose(other, given, body, unix(NOW))
        assert "looks as it was sent, so the secret is another one" in cause.message, body
        for written in (json.dumps(json.loads(body)), json.dumps(json.loads(body), separators=(",", ":"))):
            *_, cause = diagnose(secret, given, written.encode(), unix(NOW))
            assert "re-serialised" in cause.message, body
