"""An application whose settings for the wait estimate are not the defaults; the doctor's side of an organisation."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.api.waiting_room.room import Room
from tests.conftest import InProcess, in_process
from tests.factories import Tenant

from rxdesk.db import embedded


@pytest.fixture(scope="module")
async def build(cluster: embedded.Address) -> AsyncIterator[InProcess]:
    async with in_process(cluster, consultation_minutes=12, doctors_on_duty=2) as running:
        yield running


@pytest.fixture
async def room(inside: InProcess, tenant: Tenant) -> Room:
    return Room(inside, tenant, await tenant.headers())
