"""Clients of the pharmacy's API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from tests.conftest import InProcess, Live

from rxdesk.routes import PHARMACY


@pytest.fixture(scope="session")
async def pharmacy_client(live: Live) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the live server, at the base path."""
    async with httpx.AsyncClient(base_url=live.url + PHARMACY.base, trust_env=False, timeout=15) as session:
        yield session


@pytest.fixture
def within(inside: InProcess) -> InProcess:
    """The application in this process, its client at the base path."""
    inside.client.base_url = httpx.URL("http://test" + PHARMACY.base)
    return inside
