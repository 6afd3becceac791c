"""One receiver that hangs delays nobody else."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest
from tests.factories import Tenant, make_tenant
from tests.webhooks.engine import Post, answering, eventually, happen, receiving, subscribe, worker

from rxdesk import working
from rxdesk.db import embedded

pytestmark = pytest.mark.usefixtures("queue")
# Seconds that a delivery may take, and in which all that does not wait for one is done.
DEADLINE, BEFORE = 30.0, 25.0


async def hang(post: Post) -> bytes:
    await asyncio.sleep(4 * DEADLINE)
    return await answering()(post)


def patient(cluster: embedded.Address) -> AbstractAsyncContextManager[working.Composed]:
    """A worker that waits long for an answer."""
    return worker(cluster, worker_concurrency=16, stop_seconds=0.1, delivery_timeout_seconds=DEADLINE)


async def test_a_hanging_receiver_delays_nobody_else(cluster: embedded.Address, tenant: Tenant) -> None:
    """It has a hundred deliveries due before all others, and is given four at once."""

    async with receiving(hang) as hanging, receiving() as well:
        await subscribe(tenant, hanging.url(), "order_created")
        for number in range(10):
            await subscribe(tenant, well.url(f"/{number}"))
        await happen(tenant, 100, "order_created")
        async with patient(cluster):
            await hanging.got(4)
            await happen(tenant, 20)
            await well.got(200, BEFORE)
            assert hanging.busiest == 4
            assert len(hanging.posts) == 4


async def test_endpoints_of_one_organisation_that_hang_do_not_delay_another(
    cluster: embedded.Address, tenant: Tenant
) -> None:
    """Fourteen of them have twenty deliveries each, which would fill every slot."""
    other = await make_tenant(tenant.connection)
    async with receiving(hang) as hanging, receiving() as well:
        for number in range(14):
            await subscribe(tenant, hanging.url(f"/{number}"))
        await subscribe(other, well.url())
        await happen(tenant, 20)
        async with patient(cluster):
            await hanging.got(9)
            await happen(other)
            await well.got(1, BEFORE)
            assert hanging.busiest == 9, "three quarters of twelve"


async def test_an_endpoint_that_hung_has_one_in_flight(cluster: embedded.Address, tenant: Tenant) -> None:
    """It takes one at a time from its first time-out on, until it answers."""
    well_again = asyncio.Event()
    seen: set[int] = set()

    async def late(post: Post) -> bytes:
        await well_again.wait()
        seen.add(composed.worker.in_flight)
        return await answering(seconds=0.02)(post)

    async with receiving(late) as hanging:
        await subscribe(tenant, hanging.url())
        await happen(tenant, 30)
        async with worker(cluster, worker_concurrency=16, delivery_timeout_seconds=0.5) as composed:
            await hanging.got(5)
            await eventually(lambda: composed.worker.in_flight == 1)
            await hanging.got(6)
            assert composed.worker.in_flight == 1
            well_again.set()
            await eventually(lambda: 4 in seen)


async def test_retries_do_not_delay_first_attempts(cluster: embedded.Address, tenant: Tenant) -> None:
    """Six dead places have hundreds of retries due, which hang; a quarter of the slots is theirs, no more."""
    async with receiving(hang) as hanging, receiving() as well:
        for number in range(6):
            await subscribe(tenant, hanging.url(f"/{number}"), "order_created")
        await subscribe(tenant, well.url())
        await happen(tenant, 20, "order_created")
        await tenant.connection.execute("UPDATE jobs SET lane = 'retry'")
        async with patient(cluster):
            await hanging.got(3)
            await happen(tenant, 50)
            await well.got(50, BEFORE)
        assert hanging.busiest == 3, "and of that quarter three quarters are one organisation's"


async def test_a_large_organisation_does_not_delay_a_small_one(
    cluster: embedded.Address, tenant: Tenant
) -> None:
    small = await make_tenant(tenant.connection)
    async with receiving(answering(seconds=0.01)) as large_one, receiving() as small_one:
        for number in range(30):
            await subscribe(tenant, large_one.url(f"/{number}"))
        await subscribe(small, small_one.url())
        await happen(tenant, 40)
        async with worker(cluster, worker_concurrency=16):
            await large_one.got(20)
            await happen(small)
            before = len(large_one.posts)
            await small_one.got(1)
            assert len(large_one.posts) - before < 300, "its turn came long before the other's end"

            async def none_left() -> bool:
                return not await tenant.connection.fetchval("SELECT count(*) FROM jobs")

            await eventually(none_left, 20)
        assert len(large_one.posts) == 1200


async def test_two_workers_share_and_nothing_comes_twice(cluster: embedded.Address, tenant: Tenant) -> None:
    async with receiving(answering(seconds=0.005)) as receiver:
        for number in range(8):
            await subscribe(tenant, receiver.url(f"/{number}"))
        await happen(tenant, 50)
        places: dict[str, int] = {}

        async with worker(cluster) as first, worker(cluster) as second:
            await receiver.got(400)
            assert first.worker.in_flight + second.worker.in_flight <= 8 * 4

            async def none_left() -> bool:
                return not await tenant.connection.fetchval("SELECT count(*) FROM jobs")

            await eventually(none_left, 20)
        for post in receiver.posts:
            places[post.id + post.path] = places.get(post.id + post.path, 0) + 1
    assert len(places) == 400
    assert set(places.values()) == {1}
    assert receiver.busiest <= 32
