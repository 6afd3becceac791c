"""What changed of pharmacies' orders and SKUs: GET /v1/operations/pharmacy_orders|pharmacy_skus/{uid}/history."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.operations.conftest import Desk
from tests.api.pharmacy.rows import Counter, open_counter
from tests.conftest import Live
from tests.factories import Tenant

from rxdesk.routes import PHARMACY

NOT_FOUND = {"error": "Resource not found"}


@pytest.fixture
async def counter(tenant: Tenant) -> Counter:
    return await open_counter(tenant)


async def page_of(desk: Desk, path: str, status: int = 200, **query: int) -> dict[str, Any]:
    answer = await desk.client.get(f"{path}/history", headers=desk.headers, params=query)
    assert answer.status_code == status, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_what_a_pharmacy_does(desk: Desk, counter: Counter, live: Live) -> None:
    offered = await counter.offer(stock=7)
    uid = await counter.order((offered, 2), status="pending review")
    made = await counter.tenant.new_key("orders_write", "stock_write", pharmacy_uid=counter.uid)

    async def patch(path: str, body: dict[str, Any] | None = None) -> None:
        url = f"{live.url}{PHARMACY.base}{path}"
        done = await desk.client.patch(url, json=body, headers={"X-API-Key": made.key})
        assert done.status_code == 200, done.text

    await patch(f"/pharmacy_skus/{offered}/stock", {"stock": 5})
    await patch(f"/pharmacy_orders/{uid}/status", {"status": "in-progress"})
    await patch(f"/pharmacy_orders/{uid}/complete_order")
    of_order = await page_of(desk, f"/pharmacy_orders/{uid}")
    by = {"kind": "key", "uid": made.uid}
    assert [(c["what"], c["old"], c["new"], c["actor"]) for c in of_order["data"]] == [
        ("status", "pending review", "in-progress", by),
        ("status", "in-progress", "completed", by),
    ]
    of_sku = await page_of(desk, f"/pharmacy_skus/{offered}")
    assert [(c["what"], c["old"], c["new"], c["reason"]) for c in of_sku["data"]] == [
        ("stock", "7", "5", None),
        ("stock", "5", "3", uid),
    ]
    assert await page_of(desk, f"/pharmacy_skus/{offered}", limit=1, page=1) == {
        "data": of_sku["data"][1:],
        "totalRegistries": 2,
        "totalPages": 2,
    }


async def test_only_what_may_be_seen(desk: Desk, counter: Counter, other: Tenant) -> None:
    offered = await counter.offer()
    uid = await counter.order((offered, 1))
    theirs = await open_counter(other)
    foreign = await theirs.offer()
    # What was imported has none; what is not there, or another organisation's, is not found.
    empty = {"data": [], "totalRegistries": 0, "totalPages": 0}
    assert await page_of(desk, f"/pharmacy_orders/{uid}") == empty
    assert await page_of(desk, f"/pharmacy_skus/{offered}") == empty
    for path in (
        f"/pharmacy_skus/{foreign}",
        f"/pharmacy_skus/{uid}",
        f"/pharmacy_orders/{await theirs.order((foreign, 1))}",
        "/pharmacy_orders/none",
    ):
        assert await page_of(desk, path, 404) == NOT_FOUND
    for path, permission in (
        (f"/pharmacy_orders/{uid}", "order:read"),
        (f"/pharmacy_skus/{offered}", "product:read"),
    ):
        desk.headers = await desk.tenant.headers(permission)
        assert await page_of(desk, path) == empty
        desk.headers = await desk.tenant.headers("event:read")
        assert (await page_of(desk, path, 403))["code"] == "permission_denied"
        # A pharmacy's key has no place here.
        desk.headers = await counter.headers()
        assert (await page_of(desk, path, 403))["code"] == "permission_denied"
