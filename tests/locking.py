"""The order in which a change locks rows, for tests that two changes do not wait for each other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
from tests.factories import Tenant

from rxdesk.db import embedded
from rxdesk.db.pool import Connection

Row = tuple[str, str]
"""A table and a uid."""
_LOCK = "SELECT FROM {} WHERE organisation_id = $1 AND uid = $2 FOR NO KEY UPDATE"
_BEHIND = """
WITH RECURSIVE behind AS (
  SELECT pg_backend_pid() AS pid
  UNION SELECT a.pid FROM pg_stat_activity a JOIN behind b ON b.pid = ANY (pg_blocking_pids(a.pid)))
SELECT count(*) - 1 FROM behind"""
_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"


async def until_waiting(connection: Connection, backends: int, *, seconds: float = 10) -> None:
    """Wait until so many backends wait for this connection's transaction, be it one behind another.

    Raises TimeoutError if they do not.
    """
    async with asyncio.timeout(seconds):
        while True:
            # A transaction sees the backends that there were when it first looked: not one that is connected since.
            await connection.execute("SELECT pg_stat_clear_snapshot()")
            if await connection.fetchval(_BEHIND) >= backends:
                return
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def made_to_wait(
    cluster: embedded.Address,
    statement: str,
    arguments: tuple[object, ...],
    change: Callable[[], Awaitable[None]],
) -> AsyncIterator[Connection]:
    """Have the change wait for a transaction of one statement, which is committed at the end; gives a connection."""
    blocker = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    other = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    try:
        blocking = blocker.transaction()
        await blocking.start()
        await blocker.execute(statement, *arguments)
        changing = asyncio.ensure_future(change())
        async with asyncio.timeout(10):
            while not await other.fetchval(_WAITS, blocker.get_server_pid()):
                assert not changing.done()
                await asyncio.sleep(0.01)
        try:
            yield other
        finally:
            await blocking.commit()
            await changing
    finally:
        await other.close()
        await blocker.close()


async def waits_with_nothing(
    cluster: embedded.Address,
    tenant: Tenant,
    first: Row,
    second: Row,
    change: Callable[[], Awaitable[None]],
) -> None:
    """Have the change wait for the first of two rows: the second one must be free until the first is had."""
    async with made_to_wait(cluster, _LOCK.format(first[0]), (tenant.id, first[1]), change) as other:
        await other.fetch(f"{_LOCK.format(second[0])} NOWAIT", tenant.id, second[1])
