"""A thousand push notifications in one call, to three devices each: how soon all are on their way."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable

import pytest
from tests.api.public.pushing import idle_world, settings_of
from tests.api.wallet.cards import make_template
from tests.conftest import Live
from tests.factories import Tenant
from tests.webhooks.kills import WorkerProcess

from rxdesk.db import embedded
from rxdesk.wallet.apple.trial import TrialFiles

DEVICES = 3
_REGISTER = """
INSERT INTO wallet_registrations (organisation_id, device_identifier, wallet_pass_uid, push_token, created_at,
  updated_at)
SELECT $1, 'device-' || p.uid || '-' || d.number, p.uid, md5(p.uid || d.number) || md5('x' || p.uid || d.number),
  p.created_at, p.created_at
FROM wallet_passes p CROSS JOIN generate_series(1, $3::int) AS d (number)
WHERE p.organisation_id = $1 AND p.uid = ANY ($2::text[])"""


async def push_at_once(
    serving: Live, cluster: embedded.Address, tenant: Tenant, chain: TrialFiles, *, passes: int
) -> dict[str, float]:
    """Push to three devices of each pass by one call; after how many seconds it was answered, and all were taken."""
    async with idle_world(serving, tenant, chain) as here:
        template = await make_template(tenant)
        uids = [
            await tenant.insert(
                "wallet_passes", shop_customer_id=f"c-{number}", wallet_pass_template_uid=template
            )
            for number in range(passes + 1)
        ]
        await tenant.enter()
        await tenant.connection.execute(_REGISTER, tenant.id, uids, DEVICES)
        got: Counter[str] = Counter()
        wanted, enough = DEVICES, asyncio.Event()

        def ledger(token: str) -> Callable[[str], None]:
            def pushed(_: str) -> None:
                got[token] += 1
                if got.total() >= wanted:
                    enough.set()

            return pushed

        for row in await tenant.rows(
            "SELECT push_token FROM wallet_registrations WHERE organisation_id = $1"
        ):
            here.devices.know(row["push_token"], ledger(row["push_token"]))
        process = WorkerProcess(cluster, **settings_of(chain, apple_push_url=here.apns_url))
        try:
            await here.send((uids[-1], "Warm"))  # the worker has started, and is connected
            async with asyncio.timeout(60):
                await enough.wait()
            wanted = DEVICES * (passes + 1)
            enough.clear()
            begun = time.monotonic()
            await here.send(*((uid, "Ready") for uid in uids[:-1]))
            answered = time.monotonic() - begun
            async with asyncio.timeout(120):
                await enough.wait()
            taken = time.monotonic() - begun
        finally:
            process.end()
        assert set(got.values()) == {1}
        states = await tenant.rows("SELECT DISTINCT status FROM wallet_pushes WHERE organisation_id = $1")
        assert [row["status"] for row in states] == ["sent"]
        return {"answered": round(answered, 2), "all_taken": round(taken, 2)}


@pytest.mark.usefixtures("queue")
async def test_pushes_of_one_call_reach_each_device_once(
    serving: Live, cluster: embedded.Address, tenant: Tenant, today: TrialFiles
) -> None:
    await push_at_once(serving, cluster, tenant, today, passes=50)


@pytest.mark.proof
@pytest.mark.usefixtures("queue")
async def test_a_thousand_in_one_call_to_three_devices_each(
    serving: Live,
    cluster: embedded.Address,
    tenant: Tenant,
    today: TrialFiles,
    record_property: Callable[[str, object], None],
) -> None:
    for name, seconds in (await push_at_once(serving, cluster, tenant, today, passes=1000)).items():
        record_property(f"{name} s", seconds)
    record_property("load before", round(os.getloadavg()[0], 1))
