"""GET /pharmacy_orders/ and /pharmacy_orders/{uid}: whole bodies, pages, filters, and nobody else's orders."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.api.pharmacy.rows import CREATED, open_counter, whole_order
from tests.conftest import InProcess, Live
from tests.db.test_reads import explain
from tests.factories import LONG_AGO, Tenant

from rxdesk.kit.keys import new_key
from rxdesk.routes import PHARMACY
from rxdesk.webhooks.events import EVENT_TYPES

NOT_FOUND = b'{"error":"Resource not found"}'


def shape(value: Any) -> Any:
    """The names of a body's members, in their order, at each depth but an address's."""
    if isinstance(value, dict):
        return {
            name: sorted(member) if name == "delivery_address" else shape(member)
            for name, member in value.items()
        }
    return [shape(item) for item in value] if isinstance(value, list) else None


async def test_the_whole_of_an_order(pharmacy_client: httpx.AsyncClient, tenant: Tenant) -> None:
    counter = await open_counter(tenant)
    uid, expected = await whole_order(counter)
    headers = await counter.headers("orders_read")
    answer = await pharmacy_client.get(f"/pharmacy_orders/{uid}", headers=headers)
    assert (answer.status_code, answer.json()) == (200, expected)
    # The order of the members too is that of the contract, as the sample of the event has it.
    sample = shape(EVENT_TYPES["pharmacy_order_created"].sample(0))
    assert str(shape(answer.json())) == str(sample)
    listed = await pharmacy_client.get("/pharmacy_orders/", headers=headers)
    assert listed.json() == {"data": [expected], "totalRegistries": 1, "totalPages": 1}


async def test_what_may_be_missing_is_null(pharmacy_client: httpx.AsyncClient, tenant: Tenant) -> None:
    counter, elsewhere = await open_counter(tenant), await open_counter(tenant)
    elsewhere_only = await elsewhere.offer()
    counter.skus.update(elsewhere.skus)
    uid = await counter.order((elsewhere_only, 2), data={"note": ["ä"]})
    answer = await pharmacy_client.get(f"/pharmacy_orders/{uid}", headers=await counter.headers())
    body = answer.json()
    assert (body["patient_data"], body["delivery_type"], body["name"]) == (None, None, None)
    assert body["data"] == {"note": ["ä"]}
    assert body["order"]["delivery_address"] == {}
    [item] = body["order_items"]
    assert (item["amount"], item["pharmacy_sku"]) == (2, None)


async def test_the_first_of_two_offers_counts(pharmacy_client: httpx.AsyncClient, tenant: Tenant) -> None:
    counter = await open_counter(tenant)
    first = await counter.offer(stock=3)
    for columns in ({"position": 1}, {"position": -1, "deleted_at": LONG_AGO}):
        await counter.offer(counter.skus[first], **columns)
    uid = await counter.order((first, 1))
    answer = await pharmacy_client.get(f"/pharmacy_orders/{uid}", headers=await counter.headers())
    assert [item["pharmacy_sku"]["uid"] for item in answer.json()["order_items"]] == [first]


@pytest.mark.parametrize("base", PHARMACY.bases)
async def test_both_base_paths_and_slashes(live: Live, tenant: Tenant, base: str) -> None:
    counter = await open_counter(tenant)
    uid = await counter.order()
    headers = await counter.headers()
    async with httpx.AsyncClient(base_url=live.url + base, trust_env=False) as client:
        for path in ("/pharmacy_orders", f"/pharmacy_orders/{uid}", "/pharmacy_skus", "/webhooks"):
            plain = await client.get(path, headers=headers)
            slashed = await client.get(path + "/", headers=headers)
            assert (plain.status_code, slashed.status_code) == (200, 200), path
            assert plain.content == slashed.content


async def test_nobody_else_s_orders(
    pharmacy_client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    counter = await open_counter(tenant)
    mine = await counter.order()
    theirs = [
        await (await open_counter(tenant)).order(),
        await (await open_counter(other)).order(),
        # The same uid, of the other organisation's pharmacy of the same uid.
        await (await open_counter(other, uid=counter.uid)).order(uid="po-of-both"),
        await counter.order(deleted_at=LONG_AGO),
    ]
    headers = await counter.headers()
    for uid in [*theirs, "none", "x" * 65]:
        answer = await pharmacy_client.get(f"/pharmacy_orders/{uid}", headers=headers)
        assert (answer.status_code, answer.content) == (404, NOT_FOUND)
    listed = (await pharmacy_client.get("/pharmacy_orders/", headers=headers)).json()
    assert ([order["uid"] for order in listed["data"]], listed["totalRegistries"]) == ([mine], 1)


async def test_an_organisation_s_key_is_none_of_a_pharmacy(
    pharmacy_client: httpx.AsyncClient, tenant: Tenant
) -> None:
    uid = await (await open_counter(tenant)).order()
    headers = await tenant.headers()
    for path in (f"/pharmacy_orders/{uid}", "/pharmacy_orders/", "/pharmacy_skus/", "/webhooks/"):
        answer = await pharmacy_client.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


async def test_newest_first_in_pages(pharmacy_client: httpx.AsyncClient, tenant: Tenant) -> None:
    counter = await open_counter(tenant)
    headers = await counter.headers("orders_read")

    async def page(query: str) -> tuple[list[str], int, int]:
        answer = await pharmacy_client.get(f"/pharmacy_orders/{query}", headers=headers)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert list(body) == ["data", "totalRegistries", "totalPages"]
        return [order["uid"] for order in body["data"]], body["totalRegistries"], body["totalPages"]

    assert await page("") == ([], 0, 0)
    made = []
    for number in range(7):
        # Two of each second, and then the uid decides.
        created = LONG_AGO + timedelta(seconds=number // 2)
        made.append(await counter.order(uid=f"po-{number}", created_at=created))
    newest = made[::-1]
    assert await page("") == (newest, 7, 1)
    assert await page("?limit=3") == (newest[:3], 7, 3)
    assert await page("?limit=3&page=2") == (newest[6:], 7, 3)
    assert await page("?limit=3&page=3") == ([], 7, 3)
    assert await page("?limit=9999999999&page=0&unknown=1") == (newest, 7, 1)
    for bad in ("limit=0", "page=-1", "page=1&page=1", "status=new", "status=", "created_at_from=x"):
        answer = await pharmacy_client.get(f"/pharmacy_orders/?{bad}", headers=headers)
        assert answer.status_code == 400
        assert [fault["field"] for fault in answer.json()["details"]] == [bad.partition("=")[0]]


async def test_filters(pharmacy_client: httpx.AsyncClient, tenant: Tenant) -> None:
    counter = await open_counter(tenant)
    headers = await counter.headers("orders_read")
    for number, status in enumerate(("init", "on-hold", "init", "in-progress")):
        moment = LONG_AGO + timedelta(seconds=number, milliseconds=900)
        late = moment + timedelta(seconds=100)
        await counter.order(uid=f"po-{number}", status=status, created_at=moment, updated_at=late)

    async def found(**query: str | int) -> list[str]:
        answer = await pharmacy_client.get("/pharmacy_orders/", params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["totalRegistries"] == len(body["data"])
        return [order["uid"].removeprefix("po-") for order in body["data"]]

    assert await found(status="init") == ["2", "0"]
    assert await found(status="waiting for pharmacy") == []
    # A bound is a whole second, all of which counts.
    assert await found(created_at_from=CREATED + 2) == ["3", "2"]
    assert await found(created_at_to=CREATED + 1) == ["1", "0"]
    assert await found(created_at_from=CREATED + 1, created_at_to=CREATED + 1) == ["1"]
    assert await found(updated_at_from=CREATED + 103) == ["3"]
    assert await found(updated_at_to=CREATED + 100) == ["0"]
    assert await found(updated_at_from=CREATED + 101, status="init") == ["2"]
    assert await found(created_at_from=9_999_999_999, updated_at_to=9_999_999_999) == []


async def test_a_read_is_one_statement(within: InProcess, tenant: Tenant) -> None:
    counter = await open_counter(tenant)
    uid, _ = await whole_order(counter)
    for number in range(60):
        await counter.order((next(iter(counter.skus)), 1), name=str(number))
    allowed, denied = await counter.headers(), await counter.headers("webhooks_write")
    unknown = {"X-API-Key": new_key(tenant.id)}

    async def cost(path: str, headers: dict[str, str]) -> tuple[int, int]:
        within.statements.clear()
        answer = await within.client.get(path, headers=headers)
        return answer.status_code, len(within.statements)

    await cost("/webhooks/", allowed)
    for path in (f"/pharmacy_orders/{uid}", "/pharmacy_orders/?limit=200", "/pharmacy_skus/", "/webhooks/"):
        assert await cost(path, allowed) == (200, 1)
        assert await cost(path, denied) == (403, 1)
        assert await cost(path, unknown) == (401, 1)
        assert await cost(path, {}) == (401, 0)
    assert await cost("/pharmacy_orders/none", allowed) == (404, 1)
    assert await cost("/pharmacy_orders/?limit=0", allowed) == (400, 1)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_without_the_permission_the_query_is_never_executed(
    within: InProcess, tenant: Tenant, mode: str
) -> None:
    counter = await open_counter(tenant)
    uid, _ = await whole_order(counter)
    key_only = {"api_keys", "pharmacies"}
    for path in (f"/pharmacy_orders/{uid}", "/pharmacy_orders/", "/pharmacy_skus/", "/webhooks/"):
        seen = []
        for headers in (await counter.headers(), await counter.headers("orders_write")):
            await within.client.get(path, headers=headers)
            plan = await explain(tenant, *within.calls[-1], mode)
            seen.append(plan.executed())
        assert seen[0] > key_only
        assert seen[1] == key_only, path


async def test_the_keys_of_a_deleted_pharmacy_are_dead(
    pharmacy_client: httpx.AsyncClient, tenant: Tenant
) -> None:
    counter = await open_counter(tenant)
    uid = await counter.order(status="in-progress")
    headers = await counter.headers()

    async def statuses() -> list[int]:
        read = await pharmacy_client.get(f"/pharmacy_orders/{uid}", headers=headers)
        write = await pharmacy_client.patch(
            f"/pharmacy_orders/{uid}/status", json={"status": "init"}, headers=headers
        )
        return [read.status_code, write.status_code]

    assert await statuses() == [200, 409]
    await tenant.update("pharmacies", counter.uid, deleted_at=LONG_AGO)
    assert await statuses() == [401, 401]
    # An import revives it, and its keys with it.
    await tenant.update("pharmacies", counter.uid, deleted_at=None)
    assert await statuses() == [200, 409]
