"""PostgreSQL refuses a further connection, because it has too many: the pool does with those that it has."""

# ruff: noqa: SLF001, ASYNC110 (looks inside; asks another process)

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.conftest import UNSAFE
from tests.db.pools import LONG, Opened, open_pool, use
from tests.webhooks.engine import eventually

from rxdesk.db import embedded, pool
from rxdesk.db.pool import Connection, DatabaseUnavailableError

SIZE = 8
LIMIT = 2


@pytest.fixture(scope="module")
def alone() -> Iterator[embedded.Address]:
    """A PostgreSQL on which only these tests have connections as the app's role."""
    with (
        tempfile.TemporaryDirectory(prefix="rxdesk-tests-") as folder,
        embedded.start(Path(folder), purpose="tests", settings=UNSAFE) as server,
    ):
        yield server.address


@pytest.fixture
async def administrator(alone: embedded.Address) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(**alone.connect_args(embedded.SUPERUSER))
    yield connection
    await _limit(connection, -1)
    await connection.close()


@pytest.fixture
async def limited(alone: embedded.Address, administrator: Connection) -> AsyncIterator[Opened]:
    """A pool that waits for as long as a test may take, of a role that may have fewer connections than the pool."""
    async with asyncio.timeout(LONG):
        while await _backends(administrator):  # those of the test before
            await asyncio.sleep(0.01)
    await _limit(administrator, LIMIT)
    opened = open_pool(alone, SIZE, wait_seconds=LONG)
    yield opened
    await opened.pool.close()
    assert opened.pool._asking is None


async def _limit(administrator: Connection, most: int) -> None:
    await administrator.execute(f"ALTER ROLE {embedded.APP} CONNECTION LIMIT {most}")


async def _backends(administrator: Connection) -> int:
    counted: int = await administrator.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", embedded.APP
    )
    return counted


@contextlib.asynccontextmanager
async def _held(opened: Opened, count: int = LIMIT) -> AsyncIterator[list[contextlib.AsyncExitStack]]:
    """Have so many connections in use; each is given back when its stack is closed, or at the end."""
    async with contextlib.AsyncExitStack() as all_of_them:
        stacks = []
        for _ in range(count):
            stack = await all_of_them.enter_async_context(contextlib.AsyncExitStack())
            await stack.enter_async_context(opened.pool.acquire(1, timeout_seconds=LONG))
            stacks.append(stack)
        yield stacks


def _requests(opened: Opened, count: int, served: list[int]) -> list[asyncio.Task[None]]:
    async def one(number: int) -> None:
        await use(opened.pool, 1, seconds=LONG)
        served.append(number)

    return [asyncio.create_task(one(number)) for number in range(count)]


async def _rest(opened: Opened, *, held: int = 0) -> None:
    """See that nobody waits, and that the pool counts the connections that there are, but for an attempt under way."""
    its = opened.pool
    await eventually(
        lambda: (
            not its._waiting
            and len(its._in_use) == held
            and its._open == len(its._idle) + held == opened.alive()
        )
    )


async def test_who_is_refused_a_connection_has_the_next_that_comes_free(limited: Opened) -> None:
    async with _held(limited) as held:
        task = asyncio.create_task(use(limited.pool, 2, seconds=LONG))
        await eventually(lambda: limited.refused > 0)
        await asyncio.sleep(0)
        assert not task.done()
        await held[0].aclose()
        assert (await task)[0] == "2"
    await _rest(limited)
    assert len(limited.connections) == LIMIT


async def test_they_are_served_in_the_order_of_coming(limited: Opened) -> None:
    """Those that tried to open one, and may be refused in any order, before those that came when no place was left."""
    served: list[int] = []
    async with _held(limited) as held:
        tasks = _requests(limited, SIZE * 3, served)
        await eventually(lambda: limited.refused >= SIZE - LIMIT)
        await held[0].aclose()
        await asyncio.gather(*tasks)
    assert served == list(range(SIZE * 3))
    await _rest(limited)
    assert len(limited.connections) == LIMIT


async def test_postgresql_is_not_asked_again_by_each_request(
    alone: embedded.Address, limited: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "REFUSED_SECONDS", LONG)
    brief = open_pool(alone, SIZE, wait_seconds=0.01)
    async with _held(limited, LIMIT - 1), _held(brief, 1):
        for _ in range(20):
            with pytest.raises(DatabaseUnavailableError):
                await use(brief.pool, 1, seconds=LONG)
    assert brief.refused == 1
    await brief.pool.close()


async def test_nobody_waits_longer_than_for_a_connection_in_use(
    alone: embedded.Address, limited: Opened
) -> None:
    brief = open_pool(alone, SIZE, wait_seconds=0.2)
    async with _held(limited, LIMIT - 1), _held(brief, 1):
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError):
                await use(brief.pool, 1, seconds=LONG)
        assert brief.refused > 0
        assert not await brief.pool.answers(0.05)
    await _rest(brief)
    assert (await use(brief.pool, 1, seconds=LONG))[0] == "1"
    await brief.pool.close()


@pytest.mark.parametrize("count", [1, 20])
async def test_without_any_open_connection_nobody_waits(
    administrator: Connection, limited: Opened, count: int
) -> None:
    await _limit(administrator, 0)
    tasks = _requests(limited, count, [])
    async with asyncio.timeout(LONG / 2):
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ends} == {DatabaseUnavailableError}
    await _rest(limited)
    await _limit(administrator, LIMIT)
    assert (await use(limited.pool, 1, seconds=LONG))[0] == "1"


async def test_those_that_leave_take_nothing_along(administrator: Connection, limited: Opened) -> None:
    async with _held(limited):
        for when in (0, 1, SIZE - LIMIT):  # while they open, between, and while they wait
            before = limited.refused
            tasks = _requests(limited, SIZE * 2, [])
            await asyncio.sleep(0)
            await eventually(lambda: limited.refused >= before + when)  # noqa: B023 (called in this very round)
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(end) for end in ends} == {asyncio.CancelledError}
            await eventually(lambda: limited.pool._asking is None)
            await _rest(limited, held=LIMIT)
    await _rest(limited)
    assert await _backends(administrator) == LIMIT
    assert (await use(limited.pool, 3, seconds=LONG))[0] == "3"


async def test_it_grows_again_when_postgresql_has_room(administrator: Connection, limited: Opened) -> None:
    """Also while all that it has are in use for long."""
    async with _held(limited):
        served: list[int] = []
        tasks = _requests(limited, SIZE * 2, served)
        await eventually(lambda: limited.refused >= SIZE - LIMIT)
        await _limit(administrator, -1)
        await asyncio.gather(*tasks)
        assert limited.pool._open > LIMIT
        async with _held(limited, SIZE - LIMIT):
            assert limited.pool._open == SIZE
    await _rest(limited)


async def test_a_connection_that_is_lost_meanwhile_is_replaced(
    administrator: Connection, limited: Opened
) -> None:
    async with _held(limited) as held:
        served: list[int] = []
        tasks = _requests(limited, SIZE * 2, served)
        await eventually(lambda: limited.refused >= SIZE - LIMIT)
        pid = limited.connections[0].get_server_pid()
        assert await administrator.fetchval("SELECT pg_terminate_backend($1, 2000)", pid)
        await eventually(limited.connections[0].is_closed)
        await held[0].aclose()
        await asyncio.gather(*tasks)
        assert sorted(served) == list(range(SIZE * 2))
    await _rest(limited)
    assert limited.pool._open == LIMIT


async def test_no_turn_is_lost_whoever_leaves_when(administrator: Connection, limited: Opened) -> None:
    """Requests that are cancelled, end in an error or are served, under a limit that comes and goes."""
    chance = random.Random(1)
    async with _held(limited, 1):  # so that nobody finds the pool without any
        for _ in range(30):
            await _limit(administrator, chance.choice((1, 2, 3, -1)))
            tasks = [asyncio.create_task(_any_use(limited, chance.random())) for _ in range(SIZE * 2)]
            for task in chance.sample(tasks, SIZE):
                await asyncio.sleep(chance.choice((0, 0, 0.001, 0.004)))
                task.cancel()
            await _limit(administrator, -1)
            async with asyncio.timeout(LONG / 2):
                ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(end) for end in ends} <= {type(None), asyncio.CancelledError, ValueError}
            await _rest(limited, held=1)
    await _rest(limited)


async def _any_use(opened: Opened, chance: float) -> None:
    async with opened.pool.acquire(1 + int(chance * 3), timeout_seconds=LONG) as connection:
        await connection.fetchval("SELECT pg_sleep($1)", chance / 100)
        if chance < 0.2:
            raise ValueError
