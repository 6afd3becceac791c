"""Many completions at once that want the same stock: none takes what is not there, and none waits for ever."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator

import asyncpg
import httpx
import pytest
from tests.api.pharmacy.rows import Counter, open_counter
from tests.conftest import Live, start_live, stop_live
from tests.factories import Tenant

from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.routes import PHARMACY


@pytest.fixture(scope="module")
def two_workers(cluster: embedded.Address) -> Iterator[Live]:
    server = start_live(cluster, workers=2)
    yield server
    stop_live(server)


@pytest.fixture
async def crowd(two_workers: Live) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=two_workers.url + PHARMACY.base,
        trust_env=False,
        timeout=15,
        limits=httpx.Limits(max_connections=50),
    ) as session:
        yield session


async def complete(client: httpx.AsyncClient, uid: str, headers: dict[str, str]) -> httpx.Response:
    """Complete an order; a server that is asked for more than it can do says so, and to come again."""
    until = time.monotonic() + 30
    while True:
        answer = await client.patch(f"/pharmacy_orders/{uid}/complete_order", headers=headers)
        if answer.status_code != 503 or time.monotonic() > until:
            return answer


async def test_fifty_orders_of_two_packs_with_stock_for_twenty(
    crowd: httpx.AsyncClient, tenant: Tenant
) -> None:
    counter = await open_counter(tenant)
    headers = await counter.headers()
    first, second, plenty = [await counter.offer(stock=stock) for stock in (20, 20, 1000)]
    orders = []
    for number in range(50):
        # In turns the other way round, which is where locks in the order of the items would meet head on.
        items = [(first, 1), (second, 1), (plenty, 2)]
        orders.append(await counter.order(*(items if number % 2 else items[::-1]), status="in-progress"))
    answers = await asyncio.gather(*(complete(crowd, uid, headers) for uid in orders))
    assert sorted(answer.status_code for answer in answers) == [200] * 20 + [409] * 30
    assert await counter.stock() == {first: 0, second: 0, plenty: 1000 - 40}
    done = {uid for uid, answer in zip(orders, answers, strict=True) if answer.status_code == 200}
    rows = await tenant.rows(
        "SELECT uid FROM pharmacy_orders WHERE organisation_id = $1 AND status = 'completed'"
    )
    assert {row["uid"] for row in rows} == done
    # Each step down was told, once: the stock before and after make a chain.
    steps = await tenant.rows(
        "SELECT old_value::int AS old, new_value::int AS new FROM changes WHERE organisation_id = $1 "
        "AND subject_uid = $2 ORDER BY old_value::int DESC",
        first,
    )
    assert [(row["old"], row["new"]) for row in steps] == [(left, left - 1) for left in range(20, 0, -1)]
    told = await tenant.rows(
        "SELECT event_type, count(*) AS n FROM events WHERE organisation_id = $1 GROUP BY 1 ORDER BY 1"
    )
    assert [(row["event_type"], row["n"]) for row in told] == [
        ("order_updated", 20),
        ("pharmacy_order_updated", 20),
        ("pharmacy_sku_stock_updated", 60),
    ]


async def test_one_order_completed_twenty_times_at_once(crowd: httpx.AsyncClient, tenant: Tenant) -> None:
    counter = await open_counter(tenant)
    headers = await counter.headers()
    offered = await counter.offer(stock=100)
    uid = await counter.order((offered, 3), status="ready_for_pickup")
    answers = await asyncio.gather(*(complete(crowd, uid, headers) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    assert await counter.stock() == {offered: 97}


async def test_two_pharmacies_and_stock_that_is_set_meanwhile(
    crowd: httpx.AsyncClient, tenant: Tenant
) -> None:
    """Two pharmacies sell the same packs, so their changes meet at the products' documents."""
    here, there = await open_counter(tenant), await open_counter(tenant)
    chance = random.Random(4711)
    # Their uids sort one way here, the other way there.
    mine = [await here.offer(uid=f"psku-h{number}", stock=100) for number in range(4)]
    theirs = [
        await there.offer(here.skus[offered], uid=f"psku-t{9 - number}", stock=100)
        for number, offered in enumerate(mine)
    ]
    calls = []
    for counter, offers in ((here, mine), (there, theirs)):
        headers = await counter.headers()
        for _ in range(15):
            wanted = [(offered, 1) for offered in chance.sample(offers, 3)]
            calls.append(complete(crowd, await counter.order(*wanted, status="in-progress"), headers))
        for offered in offers:
            path = f"/pharmacy_skus/{offered}"
            calls.append(_patched(crowd, path, {"price": chance.randrange(10_000)}, headers))
    chance.shuffle(calls)
    answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} == {200}
    for counter in (here, there):
        left = (await counter.stock()).values()
        assert sum(stock or 0 for stock in left) == 400 - 45
    documents = await tenant.rows(
        "SELECT d.uid FROM product_documents d WHERE d.organisation_id = $1 AND d.document <> ("
        "SELECT n.document FROM product_documents_of($1, ARRAY[d.uid]) n)"
    )
    assert documents == []


async def test_two_orders_race_for_the_last_packs_of_two_offers(
    crowd: httpx.AsyncClient, tenant: Tenant
) -> None:
    """Each wants two, of which one is in each offer; now and then a part of the same order as the other one."""
    counter = await open_counter(tenant)
    headers = await counter.headers()
    for number in range(12):
        first = await counter.offer(stock=1)
        second = await counter.offer(counter.skus[first], stock=1, position=1)
        if number % 2:
            racing = [await counter.order((first, 2), status="in-progress") for _ in range(2)]
        else:
            racing = await two_parts(counter, first)
        answers = await asyncio.gather(*(complete(crowd, uid, headers) for uid in racing))
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        [refused] = [answer.json() for answer in answers if answer.status_code == 409]
        assert refused["missing"] == [{"uid": first, "sku_uid": counter.skus[first], "stock": 0, "needed": 2}]
        stock = await counter.stock()
        assert (stock[first], stock[second]) == (0, 0)


async def two_parts(counter: Counter, offered: str) -> list[str]:
    """Two pharmacy orders of one order, each for a part with two of the same pack."""
    tenant, uids = counter.tenant, []
    order = await tenant.insert("orders")
    for position in range(2):
        part = await tenant.insert("fulfillment_orders", order_uid=order, position=position)
        item = await tenant.insert(
            "order_items", order_uid=order, sku_uid=counter.skus[offered], quantity=2, position=position
        )
        of = {"order_uid": order, "fulfillment_order_uid": part}
        await tenant.insert("fulfillment_order_items", order_item_uid=item, **of)
        uids.append(await counter.order(status="in-progress", **of))
    return uids


async def test_stock_is_locked_by_uid(
    pharmacy_client: httpx.AsyncClient, tenant: Tenant, cluster: embedded.Address
) -> None:
    """Whatever the order of items and rows: who waits for the last one holds the first one already."""
    counter = await open_counter(tenant)
    last, first = await counter.offer(uid="psku-b"), await counter.offer(uid="psku-a")
    uid = await counter.order((last, 1), (first, 1), status="in-progress")
    headers = await counter.headers()
    holder: Connection = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    await holder.execute(f"SET rxdesk.organisation_id = '{tenant.id}'")
    lock = "SELECT uid FROM pharmacy_skus WHERE organisation_id = $1 AND uid = $2 FOR UPDATE"
    try:
        async with holder.transaction():
            await holder.execute(lock, tenant.id, last)
            completing = asyncio.create_task(complete(pharmacy_client, uid, headers))
            # Asked outside the transaction, which would see the same moment again and again.
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"
            while not await tenant.connection.fetchval(waiting, holder.get_server_pid()):
                assert not completing.done(), "it did not wait"
                await asyncio.sleep(0.005)
            free = await tenant.rows(f"{lock} SKIP LOCKED", first)
        assert (await completing).status_code == 200
    finally:
        await holder.close()
    assert free == []


async def _patched(
    client: httpx.AsyncClient, path: str, body: object, headers: dict[str, str]
) -> httpx.Response:
    until = time.monotonic() + 30
    while True:
        answer = await client.patch(path, json=body, headers=headers)
        if answer.status_code != 503 or time.monotonic() > until:
            return answer
