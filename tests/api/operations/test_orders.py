"""POST /orders and the steps of an order: references, refusals, the pharmacy that gets it, what an import left."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.operations.conftest import Desk
from tests.factories import LONG_AGO, Tenant

GIVEN = {
    "shop_uid": "shops",
    "patient_profile_uid": "patients",
    "pharmacy_uid": "pharmacies",
    "delivery_type_uid": "delivery_types",
}


@pytest.mark.parametrize("field", [*GIVEN, "items"])
async def test_a_reference_that_is_not_ours(desk: Desk, other: Tenant, field: str) -> None:
    async def uid_of(tenant: Tenant, **more: Any) -> str:
        if field != "items":
            return await tenant.insert(GIVEN[field], **more)
        return await tenant.insert("skus", product_uid=await tenant.insert("products"), **more)

    for uid in ("none", await uid_of(other), await uid_of(desk.tenant, deleted_at=LONG_AGO)):
        value = [{"sku_uid": uid, "quantity": 1}] if field == "items" else uid
        answer = await desk.post("/orders", desk.body(**{field: value}))
        assert answer.status_code == 404
        assert answer.json() == {"error": "Resource not found", "field": field}
    assert await desk.tenant.rows("SELECT 1 FROM orders WHERE organisation_id = $1") == []
    assert await desk.tenant.rows("SELECT 1 FROM events WHERE organisation_id = $1") == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"items": []}, "items"),
        ({"items": [{"sku_uid": "s", "quantity": 0}]}, "items"),
        ({"prescriptions": 21}, "prescriptions"),
        ({"prescriptions": -1}, "prescriptions"),
        ({"delivery_address": {"town": "x"}}, "delivery_address"),
        ({"name": ""}, "name"),
        ({"email": "x"}, "email"),
    ],
)
async def test_input_that_is_refused(desk: Desk, changes: dict[str, Any], field: str) -> None:
    answer = await desk.post("/orders", desk.body(**changes))
    assert answer.status_code == 400
    assert [fault["field"] for fault in answer.json()["details"]] == [field]


async def test_once_for_an_idempotency_key(desk: Desk) -> None:
    body = desk.body(prescriptions=1)
    first = await desk.post("/orders", body, **{"Idempotency-Key": "1"})
    again = await desk.post("/orders", body, **{"Idempotency-Key": "1"})
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert len(await desk.tenant.rows("SELECT 1 FROM orders WHERE organisation_id = $1")) == 1
    uid = first.json()["uid"]
    for _ in range(2):
        moved = await desk.post(f"/orders/{uid}/status", {"status": "started"}, **{"Idempotency-Key": "2"})
        assert moved.status_code == 200
    assert len(await desk.history(uid)) == 2


async def test_a_step_that_is_not_allowed_names_those_that_are(desk: Desk) -> None:
    made = await desk.order(0)
    told = await desk.refused(f"/orders/{made['uid']}/status", {"status": "completed"})
    assert told == {
        "error": "An order that is init cannot become completed now",
        "allowed": [
            "started",
            "waiting for doctor",
            "paused",
            "waiting for manual input",
            "waiting for clearance",
            "waiting for payment",
            "cancelled",
        ],
    }
    answer = await desk.post(f"/orders/{made['uid']}/status", {"status": "waiting"})
    assert answer.status_code == 400
    assert "must be one of" in answer.json()["details"][0]["message"]
    assert len(await desk.history(made["uid"])) == 1


async def test_held_until_it_is_moved_on(desk: Desk) -> None:
    """A held order does not run on to a pharmacy; moved on, it goes where its prescriptions send it."""
    await desk.offer()
    made = await desk.order(1)
    uid, [prescription] = made["uid"], made["prescription_uids"]
    await desk.done(f"/orders/{uid}/status", {"status": "waiting for payment", "reason": "card refused"})
    await desk.done(f"/prescriptions/{prescription}/approve")
    await desk.done(f"/prescriptions/{prescription}/sign")
    assert await desk.status("orders", uid) == "waiting for payment"
    assert await desk.pharmacy_orders(uid) == []
    state = await desk.done(f"/orders/{uid}/status", {"status": "started"})
    assert state["status"] == "waiting for pharmacy"
    assert len(await desk.pharmacy_orders(uid)) == 1
    assert (await desk.history(uid))[-1] == ("status", "waiting for payment", "waiting for pharmacy")


async def ready(desk: Desk, **changes: Any) -> str:
    """An order without prescriptions, sent to a pharmacy; its uid."""
    made = await desk.order(0, **changes)
    await desk.done(f"/orders/{made['uid']}/status", {"status": "started"})
    await desk.done(f"/orders/{made['uid']}/status", {"status": "waiting for pharmacy"})
    return str(made["uid"])


async def test_the_cheapest_pharmacy_that_has_all(desk: Desk) -> None:
    second = await desk.tenant.insert("skus", product_uid=desk.uids["product"])
    items = [{"sku_uid": desk.uids["sku"], "quantity": 2}, {"sku_uid": second, "quantity": 1}]

    async def offers(
        price: int, other_price: int | None, *, stock: int | None = 2, other_stock: int = 1
    ) -> str:
        pharmacy = await desk.offer(price=price, stock=stock)
        await desk.tenant.insert(
            "pharmacy_skus", sku_uid=second, pharmacy_uid=pharmacy, price=other_price, stock=other_stock
        )
        return pharmacy

    await desk.offer(price=1)  # not the second SKU
    await offers(1, 1, stock=1)  # too little of the first
    await offers(1, None)  # no price
    await offers(1, 1, stock=None)  # no word of its stock
    await offers(100, 900)  # 1,100
    cheapest = await offers(500, 99)  # 1,099
    await offers(500, 99)  # the same, with a higher uid
    [placed] = await desk.pharmacy_orders(await ready(desk, items=items))
    assert placed["pharmacy_uid"] == cheapest


async def test_one_sku_twice_is_wanted_together(desk: Desk) -> None:
    await desk.offer(price=1, stock=2)
    enough = await desk.offer(price=9, stock=3)
    items = [{"sku_uid": desk.uids["sku"], "quantity": quantity} for quantity in (1, 2)]
    [placed] = await desk.pharmacy_orders(await ready(desk, items=items))
    assert placed["pharmacy_uid"] == enough


async def test_the_pharmacy_that_was_named(desk: Desk) -> None:
    await desk.offer(price=1)
    named = await desk.tenant.insert("pharmacies")
    [placed] = await desk.pharmacy_orders(await ready(desk, pharmacy_uid=named))
    assert placed["pharmacy_uid"] == named


async def test_no_pharmacy(desk: Desk) -> None:
    uid = await ready(desk)
    assert await desk.status("orders", uid) == "pharmacy not found"
    assert (await desk.history(uid))[-1] == ("status", "started", "pharmacy not found")
    # Looked for again, in vain, and then found.
    state = await desk.done(f"/orders/{uid}/status", {"status": "waiting for pharmacy"})
    assert state["status"] == "pharmacy not found"
    assert len(await desk.history(uid)) == 3
    await desk.offer()
    state = await desk.done(f"/orders/{uid}/status", {"status": "waiting for pharmacy"})
    assert state["status"] == "waiting for pharmacy"


async def test_an_imported_order_without_pharmacy_order_is_completed_by_hand(desk: Desk) -> None:
    uid = await desk.tenant.insert("orders", status="waiting for pharmacy")
    state = await desk.done(f"/orders/{uid}/status", {"status": "completed"})
    assert state["status"] == "completed"
    assert (await desk.refused(f"/orders/{uid}/cancel"))["allowed"] == []


async def test_the_history_route(desk: Desk) -> None:
    made = await desk.order(0)
    await desk.done(f"/orders/{made['uid']}/status", {"status": "paused", "reason": "by phone"})
    answer = await desk.client.get(f"/orders/{made['uid']}/history", headers=desk.headers)
    page = answer.json()
    assert (answer.status_code, page["totalRegistries"], page["totalPages"]) == (200, 2, 1)
    [key] = await desk.tenant.rows("SELECT uid FROM api_keys WHERE organisation_id = $1")
    created, paused = page["data"]
    assert paused == {
        "uid": paused["uid"],
        "what": "status",
        "old": "init",
        "new": "paused",
        "reason": "by phone",
        "at": paused["at"],
        "actor": {"kind": "key", "uid": key["uid"]},
    }
    assert paused["uid"].startswith("chg-")
    assert (created["what"], created["old"], created["new"], created["reason"]) == (
        "created",
        None,
        "init",
        None,
    )
    assert made["created_at"] == created["at"] <= paused["at"]
    path = f"/orders/{made['uid']}/history?limit=1&page=1"
    second = (await desk.client.get(path, headers=desk.headers)).json()
    assert second == {"data": [paused], "totalRegistries": 2, "totalPages": 2}
    # An order's history is its own; what an import brought has none.
    imported = await desk.tenant.insert("orders")
    answer = await desk.client.get(f"/orders/{imported}/history", headers=desk.headers)
    assert answer.json() == {"data": [], "totalRegistries": 0, "totalPages": 0}
