"""Servers and a key for hostile bytes, and a look after each whether the server still answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.conftest import Live, start_live, stop_live
from tests.factories import Tenant
from tests.wire.raw import ask, request

from rxdesk.db import embedded
from rxdesk.permissions import ALL


@pytest.fixture(scope="module")
def hasty(cluster: embedded.Address) -> Iterator[Live]:
    """A server with a short deadline, so that slow bodies need no patience of ours."""
    server = start_live(cluster, request_timeout_seconds=1.5)
    yield server
    stop_live(server)


@pytest.fixture
async def key(tenant: Tenant) -> str:
    return await tenant.key(*ALL)


@pytest.fixture(autouse=True)
async def _still_serving(live: Live) -> AsyncIterator[None]:
    """After each of these, the server still answers: the same process."""
    yield
    reply = await ask(live.url, request("GET", "/livez"))
    assert (reply.status, reply.body) == (200, b'{"status":"ok"}')
    assert live.process.is_alive()
