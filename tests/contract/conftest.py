"""Two organisations, keys of the first and a line to the server, for a module of hostile input."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.conftest import Live
from tests.contract.hostile import Line
from tests.contract.worlds import World, two_worlds
from tests.wire.raw import BASE

from rxdesk import routes
from rxdesk.db.pool import Connection


@pytest.fixture(scope="module")
async def worlds(app_connection: Connection) -> tuple[World, World]:
    return await two_worlds(app_connection)


@pytest.fixture(scope="module")
async def keys(worlds: tuple[World, World]) -> dict[str, str]:
    """By base path, a key that may do everything there."""
    return {api.base: await worlds[0].full_key(api.base) for api in routes.APIS}


@pytest.fixture(scope="module")
def key(keys: dict[str, str]) -> str:
    return keys[BASE]


@pytest.fixture(scope="module")
async def line(live: Live) -> AsyncIterator[Line]:
    opened = Line(live.url)
    yield opened
    await opened.close()
