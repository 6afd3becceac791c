"""Pushes that ended long ago are pruned."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.api.public.pushing import settings_of, statuses, world
from tests.conftest import ENCRYPTION_KEYS, settings_for, start_live, stop_live
from tests.factories import Tenant
from tests.wallet.cards import PASS_TYPE, TEAM

from rxdesk import working
from rxdesk.db import embedded
from rxdesk.kit.clock import utc_now
from rxdesk.wallet.apple.trial import create_chain

pytestmark = pytest.mark.usefixtures("queue")


async def test_pushes_that_have_ended_are_not_kept_for_ever(
    cluster: embedded.Address, tenant: Tenant, tmp_path: Path
) -> None:
    today = create_chain(tmp_path, PASS_TYPE, TEAM, utc_now() - timedelta(days=1))
    serving = start_live(cluster, **settings_of(today))
    try:
        async with world(serving, cluster, tenant, today) as here:
            issued = await here.issue()
            await here.phone(issued)
            await here.send((issued["uid"], "x"))
            await here.until(lambda rows: statuses(rows) == ["delivered_to_device"])
    finally:
        stop_live(serving)
    kept = "SELECT status FROM wallet_pushes WHERE organisation_id = $1"
    settings = settings_for(event_retention_days=30)
    composed = working.compose(settings, cluster.connect_args(embedded.APP), ENCRYPTION_KEYS)
    await working.tidy(composed)
    assert len(await tenant.rows(kept)) == 1
    later = working.compose(
        settings,
        cluster.connect_args(embedded.APP),
        ENCRYPTION_KEYS,
        clock=lambda: utc_now() + timedelta(days=31),
    )
    await working.tidy(later)
    assert await tenant.rows(kept) == []
    for one in (composed, later):
        await one.pool.close()
