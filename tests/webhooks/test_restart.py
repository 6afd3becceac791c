"""PostgreSQL is killed under deliveries, at once and without a goodbye: nothing is lost, and work goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from tests.factories import make_tenant
from tests.webhooks.engine import Post, answering, eventually, happen, receiving, worker
from tests.webhooks.kills import subscribe_places, tally

from rxdesk.db import embedded, migrate
from rxdesk.db.location import Kept


async def restart(data_dir: Path, *, deliveries: int, restarts: int) -> list[float]:
    """Deliver while the database is restarted again and again; gives the seconds until work went on."""
    kept = Kept(data_dir, purpose="tests", say=lambda _: None)
    gaps: list[float] = []
    try:
        kept.watch(lambda *_, **__: None)
        await migrate.migrate(kept.address.connect_args(embedded.OWNER))
        owner = await asyncpg.connect(**kept.address.connect_args(embedded.OWNER))
        await migrate.grant(owner, embedded.APP)
        await owner.close()
        connection = await asyncpg.connect(**kept.address.connect_args(embedded.APP))
        tenant = await make_tenant(connection)

        async def answer(post: Post) -> bytes:
            await asyncio.sleep(0.02)
            return await answering()(post)

        async with receiving(answer) as receiver:
            await subscribe_places(tenant, receiver)
            await happen(tenant, deliveries // 16)
            async with worker(kept.address, worker_concurrency=32):
                for number in range(1, restarts + 1):
                    await receiver.got(deliveries * number // (restarts + 1), 30)
                    pid = kept.pid
                    os.kill(pid, signal.SIGQUIT)
                    await eventually(lambda pid=pid: kept.pid != pid)  # type: ignore[misc] # the loop's
                    await eventually(lambda: reached(kept.address))
                    up, before = time.monotonic(), len(receiver.posts)
                    await eventually(lambda before=before: len(receiver.posts) > before)  # type: ignore[misc] # as above
                    gaps.append(time.monotonic() - up)
                tenant = type(tenant)(
                    tenant.organisation, await asyncpg.connect(**kept.address.connect_args(embedded.APP))
                )

                async def none_left() -> bool:
                    return not await tenant.rows("SELECT 1 FROM jobs WHERE organisation_id = $1 LIMIT 1")

                await eventually(none_left, 30)
            found = await tally(tenant, receiver, 0)
            assert found.lost == 0
            assert found.bytes_differ == 0
            assert found.doubled <= restarts * 32
            await tenant.connection.close()
    finally:
        kept.stop()
    return gaps


async def reached(address: embedded.Address) -> bool:
    try:
        connection = await asyncpg.connect(**address.connect_args(embedded.APP))
    except (OSError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True


async def test_nothing_is_lost_when_postgresql_dies(tmp_path: Path) -> None:
    await restart(tmp_path, deliveries=960, restarts=2)


@pytest.mark.proof
async def test_ten_restarts(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    longest = max(await restart(tmp_path, deliveries=4800, restarts=10))
    record_property("longest_recovery_seconds", round(longest, 2))
    assert longest < 3
