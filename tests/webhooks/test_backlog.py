"""A million deliveries wait: claims cost what they cost with a thousand, and a worker needs no more memory."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import asyncpg
import psutil
import pytest
from tests.conftest import migrated
from tests.factories import Tenant, make_tenant
from tests.webhooks.engine import EVENT, Receiver, receiving, subscribe
from tests.webhooks.kills import WorkerProcess

from rxdesk.db import embedded
from rxdesk.db.pool import Connection, connector
from rxdesk.jobs import queue
from rxdesk.jobs.session import Session, open_session
from rxdesk.webhooks.outbox import KIND

PLACES = 100


@pytest.fixture
def own_cluster() -> Iterator[embedded.Address]:
    """A database of this test alone, since a million rows would slow the others."""
    with migrated() as address:
        yield address


async def pile_up(address: embedded.Address, tenant: Tenant, first: int, events: int) -> None:
    """Let so many events have happened, of 1 KB, each with a delivery to every subscription."""
    await tenant.enter()
    execute = tenant.connection.execute
    await execute(
        "INSERT INTO events (organisation_id, uid, position, event_type, subject_uid, occurred_at, body, actor_kind, "
        "actor_uid) SELECT $1, 'evt-' || lpad(n::text, 26, '0'), n, $4::text, 'ord-' || n, now(), "
        "convert_to(json_build_object('event_type', $4::text, 'data', repeat('x', 1000))::text, 'UTF8'), 'system', "
        "'test' FROM generate_series($2::int, $3::int) n",
        tenant.id,
        first,
        first + events - 1,
        EVENT,
    )
    await execute(
        "INSERT INTO deliveries (organisation_id, uid, subscription_uid, event_uid, status, next_attempt_at, "
        "created_at) "
        "SELECT $1, 'dlv-' || substr(e.uid, 5) || '.' || substr(n.uid, 4), n.uid, e.uid, 'pending', now(), now() "
        "FROM events e JOIN notification_subscriptions n ON n.organisation_id = $1 "
        "WHERE e.organisation_id = $1 AND e.position >= $2",
        tenant.id,
        first,
    )
    await execute(
        "INSERT INTO jobs (organisation_id, uid, kind, lane, endpoint, due_at) "
        "SELECT $1, d.uid, $2, 'first', hashtextextended(n.target_key, 0), now() FROM deliveries d "
        "JOIN notification_subscriptions n ON n.organisation_id = $1 AND n.uid = d.subscription_uid "
        "JOIN events e ON e.organisation_id = $1 AND e.uid = d.event_uid AND e.position >= $3 "
        "WHERE d.organisation_id = $1",
        tenant.id,
        KIND,
        first,
    )
    owner = await asyncpg.connect(**address.connect_args(embedded.OWNER))
    for table in ("jobs", "deliveries", "events"):
        await owner.execute(f"VACUUM ANALYZE {table}")
    await owner.close()


async def claim_milliseconds(session: Session) -> list[float]:
    """How long a claim takes when nothing else is in its way: the fastest tenth of 100, five times.

    What is claimed is given back, so that as much waits as before; and each claim leaves its dead entries in the
    index, which the next ones step over until they are vacuumed away, as a worker's do.
    """
    cursor = queue.BEFORE_ALL
    found: list[float] = []
    now = datetime.now(UTC)
    for _ in range(5):
        took = []
        for _ in range(100):
            begun = time.perf_counter()
            claimed = await queue.claim(
                session.connection,
                KIND,
                "first",
                wanted=48,
                cursor=cursor,
                worker=session.number,
                now=now,
                lease_until=now + timedelta(minutes=1),
            )
            took.append(time.perf_counter() - begun)
            assert len(claimed.claims) == 48 or claimed.cursor == queue.BEFORE_ALL
            cursor = claimed.cursor
            await queue.give_back(session.connection, KIND, claimed.claims, not_before=now)
        found.append(round(statistics.quantiles(took, n=10)[0] * 1000, 2))
    return found


async def memory(process: WorkerProcess, receiver: Receiver, count: int) -> float:
    """Megabytes that the worker holds once so many more posts have come."""
    await receiver.got(len(receiver.posts) + count, 120)
    return psutil.Process(process.process.pid).memory_info().rss / 1e6


@pytest.mark.proof
async def test_a_million_wait(
    own_cluster: embedded.Address, record_property: Callable[[str, object], None]
) -> None:
    connection: Connection = await asyncpg.connect(**own_cluster.connect_args(embedded.APP))
    tenant = await make_tenant(connection)
    connect = connector(own_cluster.connect_args(embedded.APP), statement_seconds=5, name="backlog")
    session = await open_session(connect, lambda: None)
    async with receiving() as receiver:
        for number in range(PLACES):
            await subscribe(tenant, receiver.url(f"/{number}"))
        await pile_up(own_cluster, tenant, 1, 10)
        few = await claim_milliseconds(session)
        await pile_up(own_cluster, tenant, 11, 9_990)
        [row] = await tenant.rows("SELECT count(*) AS n FROM jobs WHERE organisation_id = $1")
        assert row["n"] == 1_000_000
        many = await claim_milliseconds(session)
        session.end()
        process = WorkerProcess(own_cluster)
        try:
            begun, before = time.monotonic(), len(receiver.posts)
            held = [await memory(process, receiver, 5_000) for _ in range(6)]
            rate = (len(receiver.posts) - before) / (time.monotonic() - begun)
        finally:
            await asyncio.to_thread(process.end)
    record_property("claim_ms_of_1000", few)
    record_property("claim_ms_of_1000000", many)
    record_property("worker_mb", [round(one, 1) for one in held])
    record_property("deliveries_a_second", round(rate))
    await connection.close()
    assert min(many) <= min(few) / 0.8
    assert max(held) <= held[0] * 1.1
