"""Histories under workers that are killed and a PostgreSQL that dies: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from tests.factories import make_tenant
from tests.faults.kills import ServerProcess
from tests.linear.clients import crew
from tests.linear.recording import Judged, answering, arrange, follow, record
from tests.linear.settling import settled
from tests.webhooks.engine import eventually

from rxdesk.db import embedded, migrate
from rxdesk.db.location import Kept

CHANCE = random.Random(11)
Strike = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Size:
    """So many histories of so many clients, who do so much each; how often it strikes, in seconds."""

    histories: int
    clients: int
    operations: int
    every: float


@asynccontextmanager
async def struck(strike: Strike, every: float) -> AsyncIterator[None]:
    """Strike again and again while the block runs."""

    async def strikes() -> None:
        await asyncio.sleep(CHANCE.uniform(0, every))
        while True:
            await strike()
            await asyncio.sleep(every)

    task = asyncio.create_task(strikes())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def under(
    strike: Strike, address: embedded.Address, url: str, folder: Path, size: Size
) -> AsyncGenerator[Judged]:
    """Record histories while it strikes, and judge them with what is there in the end."""
    found = Judged()
    with crew(size.clients) as clients:
        for number in range(size.histories):
            connection = await asyncpg.connect(**address.connect_args(embedded.APP))
            tenant = await make_tenant(connection)
            tasks = await arrange(size.clients, url, tenant, size.operations, number)
            async with struck(strike, size.every):
                history = await record(clients, tasks)
            connection.terminate()
            await eventually(lambda: reached(address), 30)
            connection = await asyncpg.connect(**address.connect_args(embedded.APP))
            tenant = type(tenant)(tenant.organisation, connection)
            found.add(await settled(history, tenant, url), folder / f"{number}.jsonl")
            await connection.execute("DELETE FROM jobs WHERE organisation_id = $1", tenant.id)
            await connection.close()
            yield found


async def reached(address: embedded.Address) -> bool:
    try:
        connection = await asyncpg.connect(**address.connect_args(embedded.APP), timeout=5)
    except (OSError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True


@asynccontextmanager
async def serving(address: embedded.Address) -> AsyncIterator[ServerProcess]:
    server = ServerProcess(address, None, workers=4)
    try:
        await answering(server.url)
        yield server
    finally:
        server.end()


@asynccontextmanager
async def killed(address: embedded.Address) -> AsyncIterator[tuple[Strike, str]]:
    """A server; a strike kills one worker of four."""
    async with serving(address) as server:

        async def strike() -> None:
            server.kill_worker(CHANCE)

        yield strike, server.url


def _enough(found: Judged) -> bool:
    """A strike hit something, or something is wrong."""
    return found.unknown > 0 or set(found.outcomes) != {"linearizable"}


async def test_a_worker_is_killed(cluster: embedded.Address, tmp_path: Path) -> None:
    """Small ones, until a kill hits something."""
    async with killed(cluster) as (strike, url):
        found = await follow(under(strike, cluster, url, tmp_path, Size(50, 4, 40, 0.2)), _enough)
    assert set(found.outcomes) == {"linearizable"}, "\n".join(found.shown)
    assert found.unknown, "no kill hit anything"


@pytest.mark.proof
async def test_a_worker_is_killed_every_two_seconds(
    cluster: embedded.Address,
    tmp_path: Path,
    share: Callable[[int], int],
    record_property: Callable[[str, object], None],
) -> None:
    most = share(30)
    async with killed(cluster) as (strike, url):
        found = await follow(under(strike, cluster, url, tmp_path, Size(most, 8, 250, 2)))
    for name, value in found.figures.items():
        record_property(name, value)
    assert found.outcomes == {"linearizable": most}, "\n".join(found.shown)
    assert found.unknown > 0


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "data", purpose="tests", say=lambda _: None)
    made.watch(lambda *_, **__: None)
    yield made
    made.stop()


@asynccontextmanager
async def dying(kept: Kept) -> AsyncIterator[tuple[Strike, str]]:
    """A server; a strike kills its PostgreSQL, at once and without a goodbye, and waits until it is back."""
    await migrate.migrate(kept.address.connect_args(embedded.OWNER))
    owner = await asyncpg.connect(**kept.address.connect_args(embedded.OWNER))
    await migrate.grant(owner, embedded.APP)
    await owner.close()

    async def strike() -> None:
        pid = kept.pid
        os.kill(pid, signal.SIGQUIT)
        await eventually(lambda: kept.pid != pid)
        await eventually(lambda: reached(kept.address))

    async with serving(kept.address) as server:
        yield strike, server.url


async def test_postgresql_dies(kept: Kept, tmp_path: Path) -> None:
    """Small ones, until it dies under something."""
    async with dying(kept) as (strike, url):
        found = await follow(under(strike, kept.address, url, tmp_path, Size(30, 4, 80, 0.6)), _enough)
    assert set(found.outcomes) == {"linearizable"}, "\n".join(found.shown)
    assert found.unknown, "it never died under anything"


@pytest.mark.proof
async def test_postgresql_dies_every_five_seconds(
    kept: Kept,
    tmp_path: Path,
    share: Callable[[int], int],
    record_property: Callable[[str, object], None],
) -> None:
    most = share(20)
    async with dying(kept) as (strike, url):
        found = await follow(under(strike, kept.address, url, tmp_path, Size(most, 8, 250, 5)))
    for name, value in found.figures.items():
        record_property(name, value)
    assert found.outcomes == {"linearizable": most}, "\n".join(found.shown)
    assert found.unknown > 0
