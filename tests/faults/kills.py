"""A server whose processes are killed while clients make changes through it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
from tests.conftest import ENCRYPTION_KEYS, settings_for
from tests.factories import Tenant
from tests.faults.changes import Client, Ledger, make_world
from tests.faults.reckoning import SUBSCRIBED, Reckoning, reckon
from tests.webhooks.engine import eventually, subscribe

from rxdesk import serving
from rxdesk.db import embedded
from rxdesk.kit.ports import hold_port

ROOT = Path(__file__).parents[2]
SERVED = Path(__file__).with_name("served.py")
CLIENTS = 12


class ServerProcess:
    """A server on one port, started again there when it was killed; with a fault, one that is broken on purpose."""

    def __init__(
        self, cluster: embedded.Address, fault: str | None, *, script: Path = SERVED, **changes: object
    ) -> None:
        settings = settings_for(log_level="error", **changes)
        self._holder = hold_port(settings.address, 0)
        port = self._holder.getsockname()[1]
        self.url = f"http://{settings.address}:{port}"
        launch = serving.Launch(settings, cluster.connect_args(embedded.APP), ENCRYPTION_KEYS)
        self._input = pickle.dumps((launch, port))
        self._command = [sys.executable, str(script), *([fault] if fault else [])]
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
        # Of a worker that was killed it says that it was: that is wanted here, and fills no report.
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(self._input)
        return process

    def kill_worker(self, one_of: random.Random | None = None) -> None:
        """Kill what answers, or one of several, in the middle of whatever it does; the main process starts another."""
        workers = [*self._workers()]
        if one_of is not None and workers:
            workers = [one_of.choice(workers)]
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()

    def _workers(self) -> Iterator[psutil.Process]:
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if not child.children() and "resource_tracker" not in " ".join(child.cmdline()):
                    yield child

    def kill_all(self) -> None:
        """Kill the main process, which takes the other along, and start anew on the same port."""
        self.process.kill()
        self.process.wait()
        self.process = self._start()

    def end(self) -> None:
        """Tell it to end, and wait until it has."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self._holder.close()


async def _kill(server: ServerProcess, ledger: Ledger, changes: int, kills: int) -> None:
    chance = random.Random(7)
    for number in range(1, kills + 1):
        if number % 4:
            share = changes * number // (kills + 1)
            await eventually(lambda share=share: ledger.answered >= share, 60)  # type: ignore[misc] # the loop's
            await asyncio.sleep(chance.uniform(0, 0.02))
        else:  # one in four hits a server that is only just starting
            await asyncio.sleep(chance.uniform(0, 1))
        if number % 2:
            server.kill_worker()
        else:
            server.kill_all()


async def change_under_kills(
    cluster: embedded.Address, tenant: Tenant, *, changes: int, kills: int, fault: str | None = None
) -> tuple[Reckoning, Ledger]:
    """Make so many changes while the server is killed again and again, then compare all books."""
    world, ledger = await make_world(tenant), Ledger()
    patients = [await tenant.insert("patients") for _ in range(CLIENTS)]
    await subscribe(tenant, "https://example.com/", SUBSCRIBED)
    server = ServerProcess(cluster, fault)
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    try:
        async with (
            httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=15, limits=limits) as http,
            asyncio.timeout(60 + changes / 10),
            asyncio.TaskGroup() as group,
        ):
            for number, patient in enumerate(patients):
                group.create_task(Client(world, http, ledger, number, patient).work(changes))
            group.create_task(_kill(server, ledger, changes, kills))
    finally:
        await asyncio.to_thread(server.end)
    return await reckon(tenant, ledger), ledger
