"""The checker's own sensitivity: each bug that is planted in a server shows in the histories of its clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from tests.conftest import migrated
from tests.faults.kills import ServerProcess
from tests.linear import broken
from tests.linear.calls import CROWD, USUAL, Mix
from tests.linear.clients import crew
from tests.linear.recording import MANY, answering, follow, judged

from rxdesk.db import embedded
from rxdesk.db.pool import Connection

BROKEN = Path(broken.__file__)


@pytest.fixture(scope="module")
def second_cluster() -> Iterator[embedded.Address]:
    with migrated() as address:
        yield address


@pytest.fixture(scope="module")
async def unguarded(second_cluster: embedded.Address) -> AsyncIterator[tuple[embedded.Address, Connection]]:
    """A database without the index that lets a patient wait once only."""
    owner = await asyncpg.connect(**second_cluster.connect_args(embedded.OWNER))
    await owner.execute("DROP INDEX waiting_room_visits_present")
    await owner.close()
    connection = await asyncpg.connect(**second_cluster.connect_args(embedded.APP))
    yield second_cluster, connection
    await connection.close()


@pytest.fixture(params=broken.BUGS)
def bug(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(
    bug: str, request: pytest.FixtureRequest, cluster: embedded.Address, app_connection: Connection
) -> tuple[embedded.Address, Connection]:
    if bug == "duplicate let through":
        found: tuple[embedded.Address, Connection] = request.getfixturevalue("unguarded")
        return found
    return cluster, app_connection


@pytest.fixture
def mix(bug: str) -> Mix:
    """What clients do to find it."""
    return CROWD if bug == "cancelled without a lock" else USUAL


@asynccontextmanager
async def serving(address: embedded.Address, bug: str) -> AsyncIterator[str]:
    server = ServerProcess(address, bug, script=BROKEN, workers=2, database_pool_size=MANY)
    try:
        await answering(server.url)
        yield server.url
    finally:
        server.end()


async def test_a_planted_bug_is_found(
    bug: str, mix: Mix, database: tuple[embedded.Address, Connection], tmp_path: Path
) -> None:
    """Small ones, until it is."""
    address, connection = database
    with crew(4) as clients:
        async with serving(address, bug) as url:
            small = judged(clients, url, connection, tmp_path, operations=40, most=60, mix=mix)
            found = await follow(small, lambda so_far: so_far.outcomes["violation"])
    assert found.outcomes["violation"], "no small history shows it"


@pytest.mark.proof
async def test_nineteen_of_twenty_histories_show_a_planted_bug(
    bug: str,
    mix: Mix,
    database: tuple[embedded.Address, Connection],
    tmp_path: Path,
    share: Callable[[int], int],
    record_property: Callable[[str, object], None],
) -> None:
    address, connection = database
    most = share(20)
    with crew(8) as clients:
        async with serving(address, bug) as url:
            found = await follow(
                judged(clients, url, connection, tmp_path, operations=250, most=most, mix=mix)
            )
    for name, value in found.figures.items():
        record_property(name, value)
    assert found.outcomes["violation"] >= most - most // 20
