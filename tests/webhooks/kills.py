"""A worker in a process of its own, which is killed while it delivers; the receiver's ledger is what counts."""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import ENCRYPTION_KEYS, settings_for
from tests.factories import Tenant
from tests.webhooks.engine import ALLOW, Post, Receiver, answering, eventually, happen, receiving, subscribe

from rxdesk.beside import Launch
from rxdesk.db import embedded

HERE = Path(__file__).parent
PLACES = 16


class WorkerProcess:
    """`python -m rxdesk.working`, or a script that changes something in it before."""

    def __init__(self, cluster: embedded.Address, script: str | None = None, **changes: Any) -> None:
        settings = settings_for(**{"egress_allow": ALLOW, "log_level": "error", **changes})
        launch = Launch(settings, cluster.connect_args(embedded.APP), ENCRYPTION_KEYS, os.getpid())
        self._input = pickle.dumps(launch)
        self._command = [sys.executable, *([str(HERE / script)] if script else ["-m", "rxdesk.working"])]
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        root = HERE.parents[1]
        environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, env=environment)
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(self._input)
        return process

    def kill_and_start(self) -> None:
        """Kill it with all that it holds, and start another in its place."""
        self.process.kill()
        self.process.wait()
        self.process = self._start()

    def end(self) -> int:
        """Tell it to end; its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(20)


@dataclass(frozen=True)
class Tally:
    """What the receiver's ledger says against what happened."""

    wanted: int
    lost: int
    doubled: int
    bytes_differ: int
    strangers: int
    seconds: float


async def subscribe_places(tenant: Tenant, receiver: Receiver) -> None:
    for place in range(PLACES):
        await subscribe(tenant, receiver.url(f"/{place}"))


async def tally(tenant: Tenant, receiver: Receiver, seconds: float) -> Tally:
    rows = await tenant.rows(
        "SELECT d.event_uid, n.target, e.body FROM deliveries d "
        "JOIN events e ON e.organisation_id = $1 AND e.uid = d.event_uid "
        "JOIN notification_subscriptions n ON n.organisation_id = $1 AND n.uid = d.subscription_uid "
        "WHERE d.organisation_id = $1"
    )
    wanted = {(row["event_uid"], row["target"].rpartition("/")[2]): row["body"] for row in rows}
    got = Counter((post.id, post.path[1:]) for post in receiver.posts)
    return Tally(
        wanted=len(wanted),
        lost=len(wanted.keys() - got.keys()),
        doubled=sum(count - 1 for count in got.values()),
        bytes_differ=sum(
            1 for post in receiver.posts if wanted.get((post.id, post.path[1:])) not in {None, post.body}
        ),
        strangers=len(got.keys() - wanted.keys()),
        seconds=seconds,
    )


async def deliver_under_kills(
    cluster: embedded.Address,
    tenant: Tenant,
    *,
    deliveries: int,
    kills: int,
    script: str | None = None,
    concurrency: int = 32,
) -> Tally:
    """Deliver while the worker is killed again and again; the receiver answers in 5 to 20 ms."""
    chance = random.Random(4)

    async def answer(post: Post) -> bytes:
        await asyncio.sleep(chance.uniform(0.005, 0.02))
        return await answering()(post)

    async with receiving(answer) as receiver:
        await subscribe_places(tenant, receiver)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        events = deliveries // PLACES
        for done in range(0, events, 100):
            await happen(tenant, min(100, events - done))
        process = WorkerProcess(cluster, script, worker_concurrency=concurrency)
        try:
            for number in range(1, kills + 1):
                if number % 4:
                    await receiver.got(deliveries * number // (kills + 1), 60)
                    await asyncio.sleep(chance.uniform(0, 0.02))
                else:  # one in four hits a worker that is only just starting
                    await asyncio.sleep(chance.uniform(0, 0.5))
                process.kill_and_start()

            async def none_left() -> bool:
                return not await tenant.rows("SELECT 1 FROM jobs WHERE organisation_id = $1 LIMIT 1")

            await eventually(none_left, 120)
        finally:
            process.end()
        return await tally(tenant, receiver, loop.time() - begun)
