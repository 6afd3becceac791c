"""Many workers get their connections: the embedded PostgreSQL gives so many, and `rxdesk check` counts them."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import asyncpg
from tests.cli.processes import serving
from tests.cli.test_check_deliveries import look

from rxdesk.db import embedded
from rxdesk.db.pool import Connection


async def _given(folder: Path, count: int) -> int:
    """Open so many connections as the serving role; give how many were had."""
    address = embedded.running(folder)
    assert address is not None
    had = 0
    async with contextlib.AsyncExitStack() as open_ones:
        with contextlib.suppress(asyncpg.TooManyConnectionsError):
            while had < count:
                connection: Connection = await asyncpg.connect(**address.connect_args(embedded.APP))
                open_ones.push_async_callback(connection.close)
                had += 1
    return had


def test_as_many_connections_as_the_workers_may_open(copy: Path) -> None:
    demo = ("demo", "--data-dir", copy, "--port", 0)
    with serving(*demo, RXDESK_WORKERS="2", RXDESK_DATABASE_POOL_SIZE="60"):  # 2 x (60 + 1) + 61
        assert asyncio.run(_given(copy, 170)) == 170
        found = look(copy, "connections", RXDESK_WORKERS="2", RXDESK_DATABASE_POOL_SIZE="60")
        assert found["ok"]
        assert found["message"].startswith("183 at most: 2 workers of 61 and 61 for deliveries, of 20")


def test_a_server_that_was_started_for_fewer(copy: Path) -> None:
    with serving("demo", "--data-dir", copy, "--port", 0):
        assert look(copy, "connections") == {
            "name": "connections",
            "ok": True,
            "message": "18 at most: 1 worker of 9 and 9 for deliveries, of 97 that PostgreSQL gives",
        }
        found = look(copy, "connections", RXDESK_WORKERS="30")
        assert not found["ok"]
        assert found["message"] == (
            "159 at most: 30 workers of 5 and 9 for deliveries, and PostgreSQL gives 97: start `serve` anew, "
            "which lets it give more, or set fewer workers or a smaller database_pool_size"
        )


def test_a_server_that_is_not_started_yet(copy: Path) -> None:
    found = look(copy, "connections", RXDESK_WORKERS="30")
    assert found["ok"], "started for 30, it will give enough"
    assert found["message"] == (
        "159 at most: 30 workers of 5 and 9 for deliveries; `serve` starts PostgreSQL for as many"
    )


def test_one_s_own_postgresql_may_have_a_pooler_before_it(copy: Path) -> None:
    with serving("demo", "--data-dir", copy, "--port", 0):
        address = embedded.running(copy)
        assert address is not None
        url = address.url(embedded.APP)
        found = look(copy, "connections", RXDESK_WORKERS="30", RXDESK_DATABASE_URL=url)
        assert found["ok"]
        assert found["message"] == (
            "159 at most: 30 workers of 5 and 9 for deliveries, and PostgreSQL gives 97: too few, unless a pooler "
            "stands before it. Raise max_connections, or set fewer workers or a smaller database_pool_size"
        )


def test_the_log_tells_how_many_a_worker_has(copy: Path) -> None:
    with serving("serve", "--data-dir", copy, "--port", 0, "--workers", 2) as it:
        assert it.stop() == 0
        assert '"connections":4' in it.errors.read_text()
