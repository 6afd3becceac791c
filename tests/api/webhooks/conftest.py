"""An application that sends test deliveries to receivers of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.api.webhooks.receivers import Pki, make_pki
from tests.api.webhooks.sending import sending
from tests.conftest import InProcess

from rxdesk.db import embedded


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def sender(cluster: embedded.Address, pki: Pki) -> AsyncIterator[InProcess]:
    async with sending(cluster, pki) as running:
        yield running
