"""An order's way through the Operations API: made, decided, signed, placed, ended; told and noted at each step."""

from __future__ import annotations

import json

import httpx
from tests.api.operations.conftest import Desk


async def test_from_making_to_the_pharmacy(desk: Desk, client: httpx.AsyncClient) -> None:
    pharmacy = await desk.offer()
    made = await desk.order(name="#1001", external_id="EXT-1", delivery_type_uid=desk.uids["delivery"])
    uid, [prescription] = made["uid"], made["prescription_uids"]
    assert made["status"] == "init"
    assert (await desk.done(f"/orders/{uid}/status", {"status": "started"}))["status"] == "started"
    assert (await desk.done(f"/orders/{uid}/status", {"status": "waiting for doctor"}))["uid"] == uid
    state = await desk.done(f"/prescriptions/{prescription}/approve")
    assert state["status"] == "approved"
    assert set(state) == {"uid", "status", "created_at", "updated_at"}
    assert await desk.status("orders", uid) == "waiting for doctor"
    assert (await desk.done(f"/prescriptions/{prescription}/sign"))["status"] == "signed"
    assert await desk.status("orders", uid) == "waiting for pharmacy"
    [placed] = await desk.pharmacy_orders(uid)
    assert placed == {
        "uid": placed["uid"],
        "pharmacy_uid": pharmacy,
        "status": "init",
        "delivery_type_uid": desk.uids["delivery"],
        "name": "#1001",
    }

    assert await desk.history(uid) == [
        ("created", None, "init"),
        ("status", "init", "started"),
        ("status", "started", "waiting for doctor"),
        ("status", "waiting for doctor", "waiting for pharmacy"),
    ]
    assert await desk.history(prescription) == [
        ("created", None, "waiting_for_doctor"),
        ("doctor_uid", None, desk.uids["doctor"]),
        ("status", "waiting_for_doctor", "approved"),
        ("status", "approved", "signed"),
    ]
    assert await desk.history(placed["uid"]) == [("created", None, "init")]
    assert await desk.events(uid) == [
        ("order_created", "init"),
        ("order_updated", "started"),
        ("order_updated", "waiting for doctor"),
        ("order_updated", "waiting for pharmacy"),
    ]
    assert await desk.events(prescription) == [
        ("prescription_created", "waiting_for_doctor"),
        ("prescription_updated", "waiting_for_doctor"),
        ("prescription_updated", "approved"),
        ("prescription_updated", "signed"),
    ]
    assert await desk.events(placed["uid"]) == [("pharmacy_order_created", "init")]

    # The Management API shows what was made.
    shown = (await client.get(f"/orders/{uid}", headers=desk.headers)).json()
    assert shown["shop_orders"][0]["external_id"] == "EXT-1"
    assert shown["patient_profile"]["uid"] == desk.uids["patient"]
    [item] = shown["items"]
    assert (item["sku_uid"], item["quantity"]) == (desk.uids["sku"], 1)
    [part] = shown["fulfillment_orders"]
    assert [one["order_item"] for one in part["items"]] == [item]
    assert part["prescriptions"][0]["doctor"]["uid"] == desk.uids["doctor"]


async def test_events_of_ours_hold_no_personal_data(desk: Desk) -> None:
    made = await desk.order(delivery_address={"city": "Berlin", "first_name": "Max"}, name="#1")
    rows = await desk.tenant.rows(
        "SELECT event_type, body, cut_body, actor_kind FROM events WHERE organisation_id = $1"
    )
    assert len(rows) == 3
    for row in rows:
        assert set(json.loads(row["body"])["data"]) == {"uid", "status", "created_at", "updated_at"}
        assert row["cut_body"] is None
        assert row["actor_kind"] == "key"
    [order] = await desk.tenant.rows(
        "SELECT delivery_address, invoice_address, actor_kind FROM orders WHERE organisation_id = $1 AND uid = $2",
        made["uid"],
    )
    assert json.loads(order["delivery_address"]) == {"city": "Berlin", "first_name": "Max"}
    assert json.loads(order["invoice_address"]) == {}


async def test_a_declined_one_ends_the_order_s_way(desk: Desk) -> None:
    await desk.offer()
    made = await desk.order(2)
    first, second = made["prescription_uids"]
    await desk.done(f"/prescriptions/{first}/decline", {"reason": "contraindicated"})
    assert await desk.status("orders", made["uid"]) == "prescription declined"
    await desk.done(f"/prescriptions/{second}/approve")
    await desk.done(f"/prescriptions/{second}/sign")
    assert await desk.status("orders", made["uid"]) == "prescription declined"
    assert await desk.pharmacy_orders(made["uid"]) == []
    told = await desk.refused(f"/orders/{made['uid']}/status", {"status": "waiting for pharmacy"})
    assert told["allowed"] == ["cancelled"]


async def test_cancelled_with_all_that_is_open(desk: Desk) -> None:
    await desk.offer()
    made = await desk.order(2)
    uid, (first, second) = made["uid"], made["prescription_uids"]
    for one in (first, second):
        await desk.done(f"/prescriptions/{one}/approve")
    await desk.done(f"/prescriptions/{first}/sign", {"non_qes": True})
    assert (await desk.done(f"/orders/{uid}/cancel", {"reason": "by phone"}))["status"] == "cancelled"
    assert await desk.status("prescriptions", first) == "non_qes_signed"
    assert await desk.status("prescriptions", second) == "cancelled"
    assert (await desk.events(second))[-1] == ("prescription_updated", "cancelled")
    assert (await desk.history(second))[-1] == ("status", "approved", "cancelled")
    told = await desk.refused(f"/orders/{uid}/cancel")
    assert told == {"error": "An order that is cancelled cannot become cancelled now", "allowed": []}
    told = await desk.refused(f"/prescriptions/{second}/approve")
    assert told == {"error": "A prescription that is cancelled cannot become approved", "allowed": []}


async def test_a_cancelled_order_cancels_its_pharmacy_order(desk: Desk) -> None:
    await desk.offer()
    made = await desk.order(0)
    await desk.done(f"/orders/{made['uid']}/status", {"status": "started"})
    state = await desk.done(f"/orders/{made['uid']}/status", {"status": "waiting for pharmacy"})
    assert state["status"] == "waiting for pharmacy"
    [placed] = await desk.pharmacy_orders(made["uid"])
    await desk.done(f"/orders/{made['uid']}/status", {"status": "cancelled"})
    assert await desk.status("pharmacy_orders", placed["uid"]) == "cancelled"
    assert (await desk.events(placed["uid"]))[-1] == ("pharmacy_order_updated", "cancelled")
    assert (await desk.history(placed["uid"]))[-1] == ("status", "init", "cancelled")
