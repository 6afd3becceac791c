"""GET /pharmacy_skus/, PATCH /pharmacy_skus/{uid}, …/stock and …/external_id."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.api.pharmacy.rows import CREATED, Counter, open_counter
from tests.conftest import InProcess
from tests.factories import LONG_AGO, Tenant

from rxdesk.kit.clock import unix

# What each route changes, the permission for it, and the largest of what it takes.
ROUTES = {
    "price": ("", "pharmacy_sku_write", 2**31 - 1),
    "stock": ("/stock", "stock_write", 2**31 - 1),
    "external_id": ("/external_id", "pharmacy_sku_write", "ä" * 255),
}


def row(counter: Counter, offered: str, **members: Any) -> dict[str, Any]:
    """A pharmacy's SKU as it is told."""
    return {
        "uid": offered,
        "external_id": "EXT-001",
        "price": 1299,
        "stock": 50,
        "pharmacy": {"uid": counter.uid, "display_name": "City Pharmacy"},
        "sku": {"uid": counter.skus[offered], "display_name": "X 100mg", "pzn": "12345678"},
        "updated_at": CREATED,
        **members,
    }


async def written(tenant: Tenant) -> list[Any]:
    return [
        await tenant.rows(f"SELECT * FROM {table} WHERE organisation_id = $1 ORDER BY uid")
        for table in ("pharmacy_skus", "changes", "events")
    ]


async def test_the_list(pharmacy_client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    counter = await open_counter(tenant)
    headers = await counter.headers("stock_read")
    path = "/pharmacy_skus/"
    answer = await pharmacy_client.get(path, headers=headers)
    assert answer.json() == {"data": [], "totalRegistries": 0, "totalPages": 0}
    first = await counter.offer()
    second = await counter.offer(price=None, stock=None, external_id=None)
    again = await counter.offer(counter.skus[first], external_id="B/2", position=1)
    for stranger in (await open_counter(tenant), await open_counter(other)):
        await stranger.offer()
    await counter.offer(deleted_at=LONG_AGO)
    nothing = {"price": None, "stock": None, "external_id": None}
    rows = {
        first: row(counter, first),
        second: row(counter, second, **nothing),
        again: row(counter, again, external_id="B/2"),
    }
    expected = [rows[uid] for uid in sorted(rows, key=lambda uid: (counter.skus[uid], uid))]

    async def listed(**query: str | int) -> tuple[list[Any], int, int]:
        answer = await pharmacy_client.get(path, params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return body["data"], body["totalRegistries"], body["totalPages"]

    assert await listed() == (expected, 3, 1)
    assert await listed(limit=2) == (expected[:2], 3, 2)
    assert await listed(limit=2, page=1) == (expected[2:], 3, 2)
    assert await listed(limit=2, page=2) == ([], 3, 2)
    assert await listed(external_id="B/2") == ([rows[again]], 1, 1)
    assert await listed(external_id="b/2") == ([], 0, 0)
    assert (await listed(pzn="12345678"))[1:] == (3, 1)
    assert await listed(pzn="12345679") == ([], 0, 0)


@pytest.mark.parametrize("member", ROUTES)
async def test_a_member_is_set(within: InProcess, tenant: Tenant, member: str) -> None:
    counter = await open_counter(tenant)
    offered = await counter.offer()
    bystander = await counter.offer()
    end, permission, largest = ROUTES[member]
    key = await tenant.new_key(permission, pharmacy_uid=counter.uid)
    old: Any = row(counter, offered)[member]
    now = unix(within.clock.moment)
    for value in (largest, None, 0 if isinstance(largest, int) else "x"):
        answer = await within.client.patch(
            f"/pharmacy_skus/{offered}{end}", json={member: value}, headers={"X-API-Key": key.key}
        )
        expected = row(counter, offered, **{member: value, "updated_at": now})
        assert (answer.status_code, answer.json()) == (200, expected)
        skus, changes, events = await written(tenant)
        change = changes[-1]
        assert (change["subject_kind"], change["subject_uid"]) == ("pharmacy_sku", offered)
        texts = [None if side is None else str(side) for side in (old, value)]
        assert [change["what"], change["old_value"], change["new_value"]] == [member, *texts]
        assert (change["actor_kind"], change["actor_uid"]) == ("key", key.uid)
        if member == "stock":
            assert (events[-1]["event_type"], events[-1]["pharmacy_uid"]) == (
                "pharmacy_sku_stock_updated",
                counter.uid,
            )
            data = json.loads(events[-1]["body"])["data"]
            assert data == {**expected, "previous_stock": old}
            assert list(data) == [
                *("uid", "external_id", "price", "stock", "previous_stock", "pharmacy", "sku", "updated_at")
            ]
        else:
            assert events == []
        [untouched] = [sku for sku in skus if sku["uid"] == bystander]
        assert untouched["updated_at"] == LONG_AGO
        old = value


@pytest.mark.parametrize("member", ROUTES)
async def test_the_same_value_is_no_change(
    pharmacy_client: httpx.AsyncClient, tenant: Tenant, member: str
) -> None:
    counter = await open_counter(tenant)
    offered = await counter.offer()
    before = await written(tenant)
    answer = await pharmacy_client.patch(
        f"/pharmacy_skus/{offered}{ROUTES[member][0]}",
        json={member: row(counter, offered)[member]},
        headers=await counter.headers(),
    )
    assert (answer.status_code, answer.json()) == (200, row(counter, offered))
    assert await written(tenant) == before


@pytest.mark.parametrize("member", ROUTES)
async def test_what_is_refused(
    pharmacy_client: httpx.AsyncClient, tenant: Tenant, other: Tenant, member: str
) -> None:
    counter = await open_counter(tenant)
    offered = await counter.offer()
    end, permission, largest = ROUTES[member]
    strangers = [
        await (await open_counter(tenant)).offer(),
        await (await open_counter(other)).offer(),
        await counter.offer(deleted_at=LONG_AGO),
        "none",
    ]
    before = [await written(tenant), await written(other)]
    headers = await counter.headers(permission)
    good = {member: 1 if isinstance(largest, int) else "x"}
    for uid in strangers:
        answer = await pharmacy_client.patch(f"/pharmacy_skus/{uid}{end}", json=good, headers=headers)
        assert (answer.status_code, answer.json()) == (404, {"error": "Resource not found"})
    bad: list[Any] = [{}, {**good, "uid": "x"}, {member: True}, {member: []}, {member: {}}]
    bad += (
        [{member: value} for value in (-1, 2**31, 1.5, "1", 10**30, -(2**63))]
        if isinstance(largest, int)
        else [{member: value} for value in ("", "x" * 256, 1, "\x00")]
    )
    for body in bad:
        answer = await pharmacy_client.patch(f"/pharmacy_skus/{offered}{end}", json=body, headers=headers)
        assert answer.status_code == 400, (body, answer.text)
    rest = {"pharmacy_sku_write", "stock_write", "stock_read", "orders_write"} - {permission}
    for denied in (await counter.headers(*rest), await tenant.headers()):
        answer = await pharmacy_client.patch(f"/pharmacy_skus/{offered}{end}", json=good, headers=denied)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert [await written(tenant), await written(other)] == before


async def test_products_show_it_at_once(
    pharmacy_client: httpx.AsyncClient, client: httpx.AsyncClient, tenant: Tenant
) -> None:
    counter = await open_counter(tenant)
    offered = await counter.offer()
    for body, end in (({"price": 5}, ""), ({"stock": 6}, "/stock"), ({"external_id": "N"}, "/external_id")):
        await pharmacy_client.patch(
            f"/pharmacy_skus/{offered}{end}", json=body, headers=await counter.headers()
        )
    products = (await client.get("/products", headers=await tenant.headers())).json()["products"]
    [shown] = products[0]["skus"][0]["pharmacy_skus"]
    assert (shown["price"], shown["stock"], shown["external_id"]) == (5, 6, "N")
