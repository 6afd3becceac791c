"""A pass that an import deletes is one that Google Wallet shows as no longer valid."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.api.public.googling import GoogleWorld, google_world
from tests.api.wallet.cards import put
from tests.factories import Tenant
from tests.importing.conftest import Import, Row
from tests.importing.test_shown import ALL, PASS, TEMPLATE
from tests.webhooks.engine import empty_queue

from rxdesk.db import embedded
from rxdesk.db.pool import Connection

DELETED_AT = 1798761600


@pytest.fixture
async def world(
    cluster: embedded.Address,
    tenant: Tenant,
    app_connection: Connection,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[GoogleWorld]:
    """A server with an account at Google, whose double is in this process."""
    await empty_queue(app_connection)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    folder: Path = tmp_path_factory.mktemp("google")
    async with google_world(cluster, tenant, key, folder) as made:
        yield made
    await empty_queue(app_connection)


@pytest.mark.parametrize(("kind", "row"), [("wallet_passes", PASS), ("wallet_templates", TEMPLATE)])
async def test_a_saved_pass_is_inactive_until_it_comes_back(
    world: GoogleWorld, cluster: embedded.Address, importing: Import, kind: str, row: Row
) -> None:
    assert (await importing(**ALL)).ok
    issued = (await put(world.app.client, world.tenant, "wpt-1", "c")).json()
    await world.save(issued)
    await world.work(cluster)
    for deleted_at, state in ((DELETED_AT, "INACTIVE"), (None, "ACTIVE")):
        assert (await importing(**{kind: [row | {"deleted_at": deleted_at}]})).ok
        await world.work(cluster)
        assert world.object(issued)["state"] == state


async def test_what_is_deleted_between_the_link_and_the_tap_is_caught_up(
    world: GoogleWorld, cluster: embedded.Address, importing: Import
) -> None:
    assert (await importing(**ALL)).ok
    issued = (await put(world.app.client, world.tenant, "wpt-1", "c")).json()
    assert await world.follow(issued) == 200  # Google has it from the link, and has not told us yet
    assert (await importing(wallet_passes=[PASS | {"deleted_at": DELETED_AT}])).ok
    assert await world.hear() == [200]
    await world.work(cluster)
    assert world.object(issued)["state"] == "INACTIVE"
    await world.delete(issued)
