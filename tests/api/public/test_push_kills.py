"""`kill -9` of the worker while it pushes: no device is left out, and none shows a message twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest
from tests.api.public.pushing import World, idle_world, settings_of
from tests.api.wallet.cards import make_template
from tests.conftest import Live
from tests.factories import Tenant
from tests.wallet.cards import PASS_TYPE
from tests.webhooks.engine import eventually
from tests.webhooks.kills import WorkerProcess

from rxdesk.db import embedded
from rxdesk.wallet.apple.trial import TrialFiles
from rxdesk.wallet.emulator.phone import Phone

pytestmark = pytest.mark.usefixtures("queue")
IN_FLIGHT = 256
PHONES = 4
ASKING = 8
_REGISTER = """
INSERT INTO wallet_registrations (organisation_id, device_identifier, wallet_pass_uid, push_token, created_at,
  updated_at)
SELECT $1, 'device-' || p.uid, p.uid, md5(p.uid) || md5('x' || p.uid), p.created_at, p.created_at
FROM wallet_passes p WHERE p.organisation_id = $1 AND p.uid = ANY ($2::text[])"""


class Plain:
    """Devices that hold a pass each and, when they are pushed, ask what is newer, but fetch no files.

    `pushes` counts by pass what came; `shown` has the tags at which the pass was newer, and its message on the screen.
    """

    def __init__(self, here: World) -> None:
        self.pushes: Counter[str] = Counter()
        self.shown: dict[str, list[str]] = {}
        self.surprises: Counter[str] = Counter()
        self._here = here
        self._queues = [asyncio.Queue[str]() for _ in range(ASKING)]
        here.tasks.extend(asyncio.create_task(self._run(queue)) for queue in self._queues)

    def hold(self, uid: str, token: str) -> None:
        self.shown[uid] = []
        queue = self._queues[len(self.shown) % ASKING]  # of a device one after the other, as a phone does it

        def pushed(_: str) -> None:
            self.pushes[uid] += 1
            queue.put_nowait(uid)

        self._here.devices.know(token, pushed)

    async def _run(self, queue: asyncio.Queue[str]) -> None:
        while True:
            uid = await queue.get()
            try:
                await self._ask(uid)
            finally:
                queue.task_done()

    async def _ask(self, uid: str) -> None:
        code = self._here.tenant.organisation.public_code
        url = f"{self._here.live.url}/w/{code}/v1/devices/device-{uid}/registrations/{PASS_TYPE}"
        since = self.shown[uid][-1:] or ["0"]
        try:
            answer = await self._here.client.get(url, params={"passesUpdatedSince": since[0]})
        except httpx.HTTPError as fault:
            self.surprises[type(fault).__name__] += 1
            return
        if answer.status_code == 200 and answer.json()["serialNumbers"] == [f"{code}_{uid}"]:
            self.shown[uid].append(answer.json()["lastUpdated"])
        elif answer.status_code != 204:
            self.surprises[f"{answer.status_code} {answer.text[:80]}"] += 1

    async def settled(self) -> None:
        """Wait until all that was pushed has asked."""
        for queue in self._queues:
            await queue.join()


async def hold(here: World, pushes: int) -> tuple[list[Phone], list[str], Plain]:
    """Issue passes, so many on plain devices, a few on whole phones; the phones, all uids, the plain devices."""
    tenant = here.tenant
    issued = [await here.issue(f"phone-{number}") for number in range(PHONES)]
    phones = [await here.phone(one, seed) for seed, one in enumerate(issued)]
    template = await make_template(tenant)
    uids = [
        await tenant.insert(
            "wallet_passes", shop_customer_id=f"c-{number}", wallet_pass_template_uid=template
        )
        for number in range(pushes)
    ]
    await tenant.enter()
    await tenant.connection.execute(_REGISTER, tenant.id, uids)
    plain = Plain(here)
    for row in await tenant.rows(
        "SELECT wallet_pass_uid AS uid, push_token FROM wallet_registrations "
        "WHERE organisation_id = $1 AND wallet_pass_uid = ANY ($2::text[])",
        uids,
    ):
        plain.hold(row["uid"], row["push_token"])
    return phones, [*(one["uid"] for one in issued), *uids], plain


async def push_under_kills(
    serving: Live, cluster: embedded.Address, tenant: Tenant, chain: TrialFiles, *, pushes: int, kills: int
) -> int:
    """Push to so many plain devices and a few whole phones, under kills; the pushes that came twice."""
    chance = random.Random(6)

    async def none_left() -> bool:
        return not await tenant.rows("SELECT 1 FROM jobs WHERE organisation_id = $1 LIMIT 1")

    async with idle_world(serving, tenant, chain) as here:
        phones, uids, plain = await hold(here, pushes)
        for start in range(0, len(uids), 1000):
            await here.send(*((uid, "Ready") for uid in uids[start : start + 1000]))
        changes: dict[str, Any] = settings_of(chain, apple_push_url=here.apns_url)
        process = WorkerProcess(cluster, **changes)
        try:
            for number in range(1, kills + 1):
                await eventually(partial(_reached, plain.pushes, pushes * number // (kills + 1)), 60)
                await asyncio.sleep(chance.uniform(0, 0.02))
                process.kill_and_start()
            await eventually(none_left, 60)
        finally:
            process.end()
        states = await tenant.rows("SELECT DISTINCT status FROM wallet_pushes WHERE organisation_id = $1")
        assert {row["status"] for row in states} <= {"sent", "delivered_to_device"}
        assert len(plain.pushes) == pushes, "a device was left out"
        await plain.settled()
        assert plain.surprises == {}
        assert {len(tags) for tags in plain.shown.values()} == {1}, "a device shows it twice, or never"
        for phone in phones:
            await phone.settled()
            assert phone.screen == ["Ready"]
        return plain.pushes.total() - pushes


def _reached(got: Counter[str], enough: int) -> bool:
    return got.total() >= enough


async def test_no_push_is_lost_when_the_worker_is_killed(
    serving: Live, cluster: embedded.Address, tenant: Tenant, today: TrialFiles
) -> None:
    doubled = await push_under_kills(serving, cluster, tenant, today, pushes=500, kills=3)
    assert doubled <= 3 * IN_FLIGHT


@pytest.mark.proof
async def test_two_thousand_pushes_and_twenty_kills(
    serving: Live,
    cluster: embedded.Address,
    tenant: Tenant,
    today: TrialFiles,
    record_property: Callable[[str, object], None],
) -> None:
    doubled = await push_under_kills(serving, cluster, tenant, today, pushes=2000, kills=20)
    record_property("doubled", doubled)
    assert doubled <= 20 * IN_FLIGHT
