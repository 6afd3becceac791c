"""An import and commands that change the same passes lock them in one order, or each could wait for the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from tests.conftest import InProcess
from tests.factories import Tenant
from tests.importing.conftest import Import
from tests.importing.rows import PATIENT
from tests.importing.test_shown import ALL, PASS

from rxdesk.db import embedded

_LOCK = "SELECT FROM wallet_passes WHERE organisation_id = $1 AND uid = $2 FOR NO KEY UPDATE"
_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"

FIRST = PASS | {"uid": "wp-1", "shop_customer_id": "c1"}
SECOND = PASS | {"uid": "wp-2", "shop_customer_id": "c2", "patient_profile_uid": None}


@pytest.fixture
async def passes(tenant: Tenant, importing: Import) -> None:
    """Two passes that were issued; the first one's holder is a patient."""
    assert (await importing(**{**ALL, "wallet_passes": [FIRST, SECOND]})).ok
    issue = "UPDATE wallet_passes SET public_id = uid, sealed_secret = '' WHERE organisation_id = $1"
    await tenant.connection.execute(issue, tenant.id)


async def holds_nothing_behind_the_first(
    cluster: embedded.Address, tenant: Tenant, change: Callable[[], Awaitable[None]]
) -> None:
    """Have the change wait for the first pass: the second one must be free until it is had."""
    blocker = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    other = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    try:
        blocking = blocker.transaction()
        await blocking.start()
        await blocker.fetch(_LOCK, tenant.id, "wp-1")
        changing = asyncio.ensure_future(change())
        async with asyncio.timeout(10):
            while not await other.fetchval(_WAITS, blocker.get_server_pid()):
                assert not changing.done()
                await asyncio.sleep(0.01)
        try:
            await other.fetch(f"{_LOCK} NOWAIT", tenant.id, "wp-2")
        finally:
            await blocking.rollback()
            await changing
    finally:
        await other.close()
        await blocker.close()


@pytest.mark.usefixtures("passes")
async def test_an_import_of_passes(cluster: embedded.Address, tenant: Tenant, importing: Import) -> None:
    async def change() -> None:
        rows = [row | {"field_values": {"points": 2}} for row in (SECOND, FIRST)]
        assert (await importing(wallet_passes=rows)).ok

    await holds_nothing_behind_the_first(cluster, tenant, change)


@pytest.mark.usefixtures("passes")
async def test_an_import_of_passes_and_of_other_passes_patients(
    cluster: embedded.Address, tenant: Tenant, importing: Import
) -> None:
    async def change() -> None:
        patient = PATIENT | {"display_name": "Somebody Else"}
        assert (
            await importing(patients=[patient], wallet_passes=[SECOND | {"field_values": {"points": 2}}])
        ).ok

    await holds_nothing_behind_the_first(cluster, tenant, change)


@pytest.mark.usefixtures("passes")
async def test_push_notifications(cluster: embedded.Address, tenant: Tenant, inside: InProcess) -> None:
    async def change() -> None:
        body = [{"wallet_pass_uid": uid, "message": "x"} for uid in ("wp-2", "wp-1")]
        headers = await tenant.headers("wallet_pass_push_notification:write")
        answer = await inside.client.post("/wallet-passes/push-notifications", json=body, headers=headers)
        assert [row["status"] for row in answer.json()["data"]] == ["queued"] * 2

    await holds_nothing_behind_the_first(cluster, tenant, change)
