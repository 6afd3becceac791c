"""PATCH /pharmacy_orders/{uid}/status and …/complete_order: the lifecycle, and what each step writes."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.api.pharmacy.rows import Counter, open_counter, whole_order
from tests.conftest import InProcess
from tests.factories import LONG_AGO, Tenant

from rxdesk.kit.clock import unix
from rxdesk.pharmacies.lifecycle import STATUSES, STEPS

# The contract's section 3, once more and by hand: from a status, to each that may follow it.
ALLOWED = {
    "init": {"waiting for pharmacy", "cancelled"},
    "waiting for pharmacy": {"pending review", "cancelled"},
    "pending review": {"on-hold", "in-progress", "cancelled"},
    "on-hold": {"in-progress", "cancelled"},
    "in-progress": {"ready_for_pickup", "completed", "cancelled"},
    "ready_for_pickup": {"completed", "cancelled"},
    "completed": set(),
    "cancelled": set(),
}
NOT_FOUND = {"error": "Resource not found"}


def step(uid: str, status: str) -> tuple[str, dict[str, str] | None]:
    """The path and the body of a step."""
    if status == "completed":
        return f"/pharmacy_orders/{uid}/complete_order", None
    return f"/pharmacy_orders/{uid}/status", {"status": status}


async def written(tenant: Tenant) -> dict[str, list[dict[str, Any]]]:
    """All that a step writes, each row with its transaction."""
    return {
        table: await tenant.rows(
            f"SELECT t.*, t.xmin::text AS transaction FROM {table} t WHERE organisation_id = $1 ORDER BY uid"
        )
        for table in ("pharmacy_orders", "pharmacy_skus", "changes", "events", "event_streams")
    }


def test_the_table_is_the_contract_s() -> None:
    assert {status: set(steps) for status, steps in STEPS.items()} == ALLOWED
    assert set(STATUSES) == set(ALLOWED)


@pytest.mark.parametrize("old", STATUSES)
async def test_every_step_from(pharmacy_client: httpx.AsyncClient, tenant: Tenant, old: str) -> None:
    counter = await open_counter(tenant)
    uid = await counter.order(status=old)
    headers = await counter.headers("orders_write")
    for new in STATUSES:
        await tenant.update("pharmacy_orders", uid, status=old)
        before = await written(tenant)
        path, body = step(uid, new)
        answer = await pharmacy_client.patch(path, json=body, headers=headers)
        [row] = await tenant.rows("SELECT status FROM pharmacy_orders WHERE organisation_id = $1")
        if new in ALLOWED[old]:
            assert (answer.status_code, row["status"]) == (200, new)
            continue
        assert (answer.status_code, row["status"]) == (409, old)
        refusal = answer.json()
        assert refusal["error"].startswith(f"A pharmacy order that is '{old}' cannot become '{new}'")
        assert (refusal["status"], set(refusal["allowed"])) == (old, ALLOWED[old])
        assert all(status in refusal["error"] for status in ALLOWED[old])
        assert await written(tenant) == before, "what is refused writes nothing"


async def test_the_whole_way(within: InProcess, tenant: Tenant) -> None:
    counter = await open_counter(tenant)
    uid, document = await whole_order(counter)
    key = await tenant.new_key("orders_write", pharmacy_uid=counter.uid)
    way = ("waiting for pharmacy", "pending review", "on-hold", "in-progress", "ready_for_pickup")
    for number, status in enumerate(way, 1):
        [before] = (await written(tenant))["pharmacy_orders"]
        path, body = step(uid, status)
        answer = await within.client.patch(path, json=body, headers={"X-API-Key": key.key})
        now = unix(within.clock.moment)
        thin = {"uid": uid, "status": status, "created_at": document["created_at"], "updated_at": now}
        assert (answer.status_code, answer.json()) == (200, thin)
        rows = await written(tenant)
        [order], change, event = rows["pharmacy_orders"], rows["changes"][-1], rows["events"][-1]
        assert (len(rows["changes"]), len(rows["events"])) == (number, number)
        assert (order["status"], order["updated_at"]) == (status, within.clock.moment)
        assert (change["subject_kind"], change["subject_uid"], change["what"]) == (
            "pharmacy_order",
            uid,
            "status",
        )
        assert (change["old_value"], change["new_value"]) == (before["status"], status)
        # Whoever subscribed is told all of it, in the very transaction that changed it.
        assert json.loads(event["body"]) == {
            "event_type": "pharmacy_order_updated",
            "timestamp": now,
            "payload_version": "1",
            "data": {**document, "status": status, "updated_at": now},
        }
        assert json.loads(event["cut_body"])["data"] == {**thin, "deleted_at": None}
        assert (event["subject_uid"], event["pharmacy_uid"]) == (uid, counter.uid)
        for row in (order, change, event):
            assert (row["actor_kind"], row["actor_uid"]) == ("key", key.uid)
            assert row["transaction"] == order["transaction"]


async def test_completed_takes_the_stock_down(within: InProcess, tenant: Tenant) -> None:
    counter = await open_counter(tenant)
    some, rest, uncounted, untouched = [await counter.offer(stock=stock) for stock in (10, 3, None, 9)]
    # The same pack in two positions counts twice; all of what is there may go.
    uid = await counter.order((some, 2), (rest, 3), (uncounted, 5), (some, 3), status="ready_for_pickup")
    answer = await within.client.patch(
        f"/pharmacy_orders/{uid}/complete_order", headers=await counter.headers("orders_write")
    )
    now = unix(within.clock.moment)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["updated_at"]) == ("completed", now)
    assert await counter.stock() == {some: 5, rest: 0, uncounted: None, untouched: 9}
    rows = await written(tenant)
    taken = {row["subject_uid"]: row for row in rows["changes"] if row["subject_kind"] == "pharmacy_sku"}
    assert {u: (r["what"], r["old_value"], r["new_value"], r["reason"]) for u, r in taken.items()} == {
        some: ("stock", "10", "5", uid),
        rest: ("stock", "3", "0", uid),
    }
    stock_events = {
        row["subject_uid"]: json.loads(row["body"])["data"]
        for row in rows["events"]
        if row["event_type"] == "pharmacy_sku_stock_updated"
    }
    assert set(stock_events) == {some, rest}
    assert stock_events[some] == {
        "uid": some,
        "external_id": "EXT-001",
        "price": 1299,
        "stock": 5,
        "previous_stock": 10,
        "pharmacy": {"uid": counter.uid, "display_name": "City Pharmacy"},
        "sku": {"uid": counter.skus[some], "display_name": "X 100mg", "pzn": "12345678"},
        "updated_at": now,
    }
    # The order is told of last, with the stock that is left.
    last = max(
        (row for row in rows["events"] if row["event_type"] != "order_updated"),
        key=lambda row: row["position"],
    )
    assert last["event_type"] == "pharmacy_order_updated"
    data = json.loads(last["body"])["data"]
    assert [item["pharmacy_sku"]["stock"] for item in data["order_items"]] == [5, 0, None, 5]
    [order] = rows["pharmacy_orders"]
    assert {row["transaction"] for row in (*rows["events"], *rows["changes"])} == {order["transaction"]}
    assert {row["pharmacy_uid"] for row in rows["events"] if row["event_type"] != "order_updated"} == {
        counter.uid
    }


async def test_only_the_fulfillment_order_s_items(pharmacy_client: httpx.AsyncClient, tenant: Tenant) -> None:
    counter = await open_counter(tenant)
    uid, document = await whole_order(counter)
    await tenant.update("pharmacy_orders", uid, status="in-progress")
    other = next(offered for offered in counter.skus if offered != _offered(document))
    await tenant.update("pharmacy_skus", other, stock=50)
    answer = await pharmacy_client.patch(
        f"/pharmacy_orders/{uid}/complete_order", headers=await counter.headers()
    )
    assert answer.status_code == 200
    assert await counter.stock() == {_offered(document): 49, other: 50}


def _offered(document: dict[str, Any]) -> str:
    return str(document["order_items"][0]["pharmacy_sku"]["uid"])


async def test_too_little_in_stock(pharmacy_client: httpx.AsyncClient, tenant: Tenant) -> None:
    counter = await open_counter(tenant)
    enough, few, none = [await counter.offer(stock=stock) for stock in (10, 1, 0)]
    uid = await counter.order((enough, 1), (few, 2), (none, 1), status="in-progress")
    before = await written(tenant)
    path = f"/pharmacy_orders/{uid}/complete_order"
    headers = await counter.headers()
    answer = await pharmacy_client.patch(path, headers=headers)
    assert answer.status_code == 409
    assert answer.json() == {
        "error": f"There is too little in stock of {few}, {none}",
        "missing": [
            {"uid": few, "sku_uid": counter.skus[few], "stock": 1, "needed": 2},
            {"uid": none, "sku_uid": counter.skus[none], "stock": 0, "needed": 1},
        ],
    }
    assert await written(tenant) == before
    for offered in (few, none):
        await tenant.update("pharmacy_skus", offered, stock=2)
    assert (await pharmacy_client.patch(path, headers=headers)).status_code == 200
    assert await counter.stock() == {enough: 9, few: 0, none: 1}
    # Once is enough: again is a step from `completed`, and takes nothing.
    again = await pharmacy_client.patch(path, headers=headers)
    assert (again.status_code, again.json()["status"], again.json()["allowed"]) == (409, "completed", [])
    assert await counter.stock() == {enough: 9, few: 0, none: 1}


async def test_a_pack_that_is_offered_twice_comes_from_one_after_the_other(
    within: InProcess, tenant: Tenant
) -> None:
    counter = await open_counter(tenant)
    # By their position, which is not the order of their uids.
    first = await counter.offer(uid="psku-z", stock=2)
    second = await counter.offer(counter.skus[first], uid="psku-a", stock=4, position=1)
    headers = await counter.headers()

    async def complete(amount: int) -> httpx.Response:
        uid = await counter.order((first, amount), (first, 1), status="in-progress")
        return await within.client.patch(f"/pharmacy_orders/{uid}/complete_order", headers=headers)

    short = await complete(6)
    assert (short.status_code, short.json()["missing"]) == (
        409,
        [{"uid": first, "sku_uid": counter.skus[first], "stock": 6, "needed": 7}],
    )
    assert await counter.stock() == {first: 2, second: 4}
    assert (await complete(2)).status_code == 200
    assert await counter.stock() == {first: 0, second: 3}
    rows = await written(tenant)
    told = [json.loads(r["body"])["data"] for r in rows["events"] if "stock" in r["event_type"]]
    assert {(data["uid"], data["previous_stock"], data["stock"]) for data in told} == {
        (first, 2, 0),
        (second, 4, 3),
    }
    taken = [row for row in rows["changes"] if row["subject_kind"] == "pharmacy_sku"]
    assert {(row["subject_uid"], row["old_value"], row["new_value"]) for row in taken} == {
        (first, "2", "0"),
        (second, "4", "3"),
    }
    # From the second one alone, and then what is not counted has no end.
    assert (await complete(1)).status_code == 200
    assert await counter.stock() == {first: 0, second: 1}
    uncounted = await counter.offer(counter.skus[first], stock=None, position=2)
    assert (await complete(50)).status_code == 200
    assert await counter.stock() == {first: 0, second: 0, uncounted: None}


async def test_an_item_that_it_does_not_offer_comes_from_nowhere(
    pharmacy_client: httpx.AsyncClient, tenant: Tenant
) -> None:
    counter, elsewhere = await open_counter(tenant), await open_counter(tenant)
    theirs = await elsewhere.offer(stock=1)
    counter.skus.update(elsewhere.skus)
    uid = await counter.order((theirs, 5), status="in-progress")
    path, headers = f"/pharmacy_orders/{uid}/complete_order", await counter.headers()
    assert (await pharmacy_client.patch(path, headers=headers)).status_code == 200
    assert await elsewhere.stock() == {theirs: 1}


async def test_nobody_else_s_orders(
    pharmacy_client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    counter = await open_counter(tenant)
    theirs: list[tuple[Counter, str]] = []
    for stranger in (await open_counter(tenant), await open_counter(other)):
        offered = await stranger.offer(stock=5)
        theirs.append((stranger, await stranger.order((offered, 1), status="in-progress")))
    gone = await counter.order(status="in-progress", deleted_at=LONG_AGO)
    before = [await written(tenant), await written(other)]
    mine, foreign = await counter.headers(), await tenant.headers()
    for uid in (*(uid for _, uid in theirs), gone, "none", "x" * 65):
        for status in ("ready_for_pickup", "completed"):
            path, body = step(uid, status)
            answer = await pharmacy_client.patch(path, json=body, headers=mine)
            assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
            assert (await pharmacy_client.patch(path, json=body, headers=foreign)).status_code == 403
    assert [await written(tenant), await written(other)] == before


async def test_completed_is_no_status_to_set(pharmacy_client: httpx.AsyncClient, tenant: Tenant) -> None:
    counter = await open_counter(tenant)
    uid = await counter.order(status="ready_for_pickup")
    headers = await counter.headers()
    for body in ({"status": "completed"}, {"status": "new"}, {"status": None}, {}, {"state": "init"}):
        answer = await pharmacy_client.patch(f"/pharmacy_orders/{uid}/status", json=body, headers=headers)
        assert answer.status_code == 400, answer.text
        assert "status" in [fault["field"] for fault in answer.json()["details"]]
    # A key that may not is told so before its body is looked at; an unknown order after.
    reader = await counter.headers("orders_read")
    answer = await pharmacy_client.patch(f"/pharmacy_orders/{uid}/status", json={}, headers=reader)
    assert answer.status_code == 403
    answer = await pharmacy_client.patch("/pharmacy_orders/none/status", json={}, headers=headers)
    assert answer.status_code == 400


async def test_what_is_said_of_a_completion_that_it_does_not_know(
    pharmacy_client: httpx.AsyncClient, tenant: Tenant
) -> None:
    counter = await open_counter(tenant)
    uid = await counter.order(status="in-progress")
    path, headers = f"/pharmacy_orders/{uid}/complete_order", await counter.headers()
    bodies: list[Any] = [{"status": "completed"}, [], "x"]
    for body in bodies:
        answer = await pharmacy_client.patch(path, json=body, headers=headers)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"] == "Validation failed"
    [row] = await tenant.rows("SELECT status FROM pharmacy_orders WHERE organisation_id = $1")
    assert row["status"] == "in-progress"
    answer = await pharmacy_client.patch(path, json={}, headers=headers)
    assert answer.status_code == 200
