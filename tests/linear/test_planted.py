"""The checker's own sensitivity: each bug that is planted in a server shows in the histories of its clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from tests.conftest import migrated
from tests.factories import make_tenant
from tests.faults.kills import ServerProcess
from tests.linear import broken
from tests.linear.clients import crew
from tests.linear.recording import Judged, answering, record

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


@asynccontextmanager
async def serving(address: embedded.Address, bug: str) -> AsyncIterator[str]:
    server = ServerProcess(address, bug, script=BROKEN, workers=2)
    try:
        await answering(server.url)
        yield server.url
    finally:
        server.end()


async def _histories(
    database: tuple[embedded.Address, Connection],
    bug: str,
    folder: Path,
    *,
    clients: int,
    operations: int,
    most: int,
) -> AsyncIterator[Judged]:
    found = Judged()
    with crew(clients) as workers:
        async with serving(database[0], bug) as url:
            for number in range(most):
                tenant = await make_tenant(database[1])
                found.add(await record(workers, url, tenant, operations, number), folder / f"{number}.jsonl")
                await database[1].execute("DELETE FROM jobs WHERE organisation_id = $1", tenant.id)
                yield found


async def test_a_planted_bug_is_found(
    bug: str, database: tuple[embedded.Address, Connection], tmp_path: Path
) -> None:
    """Small ones, until it is."""
    async for found in _histories(database, bug, tmp_path, clients=4, operations=40, most=20):
        if found.outcomes["violation"]:
            return
    pytest.fail("twenty small histories do not show it")


@pytest.mark.proof
async def test_nineteen_of_twenty_histories_show_a_planted_bug(
    bug: str,
    database: tuple[embedded.Address, Connection],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    found = Judged()
    async for so_far in _histories(database, bug, tmp_path, clients=8, operations=250, most=20):
        found = so_far
    for name, value in found.figures.items():
        record_property(name, value)
    assert found.outcomes["violation"] >= 19
