"""A delivery that is armed anew while it is in flight: what is under way does not undo it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from tests.conftest import FixedClock
from tests.factories import Tenant
from tests.webhooks.engine import Post, answering, command, eventually, happen, receiving, subscribe, worker

from rxdesk.access import Transaction
from rxdesk.db import embedded
from rxdesk.webhooks import redelivery
from rxdesk.webhooks.log_schemas import Replay

pytestmark = pytest.mark.usefixtures("queue")


async def delivery(tenant: Tenant) -> tuple[str, int, int]:
    [row] = await tenant.rows("SELECT * FROM deliveries WHERE organisation_id = $1")
    return row["status"], row["attempts"], row["attempted"]


@pytest.mark.parametrize("before", [0, 1, 9])
@pytest.mark.parametrize("status", [500, 200])
async def test_retried_while_in_flight(
    cluster: embedded.Address, tenant: Tenant, before: int, status: int
) -> None:
    """A failure is followed by another attempt at once, also when it was the last of its schedule."""
    go, clock = asyncio.Event(), FixedClock(datetime.now(UTC))

    async def answer(post: Post) -> bytes:
        if len(receiver.posts) > 1:
            return await answering(500)(post)
        await go.wait()
        return await answering(status)(post)

    async with receiving(answer) as receiver:
        await subscribe(tenant, receiver.url())
        await happen(tenant, now=clock())
        [row] = await tenant.rows(
            "UPDATE deliveries SET attempts = $2, attempted = $2 WHERE organisation_id = $1 RETURNING uid",
            before,
        )
        async with worker(cluster, clock=clock):
            await receiver.got(1)
            clock.moment += timedelta(seconds=1)
            await command(tenant, lambda tx: redelivery.retry(tx, row["uid"]), clock())
            go.set()
            if status == 500:
                await receiver.got(2)  # a retry of the schedule never comes: the clock stands

            async def recorded() -> bool:
                return (await delivery(tenant))[2] == before + (2 if status == 500 else 1)

            await eventually(recorded)
        assert await delivery(tenant) == (
            ("pending", 1, before + 2) if status == 500 else ("delivered", 1, before + 1)
        )
        jobs = await tenant.rows("SELECT lane, worker_id FROM jobs WHERE organisation_id = $1")
        assert [(job["lane"], job["worker_id"]) for job in jobs] == (
            [("retry", None)] if status == 500 else []
        )


async def test_replayed_while_in_flight(cluster: embedded.Address, tenant: Tenant) -> None:
    go, clock = asyncio.Event(), FixedClock(datetime.now(UTC))

    async def answer(post: Post) -> bytes:
        await go.wait()
        return await answering(500 if len(receiver.posts) == 1 else 200)(post)

    async with receiving(answer) as receiver:
        uid, _ = await subscribe(tenant, receiver.url())
        begun = int(clock().timestamp())
        await happen(tenant, now=clock())
        await tenant.rows(
            "UPDATE deliveries SET attempts = 9, attempted = 9 WHERE organisation_id = $1 RETURNING 1"
        )
        async with worker(cluster, clock=clock):
            await receiver.got(1)
            clock.moment += timedelta(seconds=1)
            wanted = Replay(subscription_uid=uid, since=begun)
            assert (await command(tenant, lambda tx: redelivery.replay(tx, wanted), clock())).armed == 1
            go.set()
            await receiver.got(2)  # a retry of the schedule never comes: the clock stands

            async def delivered() -> bool:
                return await delivery(tenant) == ("delivered", 1, 11)

            await eventually(delivered)


@pytest.mark.parametrize("status", [500, 200])
async def test_retried_while_it_is_recorded(cluster: embedded.Address, tenant: Tenant, status: int) -> None:
    """The record waits for a retry that is not committed yet, and then takes the delivery as that has left it."""
    go = asyncio.Event()

    async def answer(post: Post) -> bytes:
        await go.wait()
        return await answering(status if len(receiver.posts) == 1 else 200)(post)

    async def waits_for_a_lock() -> bool:
        waits: bool = await watching.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return waits

    watching = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    async with receiving(answer) as receiver:
        await subscribe(tenant, receiver.url())
        await happen(tenant)
        [row] = await tenant.rows("SELECT uid FROM deliveries WHERE organisation_id = $1")
        async with worker(cluster):
            await receiver.got(1)
            armed, commit = asyncio.Event(), asyncio.Event()

            async def retry(tx: Transaction) -> None:
                await redelivery.retry(tx, row["uid"])
                armed.set()
                await commit.wait()

            retrying = asyncio.create_task(command(tenant, retry))
            await armed.wait()
            go.set()
            await eventually(waits_for_a_lock)
            commit.set()
            await retrying
            attempts = 2 if status == 500 else 1

            async def recorded() -> bool:
                return (await delivery(tenant))[2] == attempts

            await eventually(recorded)
        assert await delivery(tenant) == ("delivered", 1, attempts)
    await watching.close()
