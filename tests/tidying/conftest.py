"""A PostgreSQL of its own for each module: to tidy is to go through all organisations there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from tests.conftest import migrated
from tests.webhooks.engine import empty_queue

from rxdesk.db import embedded
from rxdesk.db.pool import Connection


@pytest.fixture(scope="module")
def cluster() -> Iterator[embedded.Address]:
    with migrated() as address:
        yield address


@pytest.fixture(scope="module")
async def app_connection(cluster: embedded.Address) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    yield connection
    await connection.close()


@pytest.fixture
async def queue(app_connection: Connection) -> AsyncIterator[None]:
    """An empty queue, which is left empty."""
    await empty_queue(app_connection)
    yield
    await empty_queue(app_connection)
