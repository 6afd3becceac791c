"""The doctor's side of an organisation."""

from __future__ import annotations

import pytest
from tests.api.waiting_room.room import Room
from tests.conftest import InProcess
from tests.factories import Tenant


@pytest.fixture
async def room(inside: InProcess, tenant: Tenant) -> Room:
    return Room(inside, tenant, await tenant.headers())
