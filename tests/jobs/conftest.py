from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rxdesk.db.pool import Connection


@pytest.fixture
async def owner(app_connection: Connection) -> AsyncIterator[Connection]:
    """A connection, and no jobs before and after."""
    await app_connection.execute("DELETE FROM jobs")
    yield app_connection
    await app_connection.execute("DELETE FROM jobs")
