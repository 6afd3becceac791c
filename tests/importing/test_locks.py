"""An import and commands that change the same passes lock them in one order, or each could wait for the other."""

from __future__ import annotations

import pytest
from tests.conftest import InProcess
from tests.factories import Tenant
from tests.importing.conftest import Import
from tests.importing.rows import PATIENT
from tests.importing.test_shown import ALL, PASS
from tests.locking import waits_with_nothing

from rxdesk.db import embedded

FIRST = PASS | {"uid": "wp-1", "shop_customer_id": "c1"}
SECOND = PASS | {"uid": "wp-2", "shop_customer_id": "c2", "patient_profile_uid": None}

PASSES = ("wallet_passes", "wp-1"), ("wallet_passes", "wp-2")


@pytest.fixture
async def passes(tenant: Tenant, importing: Import) -> None:
    """Two passes that were issued; the first one's holder is a patient."""
    assert (await importing(**{**ALL, "wallet_passes": [FIRST, SECOND]})).ok
    issue = "UPDATE wallet_passes SET public_id = uid, sealed_secret = '' WHERE organisation_id = $1"
    await tenant.connection.execute(issue, tenant.id)


@pytest.mark.usefixtures("passes")
async def test_an_import_of_passes(cluster: embedded.Address, tenant: Tenant, importing: Import) -> None:
    async def change() -> None:
        rows = [row | {"field_values": {"points": 2}} for row in (SECOND, FIRST)]
        assert (await importing(wallet_passes=rows)).ok

    await waits_with_nothing(cluster, tenant, *PASSES, change)


@pytest.mark.usefixtures("passes")
async def test_an_import_of_passes_and_of_other_passes_patients(
    cluster: embedded.Address, tenant: Tenant, importing: Import
) -> None:
    async def change() -> None:
        patient = PATIENT | {"display_name": "Somebody Else"}
        assert (
            await importing(patients=[patient], wallet_passes=[SECOND | {"field_values": {"points": 2}}])
        ).ok

    await waits_with_nothing(cluster, tenant, *PASSES, change)


@pytest.mark.usefixtures("passes")
async def test_push_notifications(cluster: embedded.Address, tenant: Tenant, inside: InProcess) -> None:
    async def change() -> None:
        body = [{"wallet_pass_uid": uid, "message": "x"} for uid in ("wp-2", "wp-1")]
        headers = await tenant.headers("wallet_pass_push_notification:write")
        answer = await inside.client.post("/wallet-passes/push-notifications", json=body, headers=headers)
        assert [row["status"] for row in answer.json()["data"]] == ["queued"] * 2

    await waits_with_nothing(cluster, tenant, *PASSES, change)
