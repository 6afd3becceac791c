"""`kill -9` of the worker while it speaks to Google: no message is lost, and no holder is told of one twice."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.api.public.googling import GoogleWorld, google_world
from tests.api.wallet.cards import make_template, put
from tests.factories import Tenant
from tests.webhooks.engine import eventually
from tests.webhooks.kills import WorkerProcess

from rxdesk.db import embedded

pytestmark = pytest.mark.usefixtures("queue")
PASSES = 20
KILLED_AT = (5, 20, 33)  # requests, of two for each message and some again


class Gate:
    """Holds some requests at Google's door until the worker that made them is dead; then they are answered."""

    def __init__(self, begun: int) -> None:
        self._at = {begun + number for number in KILLED_AT}
        self._open = threading.Event()
        self.reached = threading.Event()

    def __call__(self, number: int) -> None:
        if number in self._at:
            self._open.clear()
            self.reached.set()
            self._open.wait(30)

    def release(self) -> None:
        self.reached.clear()
        self._open.set()


async def saved_passes(world: GoogleWorld) -> list[str]:
    """Issue passes of one template, each saved by its holder and known as that here."""
    template, uids = await make_template(world.tenant), []
    for number in range(PASSES):
        made = (await put(world.app.client, world.tenant, template, f"c-{number}")).json()
        await world.save(made)
        uids.append(made["uid"])
    return uids


async def test_no_message_is_lost_or_told_twice(
    cluster: embedded.Address, tenant: Tenant, account_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    async def none_left() -> bool:
        return not await tenant.rows("SELECT 1 FROM jobs WHERE organisation_id = $1 LIMIT 1")

    async with google_world(cluster, tenant, account_key, tmp_path) as world:
        uids = await saved_passes(world)
        await world.work(cluster)
        gate = Gate(world.double.requests)
        world.double.trouble = gate
        for uid in uids:
            await world.send({"uid": uid}, "Ready")
        process = WorkerProcess(cluster, **world.settings)
        try:
            for _ in KILLED_AT:
                await eventually(gate.reached.is_set, 60)
                process.kill_and_start()
                gate.release()
            await eventually(none_left, 60)
        finally:
            gate.release()
            process.end()
        told = Counter(object_id for object_id, _, _ in world.double.notified)
        assert (len(told), set(told.values())) == (PASSES, {1})
        assert await world.devices() == [[("google", "sent", None)]] * PASSES
