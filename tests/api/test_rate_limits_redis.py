"""Rate limits over several hosts (contract, section 1): one Redis counts for all, and may be lost."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from tests.api.rates import header, policy, state
from tests.conftest import BASE, Live, in_process, start_live, stop_live
from tests.factories import Tenant
from tests.ports import free_port

from rxdesk.db import embedded


class Redis:
    """A redis-server of this test, which may be ended and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir"]
        self.process = subprocess.Popen(
            [*command, str(self.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(16) == b"+PONG\r\n":
                    return
            assert time.monotonic() < until, "redis-server does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not on PATH: rate limits over several hosts cannot be shown here")
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def hosts(cluster: embedded.Address, redis: Redis) -> Iterator[list[Live]]:
    """Two servers, the second of two processes, with one Redis."""
    servers = [
        start_live(cluster, redis_url=redis.url, workers=workers, egress_allow="127.0.0.1/32:1")
        for workers in (1, 2)
    ]
    yield servers
    for server in servers:
        stop_live(server)


@pytest.fixture
async def sessions(hosts: list[Live]) -> AsyncIterator[list[httpx.AsyncClient]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=server.url + BASE, trust_env=False, timeout=15)
            )
            for server in hosts
        ]


async def test_exact_over_hosts_with_redis(sessions: list[httpx.AsyncClient], tenant: Tenant) -> None:
    headers = await header(tenant, second=1000, minute=21)
    answers = await asyncio.gather(
        *(sessions[number % 2].get("/health/", headers=headers) for number in range(60))
    )
    assert Counter(answer.status_code for answer in answers) == {200: 21, 429: 39}
    for answer in answers:
        assert policy(answer) == {"second": (1000, 1), "minute": (21, 60)}
    for session in sessions:
        answer = await session.get("/health/", headers=headers)
        assert (answer.status_code, state(answer)["minute"][0]) == (429, 0)
        assert 50 <= int(answer.headers["retry-after"]) <= 60


async def test_one_test_delivery_a_second_over_hosts(
    sessions: list[httpx.AsyncClient], tenant: Tenant
) -> None:
    headers = await header(tenant)
    body = {"target_url": "https://localhost:1/"}  # opened, and nobody listens there: a result too
    statuses: Counter[int] = Counter()
    for _ in range(5):  # again when this machine was too slow to send six within a second
        began = time.monotonic()
        answers = await asyncio.gather(
            *(
                sessions[number % 2].post("/notification-subscriptions/test", json=body, headers=headers)
                for number in range(6)
            )
        )
        statuses = Counter(answer.status_code for answer in answers)
        if time.monotonic() - began < 0.9:
            break
        await asyncio.sleep(1.1)  # the window is Redis's, whose clock is the machine's
    assert statuses == {200: 1, 429: 5}


async def test_without_redis_each_counts_for_itself_until_it_is_back(
    sessions: list[httpx.AsyncClient], redis: Redis, tenant: Tenant
) -> None:
    headers = await header(tenant, minute=8)
    first = sessions[0]
    assert [(await first.get("/health/", headers=headers)).status_code for _ in range(9)] == [200] * 8 + [429]
    redis.stop()
    try:
        # The process begins to count anew: for a while a key may get twice its rate, but never a fault.
        answers = [await first.get("/health/", headers=headers) for _ in range(9)]
        assert [answer.status_code for answer in answers] == [200] * 8 + [429]
        assert policy(answers[0]) == {"minute": (8, 60)}
        answer = await sessions[1].get("/health/", headers=headers)
        assert policy(answer) == {"minute": (4, 60)}
    finally:
        redis.start()
    # It is asked again within a second or two, and counts for both.
    probe = await header(tenant, minute=1000)
    until = time.monotonic() + 30
    while any(
        [policy(await session.get("/health/", headers=probe))["minute"][0] < 1000 for session in sessions * 4]
    ):
        assert time.monotonic() < until
        await asyncio.sleep(0.1)
    headers = await header(tenant, minute=6)
    answers = [await sessions[number % 2].get("/health/", headers=headers) for number in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 6 + [429] * 2
    assert policy(answers[1]) == {"minute": (6, 60)}


async def test_a_redis_that_hangs_holds_nobody_up(cluster: embedded.Address, tenant: Tenant) -> None:
    """A port that accepts and says nothing: the request is answered all the same, and soon."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(16)
        url = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        async with in_process(cluster, patient=False, redis_url=url) as running:
            headers = await header(tenant, minute=5)
            began = time.monotonic()
            answers = [await running.client.get("/health/", headers=headers) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200] * 3
            assert time.monotonic() - began < 10, "far less than three times the client's patience"
