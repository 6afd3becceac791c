"""The pool: a match is preferred, nobody overtakes or waits for ever, and what ended badly is closed."""

# ruff: noqa: SLF001, PT012, ASYNC110 (looks inside; the block under `raises` is the use; asks another process)

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.conftest import settings_for
from tests.db.pools import LONG, Opened, open_pool, use

from rxdesk import errors
from rxdesk.db import embedded
from rxdesk.db.pool import Connection, DatabaseUnavailableError, Pool


@pytest.fixture
async def two(cluster: embedded.Address) -> AsyncIterator[Opened]:
    opened = open_pool(cluster, 2)
    yield opened
    await opened.pool.close()


async def test_a_connection_set_to_the_organisation_is_preferred(two: Opened) -> None:
    async with two.pool.acquire(1, timeout_seconds=LONG), two.pool.acquire(2, timeout_seconds=LONG):
        pass
    first, second = await use(two.pool, 1), await use(two.pool, 2)
    assert (first[0], second[0]) == ("1", "2")
    assert first[1] != second[1]
    for _ in range(3):
        assert await use(two.pool, 1) == first
        assert await use(two.pool, 2) == second
    assert (await use(two.pool, 3))[0] == "3"
    assert len(two.connections) == 2


async def test_the_setting_costs_one_statement_and_only_at_a_change(two: Opened) -> None:
    seen: list[str] = []
    async with two.pool.acquire(1, timeout_seconds=LONG) as connection:
        connection.add_query_logger(lambda record: seen.append(record.query))
    for organisation in (1, 1, 2, 2, 2, 1):
        async with two.pool.acquire(organisation, timeout_seconds=LONG):
            pass
    await asyncio.sleep(0)
    assert seen == ["SET rxdesk.organisation_id = '2'", "SET rxdesk.organisation_id = '1'"]


async def test_who_finds_none_is_told_after_the_wait(two: Opened) -> None:
    async with two.pool.acquire(1, timeout_seconds=LONG), two.pool.acquire(1, timeout_seconds=LONG):
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailableError):
            await use(two.pool, 1)
        assert 0.09 < time.monotonic() - started < LONG / 2, "before the time of those who have one is over"
        assert not await two.pool.answers(0.5)
    assert await two.pool.answers(LONG)


async def test_writers_never_have_all_connections(cluster: embedded.Address) -> None:
    """However many wait for one row's lock, readers are answered."""
    opened = open_pool(cluster, 4, wait_seconds=0.1)
    async with contextlib.AsyncExitStack() as stack:
        for organisation in (1, 1, 2):
            await stack.enter_async_context(opened.pool.acquire_to_write(organisation, timeout_seconds=LONG))
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailableError):
            async with opened.pool.acquire_to_write(1, timeout_seconds=LONG):
                pass
        assert 0.09 < time.monotonic() - started < LONG / 2
        assert (await use(opened.pool, 2))[0] == "2"
    async with opened.pool.acquire_to_write(1, timeout_seconds=LONG):
        pass
    assert opened.alive() == 4
    await opened.pool.close()


async def test_first_come_first_served(cluster: embedded.Address) -> None:
    opened = open_pool(cluster, 1, wait_seconds=LONG)
    served: list[int] = []

    async def one(number: int) -> None:
        async with opened.pool.acquire(1, timeout_seconds=LONG):
            served.append(number)
            await asyncio.sleep(0)

    async with opened.pool.acquire(1, timeout_seconds=LONG):
        tasks = [asyncio.create_task(one(number)) for number in range(20)]
        await asyncio.sleep(0.01)
        tasks[3].cancel()
        tasks[7].cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert served == [number for number in range(20) if number not in (3, 7)]
    assert opened.alive() == 1
    await opened.pool.close()


async def test_a_waiter_that_leaves_as_its_turn_comes_passes_it_on(cluster: embedded.Address) -> None:
    opened = open_pool(cluster, 1, wait_seconds=LONG)
    async with opened.pool.acquire(1, timeout_seconds=LONG):
        first, second = [asyncio.create_task(use(opened.pool, 1)) for _ in range(2)]
        await asyncio.sleep(0.01)
    first.cancel()  # its turn has come, and it has not run since
    assert (await asyncio.wait_for(second, LONG))[0] == "1"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert opened.pool._open == len(opened.pool._idle) == 1
    await opened.pool.close()


@pytest.mark.parametrize("fault", [asyncpg.DivisionByZeroError, ValueError, asyncio.CancelledError])
async def test_what_ends_in_an_error_is_closed(two: Opened, fault: type[BaseException]) -> None:
    with pytest.raises(fault):
        async with two.pool.acquire(1, timeout_seconds=LONG) as connection:
            if fault is asyncpg.DivisionByZeroError:
                await connection.fetchval("SELECT 1 / 0")
            raise fault
    assert two.alive() == 0
    assert (await use(two.pool, 2))[0] == "2"


async def test_a_rule_s_refusal_keeps_the_connection(two: Opened) -> None:
    with pytest.raises(errors.ApiError):
        async with two.pool.acquire(1, timeout_seconds=LONG) as connection, connection.transaction():
            raise errors.not_found()
    assert two.alive() == 1
    await use(two.pool, 1)
    assert len(two.connections) == 1


async def test_an_open_transaction_is_never_given_on(two: Opened) -> None:
    async with two.pool.acquire(1, timeout_seconds=LONG) as connection:
        await connection.execute("BEGIN")
    assert two.alive() == 0
    with pytest.raises(errors.ApiError):
        async with two.pool.acquire(1, timeout_seconds=LONG) as connection:
            await connection.execute("BEGIN")
            raise errors.not_found()
    assert two.alive() == 0


async def test_the_whole_use_is_bounded(two: Opened) -> None:
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailableError):
        async with two.pool.acquire(1, timeout_seconds=0.1) as connection:
            await connection.fetchval("SELECT pg_sleep($1)", LONG)
    assert time.monotonic() - started < LONG / 2, "before the statement has ended"
    assert two.alive() == 0


async def test_a_lost_connection_is_replaced(cluster: embedded.Address, two: Opened) -> None:
    _, pid = await use(two.pool, 1)
    administrator = await asyncpg.connect(**cluster.connect_args(embedded.SUPERUSER))
    assert await administrator.fetchval("SELECT pg_terminate_backend($1, 2000)", pid)
    await administrator.close()
    async with asyncio.timeout(LONG):
        while two.alive():
            await asyncio.sleep(0.01)
    setting, new = await use(two.pool, 1)
    assert setting == "1"
    assert new != pid
    assert two.pool._open == 1


async def test_writers_of_one_organisation_leave_room_for_those_of_others(cluster: embedded.Address) -> None:
    """They may all wait for one lock: that of a waiting room which an import holds, say."""
    opened = open_pool(cluster, 8)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(opened.pool.acquire_to_write(1, timeout_seconds=LONG))
        with pytest.raises(DatabaseUnavailableError):
            async with opened.pool.acquire_to_write(1, timeout_seconds=LONG):
                pytest.fail("one organisation has all of the writers' connections")
        async with opened.pool.acquire_to_write(2, timeout_seconds=LONG):
            pass
    async with opened.pool.acquire_to_write(1, timeout_seconds=LONG):
        pass
    assert opened.pool._writers_of._used == {}, "nothing is kept of organisations that write no longer"
    await opened.pool.close()


async def test_a_refused_connection_gives_its_place_back() -> None:
    attempts = 0

    async def refuse() -> Connection:
        nonlocal attempts
        attempts += 1
        raise ConnectionRefusedError

    pool = Pool(refuse, size=1, wait_seconds=0.1)
    for _ in range(5):
        with pytest.raises(DatabaseUnavailableError):
            await use(pool, 1)
    assert attempts == 5
    assert not await pool.answers(0.5)
    assert pool._open == 0


async def test_a_closed_pool_serves_nobody(cluster: embedded.Address) -> None:
    opened = open_pool(cluster, 2)
    async with opened.pool.acquire(1, timeout_seconds=LONG):
        await opened.pool.close()
    assert opened.alive() == 0
    with pytest.raises(DatabaseUnavailableError):
        await use(opened.pool, 1)


async def test_no_more_than_its_size(cluster: embedded.Address) -> None:
    opened = open_pool(cluster, 3, wait_seconds=LONG)
    await asyncio.gather(*(use(opened.pool, number % 5 + 1) for number in range(200)))
    assert len(opened.connections) == 3
    await opened.pool.close()


def test_each_of_several_processes_has_fewer_connections_unless_it_is_set() -> None:
    assert [settings_for().pool_size(processes) for processes in (1, 2, 16)] == [8, 4, 4]
    assert {settings_for(database_pool_size=5).pool_size(processes) for processes in (1, 2)} == {5}
