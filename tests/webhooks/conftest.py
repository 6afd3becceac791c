from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.webhooks.engine import empty_queue

from rxdesk.db.pool import Connection


@pytest.fixture
async def queue(app_connection: Connection) -> AsyncIterator[None]:
    """An empty queue, which is left empty."""
    await empty_queue(app_connection)
    yield
    await empty_queue(app_connection)
