"""The doctor's side of an organisation, and desks whose live streams are followed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.api.waiting_room.room import Room
from tests.api.waiting_room.streams import Desk, desk_at
from tests.conftest import InProcess, Live, start_live, stop_live
from tests.factories import Tenant

from rxdesk.db import embedded


@pytest.fixture
async def room(inside: InProcess, tenant: Tenant) -> Room:
    return Room(inside, tenant, await tenant.headers())


@pytest.fixture
async def desk(live: Live, tenant: Tenant) -> AsyncIterator[Desk]:
    async with desk_at(live.url, tenant) as made:
        yield made


@pytest.fixture(scope="module")
def hasty(cluster: embedded.Address) -> Iterator[Live]:
    """A server that comments often."""
    server = start_live(cluster, stream_comment_seconds=0.1)
    yield server
    stop_live(server)


@pytest.fixture
async def hasty_desk(hasty: Live, tenant: Tenant) -> AsyncIterator[Desk]:
    async with desk_at(hasty.url, tenant) as made:
        yield made
