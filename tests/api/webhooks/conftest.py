"""An application that sends test deliveries to receivers of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from tests.api.webhooks.receivers import Pki, make_pki
from tests.conftest import FixedClock, InProcess, in_process

from rxdesk.db import embedded


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


async def resolve(name: str, _port: int) -> list[str]:
    if name != "internal.example":
        raise OSError("unknown")
    return ["10.0.0.1"]


@pytest.fixture(scope="module")
async def sender(cluster: embedded.Address, pki: Pki) -> AsyncIterator[InProcess]:
    """An application that may reach the loopback interface and knows the authority of the receivers."""
    async with in_process(
        cluster,
        FixedClock(datetime.now(UTC)),
        resolve,
        egress_allow="127.0.0.1/32:*",
        egress_ca_file=str(pki.ca_file),
        delivery_timeout_seconds=1.0,
        delivery_connect_seconds=0.5,
    ) as running:
        yield running
