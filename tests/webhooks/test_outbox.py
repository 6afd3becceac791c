"""Events are rows of the transaction that made them happen, in an order that no reader can miss one of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import asyncpg
import pytest
from tests.conftest import ENCRYPTION_KEYS
from tests.factories import Tenant
from tests.webhooks.engine import eventually

from rxdesk.access import Transaction, run_command
from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.jobs.queue import CHANNEL
from rxdesk.kit.sealing import Sealer, read_keys
from rxdesk.webhooks.outbox import emit

NOW = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
ORDER = {
    "uid": "po-1",
    "status": "init",
    "created_at": 1,
    "updated_at": 2,
    "patient_data": {"email": "a@b.c"},
}


def transaction(tenant: Tenant, connection: Connection) -> Transaction:
    return Transaction(connection, tenant.id, "operator", "test", NOW, Sealer(read_keys(ENCRYPTION_KEYS)))


async def write(
    tenant: Tenant, connection: Connection, command: Callable[[Transaction], Awaitable[None]]
) -> None:
    await tenant.enter()
    async with connection.transaction():
        await run_command(transaction(tenant, connection), command)


async def subscribe(tenant: Tenant, event_type: str = "pharmacy_order_created", **more: object) -> str:
    number = len(await tenant.rows("SELECT 1 FROM notification_subscriptions WHERE organisation_id = $1"))
    columns = {
        "uid": f"ns-{number:026d}",
        "notification_type": event_type,
        "target": f"https://example.com/{number}",
        "target_key": f"https://example.com/{number}",
        "payload_version": "1",
        "sealed_signing_secret": b"x",
        "full_data": True,
        "created_at": NOW,
        "actor_kind": "key",
        "actor_uid": "key-1",
        **more,
    }
    names = ", ".join(columns)
    places = ", ".join(f"${position}" for position in range(2, len(columns) + 2))
    await tenant.enter()
    await tenant.connection.execute(
        f"INSERT INTO notification_subscriptions (organisation_id, {names}) VALUES ($1, {places})",
        tenant.id,
        *columns.values(),
    )
    return str(columns["uid"])


@pytest.fixture
async def second(cluster: embedded.Address) -> AsyncIterator[Connection]:
    connection: Connection = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    yield connection
    await connection.close()


@pytest.fixture
async def onlooker(cluster: embedded.Address) -> AsyncIterator[Connection]:
    """A connection that has no part in what happens, and sees who waits."""
    connection: Connection = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    yield connection
    await connection.close()


async def test_an_event_is_stored_with_a_delivery_for_each_subscription(tenant: Tenant) -> None:
    wanted = await subscribe(tenant)
    await subscribe(tenant, "order_created")
    await subscribe(tenant, deactivated_at=NOW)
    await tenant.insert("pharmacies", uid="ph-1")
    await tenant.insert("pharmacies", uid="ph-2")
    theirs = await subscribe(tenant, pharmacy_uid="ph-1")
    await subscribe(tenant, pharmacy_uid="ph-2")

    async def command(tx: Transaction) -> None:
        emit(tx, "pharmacy_order_created", ORDER, pharmacy_uid="ph-1")

    await write(tenant, tenant.connection, command)
    [event] = await tenant.rows("SELECT * FROM events WHERE organisation_id = $1")
    assert event["subject_uid"] == "po-1"
    assert event["position"] == 1
    body = {
        "event_type": "pharmacy_order_created",
        "timestamp": 1772618400,
        "payload_version": "1",
        "data": ORDER,
    }
    assert json.loads(event["body"]) == body
    cut = {"uid": "po-1", "status": "init", "created_at": 1, "updated_at": 2}
    assert json.loads(event["cut_body"]) == {**body, "data": cut}
    deliveries = await tenant.rows("SELECT * FROM deliveries WHERE organisation_id = $1")
    assert {row["subscription_uid"] for row in deliveries} == {wanted, theirs}
    jobs = await tenant.rows("SELECT * FROM jobs WHERE organisation_id = $1")
    assert {row["uid"] for row in jobs} == {row["uid"] for row in deliveries}
    assert {(row["kind"], row["lane"], row["due_at"], row["worker_id"]) for row in jobs} == {
        ("delivery", "first", NOW, None)
    }
    assert all(len(row["uid"]) <= 64 for row in jobs)


async def test_what_is_undone_was_never_told(tenant: Tenant) -> None:
    await subscribe(tenant)

    async def command(tx: Transaction) -> None:
        emit(tx, "pharmacy_order_created", ORDER)
        for last in tx.before_commit:
            await last()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await write(tenant, tenant.connection, command)
    for table in ("events", "deliveries", "jobs", "event_streams"):
        assert await tenant.rows(f"SELECT 1 FROM {table} WHERE organisation_id = $1") == []


async def test_positions_become_visible_in_their_order(
    tenant: Tenant, second: Connection, onlooker: Connection
) -> None:
    """A reader that has seen position n will never find a smaller one that is new to it."""
    reached, go = asyncio.Event(), asyncio.Event()

    async def slow(tx: Transaction) -> None:
        emit(tx, "order_created", {"uid": "ord-slow"})
        tx.before_commit.append(wait)

    async def wait() -> None:
        reached.set()
        await go.wait()

    async def fast(tx: Transaction) -> None:
        emit(tx, "order_created", {"uid": "ord-fast"})

    await tenant.enter()
    await second.execute(f"SET rxdesk.organisation_id = '{tenant.id}'")
    first = asyncio.create_task(write(tenant, tenant.connection, slow))
    await reached.wait()
    waiting = second.get_server_pid()
    async with second.transaction():
        tx = transaction(tenant, second)
        await fast(tx)
        other = asyncio.ensure_future(tx.before_commit[0]())

        async def waits() -> bool:
            assert not other.done(), "it did not wait for its turn"
            return bool(
                await onlooker.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted", waiting
                )
            )

        await eventually(waits)
        go.set()
        await other
    await first
    rows = await tenant.rows(
        "SELECT subject_uid, position FROM events WHERE organisation_id = $1 ORDER BY position"
    )
    assert [tuple(row.values()) for row in rows] == [("ord-slow", 1), ("ord-fast", 2)]


async def test_workers_are_woken_when_there_is_something_to_deliver(
    tenant: Tenant, second: Connection
) -> None:
    heard: list[object] = []
    await second.add_listener(CHANNEL, lambda *arguments: heard.append(arguments[3]))

    async def command(tx: Transaction) -> None:
        emit(tx, "pharmacy_order_created", ORDER)

    await write(tenant, tenant.connection, command)
    await second.fetchval("SELECT 1")
    assert heard == [], "nobody has subscribed"
    await subscribe(tenant)
    await write(tenant, tenant.connection, command)
    await second.fetchval("SELECT 1")
    await asyncio.sleep(0)
    assert heard == ["delivery"]
