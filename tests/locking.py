"""The order in which a change locks rows, for tests that two changes do not wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
from tests.factories import Tenant

from rxdesk.db import embedded

_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"


async def waits_with_nothing(
    cluster: embedded.Address,
    tenant: Tenant,
    table: str,
    uids: tuple[str, str],
    change: Callable[[], Awaitable[None]],
) -> None:
    """Have the change wait for the first of two rows: the second one must be free until the first is had."""
    first, second = uids
    lock = f"SELECT FROM {table} WHERE organisation_id = $1 AND uid = $2 FOR NO KEY UPDATE"
    blocker = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    other = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    try:
        blocking = blocker.transaction()
        await blocking.start()
        await blocker.fetch(lock, tenant.id, first)
        changing = asyncio.ensure_future(change())
        async with asyncio.timeout(10):
            while not await other.fetchval(_WAITS, blocker.get_server_pid()):
                assert not changing.done()
                await asyncio.sleep(0.01)
        try:
            await other.fetch(f"{lock} NOWAIT", tenant.id, second)
        finally:
            await blocking.rollback()
            await changing
    finally:
        await other.close()
        await blocker.close()
