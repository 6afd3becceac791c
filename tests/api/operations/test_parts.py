"""An order with several fulfillment orders: a pharmacy order for each, and completed when all of them are."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.api.operations.conftest import Desk

from rxdesk.routes import PHARMACY


async def two_parts(desk: Desk, *, prescriptions: int = 0) -> tuple[str, str, list[str], list[str]]:
    """An order of two SKUs whose second one is in a part of its own; gives it, that SKU, parts, prescriptions."""
    second = await desk.tenant.insert("skus", product_uid=desk.uids["product"])
    items = [{"sku_uid": sku, "quantity": 1} for sku in (desk.uids["sku"], second)]
    made = await desk.order(prescriptions, items=items)
    uid = made["uid"]
    [first] = await desk.tenant.rows(
        "SELECT uid FROM fulfillment_orders WHERE organisation_id = $1 AND order_uid = $2", uid
    )
    part = await desk.tenant.insert("fulfillment_orders", order_uid=uid, position=1)
    [moved] = await desk.tenant.rows(
        "SELECT fi.uid FROM fulfillment_order_items fi JOIN order_items i ON i.organisation_id = $1 "
        "AND i.uid = fi.order_item_uid WHERE fi.organisation_id = $1 AND i.sku_uid = $2",
        second,
    )
    await desk.tenant.update("fulfillment_order_items", moved["uid"], fulfillment_order_uid=part)
    return uid, second, [first["uid"], part], made["prescription_uids"]


async def placed(desk: Desk, order_uid: str) -> list[tuple[str, str, str]]:
    """Part, pharmacy and status of each pharmacy order."""
    rows = await desk.tenant.rows(
        "SELECT fulfillment_order_uid, pharmacy_uid, status FROM pharmacy_orders "
        "WHERE organisation_id = $1 AND order_uid = $2 ORDER BY position",
        order_uid,
    )
    return [(row["fulfillment_order_uid"], row["pharmacy_uid"], row["status"]) for row in rows]


async def at_pharmacy(desk: Desk, pharmacy: str, status: str) -> dict[str, Any]:
    """Bring the newest order of a pharmacy to an end with the pharmacy's own key; give it as it was before."""
    headers = await desk.tenant.pharmacy_headers(pharmacy)
    base = str(desk.client.base_url).rstrip("/").removesuffix("/v1/operations") + PHARMACY.base
    async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=15) as client:
        page = (await client.get(f"{base}/pharmacy_orders/")).json()
        order: dict[str, Any] = page["data"][0]
        path = f"{base}/pharmacy_orders/{order['uid']}"
        worked_on = ["waiting for pharmacy", "pending review", "in-progress"]
        for step in ["cancelled"] if status == "cancelled" else worked_on:
            answer = await client.patch(f"{path}/status", json={"status": step})
            assert answer.status_code == 200, answer.text
        if status == "completed":
            answer = await client.patch(f"{path}/complete_order")
            assert answer.status_code == 200, answer.text
    return order


async def test_each_part_goes_to_a_pharmacy_and_all_must_be_completed(desk: Desk) -> None:
    uid, second, parts, [prescription] = await two_parts(desk, prescriptions=1)
    pharmacies = [await desk.offer(), await desk.offer(sku=second)]
    await desk.done(f"/prescriptions/{prescription}/approve")
    await desk.done(f"/prescriptions/{prescription}/sign")
    assert await desk.status("orders", uid) == "waiting for pharmacy"
    assert await placed(desk, uid) == [
        (part, pharmacy, "init") for part, pharmacy in zip(parts, pharmacies, strict=True)
    ]
    order = await at_pharmacy(desk, pharmacies[0], "completed")
    assert [item["sku"]["uid"] for item in order["order_items"]] == [desk.uids["sku"]]
    assert await desk.status("orders", uid) == "waiting for pharmacy"
    assert len(await placed(desk, uid)) == 2
    order = await at_pharmacy(desk, pharmacies[1], "completed")
    assert [item["sku"]["uid"] for item in order["order_items"]] == [second]
    assert await desk.status("orders", uid) == "completed"


@pytest.mark.parametrize("first_ends", ["completed", "in-progress"])
async def test_a_part_that_is_cancelled_goes_to_another_pharmacy(desk: Desk, first_ends: str) -> None:
    uid, second, parts, _ = await two_parts(desk)
    one, two = await desk.offer(), await desk.offer(sku=second)
    await desk.done(f"/orders/{uid}/status", {"status": "started"})
    await desk.done(f"/orders/{uid}/status", {"status": "waiting for pharmacy"})
    await at_pharmacy(desk, one, first_ends)
    three = await desk.offer(sku=second)
    await at_pharmacy(desk, two, "cancelled")
    assert await desk.status("orders", uid) == "waiting for pharmacy"
    assert await placed(desk, uid) == [
        (parts[0], one, first_ends),
        (parts[1], two, "cancelled"),
        (parts[1], three, "init"),
    ]
    await at_pharmacy(desk, three, "cancelled")
    assert await desk.status("orders", uid) == "pharmacy not found"
    four = await desk.offer(sku=second)
    state = await desk.done(f"/orders/{uid}/status", {"status": "waiting for pharmacy"})
    assert state["status"] == "waiting for pharmacy"
    assert (await placed(desk, uid))[-1] == (parts[1], four, "init")


async def test_a_part_without_a_pharmacy_does_not_hold_up_the_other(desk: Desk) -> None:
    uid, second, parts, _ = await two_parts(desk)
    one = await desk.offer()
    await desk.done(f"/orders/{uid}/status", {"status": "started"})
    state = await desk.done(f"/orders/{uid}/status", {"status": "waiting for pharmacy"})
    assert state["status"] == "pharmacy not found"
    assert await placed(desk, uid) == [(parts[0], one, "init")]
    await at_pharmacy(desk, one, "completed")
    assert await desk.status("orders", uid) == "pharmacy not found"
    two = await desk.offer(sku=second)
    state = await desk.done(f"/orders/{uid}/status", {"status": "waiting for pharmacy"})
    assert state["status"] == "waiting for pharmacy"
    await at_pharmacy(desk, two, "completed")
    assert await desk.status("orders", uid) == "completed"


async def test_a_part_without_items_wants_no_pharmacy(desk: Desk) -> None:
    one = await desk.offer()
    made = await desk.order(0)
    await desk.tenant.insert("fulfillment_orders", order_uid=made["uid"], position=1)
    await desk.done(f"/orders/{made['uid']}/status", {"status": "started"})
    await desk.done(f"/orders/{made['uid']}/status", {"status": "waiting for pharmacy"})
    assert len(await placed(desk, made["uid"])) == 1
    await at_pharmacy(desk, one, "completed")
    assert await desk.status("orders", made["uid"]) == "completed"


async def test_a_pharmacy_order_for_all_items_counts_for_each_part(desk: Desk) -> None:
    """As an import may bring it."""
    uid, *_ = await two_parts(desk)
    pharmacy = await desk.tenant.insert("pharmacies")
    await desk.tenant.update("orders", uid, status="waiting for pharmacy")
    await desk.tenant.insert("pharmacy_orders", order_uid=uid, pharmacy_uid=pharmacy)
    order = await at_pharmacy(desk, pharmacy, "completed")
    assert len(order["order_items"]) == 2
    assert await desk.status("orders", uid) == "completed"


async def same_pack_in_two_parts(desk: Desk, quantity: int = 1) -> tuple[str, list[str]]:
    """An order with a SKU in two parts, on its way to the pharmacy; gives it and its parts."""
    items = [{"sku_uid": desk.uids["sku"], "quantity": quantity}] * 2
    uid = (await desk.order(0, items=items))["uid"]
    part = await desk.tenant.insert("fulfillment_orders", order_uid=uid, position=1)
    moved = await desk.tenant.rows(
        "SELECT uid, fulfillment_order_uid FROM fulfillment_order_items "
        "WHERE organisation_id = $1 AND order_uid = $2 ORDER BY position DESC",
        uid,
    )
    await desk.tenant.update("fulfillment_order_items", moved[0]["uid"], fulfillment_order_uid=part)
    await desk.done(f"/orders/{uid}/status", {"status": "started"})
    await desk.done(f"/orders/{uid}/status", {"status": "waiting for pharmacy"})
    return uid, [moved[0]["fulfillment_order_uid"], part]


async def test_parts_do_not_count_on_the_same_packs(desk: Desk) -> None:
    cheap, dear = await desk.offer(stock=1, price=100), await desk.offer(stock=9, price=200)
    uid, parts = await same_pack_in_two_parts(desk)
    assert await placed(desk, uid) == [(parts[0], cheap, "init"), (parts[1], dear, "init")]
    await at_pharmacy(desk, cheap, "completed")
    await at_pharmacy(desk, dear, "completed")
    assert await desk.status("orders", uid) == "completed"
    # Nobody has it for a second part; and one that has it for both gets both.
    await desk.tenant.connection.execute(
        "UPDATE pharmacy_skus SET stock = 1 WHERE organisation_id = $1 AND pharmacy_uid = $2",
        desk.tenant.id,
        dear,
    )
    uid, parts = await same_pack_in_two_parts(desk)
    assert await placed(desk, uid) == [(parts[0], dear, "init")]
    assert await desk.status("orders", uid) == "pharmacy not found"
    both = await desk.offer(stock=2, price=50)
    uid, parts = await same_pack_in_two_parts(desk)
    assert await placed(desk, uid) == [(parts[0], both, "init"), (parts[1], both, "init")]


async def test_what_a_pharmacy_offers_twice_is_counted_together(desk: Desk) -> None:
    """In stock and in price, as its completion takes it: from the first offer, then from the next."""
    split, whole = await desk.offer(stock=2, price=100), await desk.offer(stock=4, price=250)
    await desk.tenant.insert(
        "pharmacy_skus", sku_uid=desk.uids["sku"], pharmacy_uid=split, stock=2, price=300, position=1
    )
    # For the first part 2 x 100 are cheaper; for the second there are 2 x 300 left.
    uid, parts = await same_pack_in_two_parts(desk, 2)
    assert await placed(desk, uid) == [(parts[0], split, "init"), (parts[1], whole, "init")]
    # All four at once: 2 x 100 + 2 x 300 are cheaper than 4 x 250.
    await desk.tenant.connection.execute(
        "UPDATE pharmacy_skus SET stock = 4 WHERE organisation_id = $1 AND pharmacy_uid = $2",
        desk.tenant.id,
        whole,
    )
    made = await desk.order(0, items=[{"sku_uid": desk.uids["sku"], "quantity": 4}])
    for status in ("started", "waiting for pharmacy"):
        await desk.done(f"/orders/{made['uid']}/status", {"status": status})
    [(_, pharmacy, _)] = await placed(desk, made["uid"])
    assert pharmacy == split
    await at_pharmacy(desk, split, "completed")
    left = await desk.tenant.rows(
        "SELECT stock FROM pharmacy_skus WHERE organisation_id = $1 AND pharmacy_uid = $2", split
    )
    assert [row["stock"] for row in left] == [0, 0]
