"""Rate limits (contract, section 1): two windows a key, headers on every authenticated answer, and Redis."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import BASE, InProcess, Live, in_process, start_live, stop_live
from tests.factories import Tenant
from tests.ports import free_port

from rxdesk.db import embedded
from rxdesk.kit.keys import new_key
from rxdesk.settings import options
from rxdesk.web.rate_limit import RateLimiter, Windows, client_address, read_networks

BODY = b'{"error":"Rate limit exceeded"}'
# A list of strings with integer parameters, as RFC 9651 writes them.
POLICY = re.compile(r'"([\w-]+)";q=(\d{1,15});w=(\d{1,15})(?:, "(\w+)";q=(\d{1,15});w=(\d{1,15}))?')
STATE = re.compile(r'"([\w-]+)";r=(\d{1,15});t=(\d{1,15})(?:, "(\w+)";r=(\d{1,15});t=(\d{1,15}))?')


def policy(answer: httpx.Response) -> dict[str, tuple[int, int]]:
    """Quota and window of each policy."""
    return parsed(POLICY, answer.headers["ratelimit-policy"])


def state(answer: httpx.Response) -> dict[str, tuple[int, int]]:
    """What remains of each policy, and in how many seconds there is more."""
    return parsed(STATE, answer.headers["ratelimit"])


def parsed(form: re.Pattern[str], text: str) -> dict[str, tuple[int, int]]:
    match = form.fullmatch(text)
    assert match is not None, text
    parts = [part for part in match.groups() if part is not None]
    return {parts[at]: (int(parts[at + 1]), int(parts[at + 2])) for at in range(0, len(parts), 3)}


async def header(tenant: Tenant, *permissions: str, second: int = 0, minute: int = 0) -> dict[str, str]:
    return {"X-API-Key": await tenant.key(*permissions, per_second=second, per_minute=minute)}


class Seconds:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_window_moves() -> None:
    """Whatever second is cut out of time holds no more than the rate, and no less than may be."""
    clock = Seconds()
    windows = Windows(clock=clock)
    taken: list[float] = []
    for step in range(400):
        clock.now = 1000 + step * 0.0625
        free = sum(clock.now - 1 < moment for moment in taken) < 5
        assert windows.acquire_entry("key", 5, 1) is free
        if free:
            taken.append(clock.now)
        recent = [moment for moment in taken if moment > clock.now - 1]
        assert windows.get_moving_window("key", 5, 1) == (recent[0], len(recent))
    assert len(taken) == 125
    clock.now += 1
    assert windows.get_moving_window("key", 5, 1) == (clock.now, 0)
    assert not windows.acquire_entry("key", 5, 1, amount=6)
    assert windows.acquire_entry("key", 5, 1, amount=5)
    assert windows.acquire_entry("other", 5, 1)


def test_dead_windows_do_not_pile_up() -> None:
    clock = Seconds()
    windows = Windows(clock=clock)
    for number in range(200_000):  # as an attacker with many addresses would make them
        clock.now += 0.01
        assert windows.acquire_entry(f"address-{number}", 5, 60)
        assert windows.get_moving_window(f"other-{number}", 5, 60) == (clock.now, 0)
    assert len(windows._moments) <= 20_000  # noqa: SLF001 (memory is what this is about)
    assert windows.get_moving_window("address-199999", 5, 60) == (clock.now, 1)
    assert windows.get_moving_window("address-195000", 5, 60)[1] == 1


def test_the_defaults() -> None:
    defaults = {option.name: option.default for option in options()}
    assert (defaults["rate_limit_per_second"], defaults["rate_limit_per_minute"]) == (10, 600)


async def test_the_eleventh_in_a_second(inside: InProcess, tenant: Tenant) -> None:
    headers = await header(tenant, second=10, minute=600)
    answers = [await inside.client.get("/health/", headers=headers) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    for used, answer in enumerate(answers[:10], start=1):
        assert policy(answer) == {"second": (10, 1), "minute": (600, 60)}
        assert state(answer)["second"] == (10 - used, 1)
        assert state(answer)["minute"] == (600 - used, 60)
        assert "retry-after" not in answer.headers
    refused = answers[10]
    assert refused.content == BODY
    assert refused.headers["content-type"] == "application/json"
    assert refused.headers["retry-after"] == "1"
    assert policy(refused) == {"second": (10, 1), "minute": (600, 60)}
    assert state(refused)["second"] == (0, 1)
    # A refused request of the second is none of the minute.
    assert state(refused)["minute"][0] == state(answers[9])["minute"][0]
    inside.clock.moment += timedelta(seconds=1)
    assert (await inside.client.get("/health/", headers=headers)).status_code == 200


async def test_the_minute(inside: InProcess, tenant: Tenant) -> None:
    headers = await header(tenant, minute=5)
    answers = [await inside.client.get("/health/", headers=headers) for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
    for answer in answers:
        assert policy(answer) == {"minute": (5, 60)}
        assert state(answer)["minute"][0] == max(0, 4 - answers.index(answer))
    for answer in answers[5:]:
        assert answer.content == BODY
        assert int(answer.headers["retry-after"]) == state(answer)["minute"][1] == 60


async def test_none(inside: InProcess, tenant: Tenant) -> None:
    headers = await header(tenant)
    answers = [await inside.client.get("/health/", headers=headers) for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    assert policy(answers[0]) == {"unlimited": (999_999_999_999_999, 1)}
    assert state(answers[0]) == {"unlimited": (999_999_999_999_999, 1)}


async def test_one_window_alone(inside: InProcess, tenant: Tenant) -> None:
    answer = await inside.client.get("/health/", headers=await header(tenant, second=7))
    assert policy(answer) == {"second": (7, 1)}


async def test_each_key_for_itself(inside: InProcess, tenant: Tenant, other: Tenant) -> None:
    for owner in (tenant, tenant, other):
        headers = await header(owner, minute=3)
        answers = [await inside.client.get("/health/", headers=headers) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


async def test_a_changed_rate_counts_at_the_next_request(inside: InProcess, tenant: Tenant) -> None:
    made = await tenant.new_key(per_minute=2)
    headers = {"X-API-Key": made.key}
    assert [(await inside.client.get("/health/", headers=headers)).status_code for _ in range(3)] == [
        200,
        200,
        429,
    ]
    await tenant.update("api_keys", made.uid, rate_limit_per_minute=0)
    assert (await inside.client.get("/health/", headers=headers)).status_code == 200


async def test_on_every_authenticated_answer(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await header(tenant, "order:read", "waiting_room:write", second=1000, minute=1000)
    shop, patient = await tenant.insert("shops"), await tenant.insert("patients")
    registration = {"shop_uid": shop, "patient_profile_uid": patient}
    subscribe = "/notification-subscriptions"
    cases: tuple[tuple[str, str, dict[str, Any], int], ...] = (
        ("GET", "/health", {}, 200),
        ("HEAD", "/health", {}, 200),
        ("GET", "/orders/none", {}, 404),
        ("GET", "/prescriptions/none", {}, 403),
        ("GET", "/products?page=-1", {}, 403),
        ("POST", "/waiting-room/register", {"json": registration}, 201),
        ("POST", "/waiting-room/register", {"json": registration}, 409),
        ("POST", "/waiting-room/register", {"json": {**registration, "shop_uid": "x"}}, 404),
        ("POST", "/waiting-room/register", {"json": {}}, 400),
        ("POST", "/waiting-room/register", {"content": b"{"}, 400),
        ("POST", "/waiting-room/register", {"content": b""}, 400),
        ("POST", "/waiting-room/register", {"data": {"a": "b"}}, 415),
        ("DELETE", "/waiting-room/none", {}, 404),
        ("DELETE", subscribe, {}, 400),
        (
            "POST",
            subscribe,
            {"json": {"notification_type": "order_created", "target": "https://10.0.0.1/"}},
            422,
        ),
        ("POST", subscribe + "/test", {"json": {"target_url": "https://10.0.0.1/"}}, 422),
        ("POST", "/wallet-passes/push-notifications", {"json": []}, 403),
    )
    for used, (method, path, more, status) in enumerate(cases, start=1):
        answer = await client.request(method, path, headers=headers, **more)
        assert answer.status_code == status, (path, answer.text)
        assert policy(answer) == {"second": (1000, 1), "minute": (1000, 60)}
        assert state(answer)["minute"][0] == 1000 - used  # each counts once
    for method, path, sent, status in (
        ("GET", "/health", {}, 401),
        ("GET", "/health", {"X-API-Key": "x"}, 401),
        ("GET", "/nothing", headers, 404),
        ("PUT", "/health", headers, 405),
        ("GET", "/openapi.json", headers, 200),
    ):
        answer = await client.request(method, path, headers=sent)
        assert answer.status_code == status
        assert "ratelimit" not in answer.headers
        assert "ratelimit-policy" not in answer.headers


async def test_401_before_429_before_403_and_all_else(inside: InProcess, tenant: Tenant) -> None:
    made = await tenant.new_key(per_minute=1)
    headers = {"X-API-Key": made.key}
    assert (await inside.client.get("/orders/none", headers=headers)).status_code == 403
    for method, path in (
        ("GET", "/orders/none"),
        ("GET", "/products?limit=x"),
        ("POST", "/waiting-room/register"),
        ("POST", "/notification-subscriptions"),
        ("DELETE", "/notification-subscriptions"),
        ("POST", "/notification-subscriptions/test"),
        ("GET", "/health"),
    ):
        answer = await inside.client.request(method, path, headers=headers)
        assert (answer.status_code, answer.content) == (429, BODY)
        both = [*headers.items(), ("X-API-Key", "x")]
        assert (await inside.client.request(method, path, headers=both)).status_code == 401
    await tenant.update("api_keys", made.uid, revoked_at=datetime.now(UTC))
    assert (await inside.client.get("/orders/none", headers=headers)).status_code == 401


async def test_what_is_refused_has_no_effect(inside: InProcess, tenant: Tenant) -> None:
    headers = await header(tenant, "waiting_room:write", minute=1)
    shop = await tenant.insert("shops")
    for status in (201, 429, 429):
        body = {"shop_uid": shop, "patient_profile_uid": await tenant.insert("patients")}
        answer = await inside.client.post("/waiting-room/register", json=body, headers=headers)
        assert answer.status_code == status
    assert len(await tenant.rows("SELECT uid FROM waiting_room_visits WHERE organisation_id = $1")) == 1


async def test_many_at_once(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await header(tenant, minute=25)
    answers = await asyncio.gather(*(client.get("/health/", headers=headers) for _ in range(60)))
    assert Counter(answer.status_code for answer in answers) == {200: 25, 429: 35}


async def test_with_two_workers_each_has_half(cluster: embedded.Address, tenant: Tenant) -> None:
    server = start_live(cluster, workers=2)
    try:
        headers = await header(tenant, second=1001, minute=20)
        statuses: Counter[int] = Counter()
        for _ in range(60):  # each on a connection of its own, so that both processes get some
            async with httpx.AsyncClient(base_url=server.url + BASE, trust_env=False, timeout=15) as session:
                answer = await session.get("/health/", headers=headers)
            statuses[answer.status_code] += 1
            assert policy(answer) == {"second": (500, 1), "minute": (10, 60)}
        assert 10 <= statuses[200] <= 20
        # A rate that cannot be halved is at least one.
        headers = await header(tenant, minute=1)
        async with httpx.AsyncClient(base_url=server.url + BASE, trust_env=False, timeout=15) as session:
            answer = await session.get("/health/", headers=headers)
        assert (answer.status_code, policy(answer)) == (200, {"minute": (1, 60)})
    finally:
        stop_live(server)


# Redis


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
        until = time.monotonic() + 10
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
        await asyncio.sleep(1)  # the window is Redis's, whose clock is the machine's
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
        async with in_process(cluster, redis_url=f"redis://127.0.0.1:{mute.getsockname()[1]}/0") as running:
            headers = await header(tenant, minute=5)
            began = time.monotonic()
            answers = [await running.client.get("/health/", headers=headers) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200] * 3
            assert time.monotonic() - began < 10, "far less than three times the client's patience"


# Unknown keys, by address


async def try_keys(
    running: InProcess, tenant: Tenant, count: int, forwarded: str | None = None
) -> list[httpx.Response]:
    more = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return [
        await running.client.get("/health/", headers={"X-API-Key": new_key(tenant.id), **more})
        for _ in range(count)
    ]


async def test_unknown_keys_are_throttled_by_address(cluster: embedded.Address, tenant: Tenant) -> None:
    async with in_process(cluster, unknown_keys_per_minute=5) as running:
        old, fresh = await tenant.headers(), await tenant.headers()
        assert (await running.client.get("/health/", headers=old)).status_code == 200
        # What has not the form of a key is not looked up, and does not count.
        for _ in range(10):
            assert (await running.client.get("/health/", headers={"X-API-Key": "x"})).status_code == 401
        # Nobody is trusted: whatever a client says of its address, it is the peer's that counts.
        answers = await try_keys(running, tenant, 3) + await try_keys(running, tenant, 4, "203.0.113.7")
        assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
        assert answers[5].content == BODY
        assert policy(answers[5]) == {"unknown-keys": (5, 60)}
        left, seconds = state(answers[5])["unknown-keys"]
        assert (left, seconds) == (0, 60)
        assert answers[5].headers["retry-after"] == "60"
        running.statements.clear()
        await try_keys(running, tenant, 3)
        assert running.statements == []
        # A key that was good here before is let through; one that never was must wait.
        assert (await running.client.get("/health/", headers=old)).status_code == 200
        assert (await running.client.get("/health/", headers=fresh)).status_code == 429


def test_an_address_may_try_again_when_its_oldest_try_has_left_the_window() -> None:
    clock = Seconds()
    limiter = RateLimiter(redis_url="", workers=1, unknown_keys_per_minute=2, clock=clock)
    address, digest = "203.0.113.7", b"unknown"
    limiter.note_unknown(address, digest)
    clock.now += 30
    assert limiter.may_try(address).allowed
    limiter.note_unknown(address, digest)
    clock.now += 9.5
    verdict = limiter.may_try(address)
    assert (verdict.allowed, verdict.retry_after) == (False, 21)
    assert dict(verdict.headers)[b"ratelimit"] == b'"unknown-keys";r=0;t=21'
    clock.now += 21
    assert limiter.may_try(address).allowed


async def test_a_known_key_that_is_revoked_becomes_an_unknown_one(
    cluster: embedded.Address, tenant: Tenant
) -> None:
    async with in_process(cluster, unknown_keys_per_minute=2) as running:
        made = await tenant.new_key()
        headers = {"X-API-Key": made.key}
        assert (await running.client.get("/health/", headers=headers)).status_code == 200
        await tenant.update("api_keys", made.uid, revoked_at=datetime.now(UTC))
        statuses = [(await running.client.get("/health/", headers=headers)).status_code for _ in range(4)]
        assert statuses == [401, 401, 429, 429]


async def test_behind_trusted_proxies(cluster: embedded.Address, tenant: Tenant) -> None:
    proxies = "127.0.0.0/8, 10.0.0.0/8"
    async with in_process(cluster, unknown_keys_per_minute=3, trusted_proxies=proxies) as running:
        for forwarded in (
            "203.0.113.7",
            "203.0.113.8, 10.1.2.3",
            "198.51.100.1, 203.0.113.9, 10.1.2.3, 10.9.9.9",
            "2001:db8::7",
        ):
            answers = await try_keys(running, tenant, 4, forwarded)
            assert [answer.status_code for answer in answers] == [401, 401, 401, 429], forwarded
        # What the client puts before the last hop that is no proxy of ours changes nothing.
        for forged in ("1.1.1.1, 203.0.113.7", "127.0.0.1, 203.0.113.7", "x, 203.0.113.7"):
            assert [answer.status_code for answer in await try_keys(running, tenant, 1, forged)] == [429]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.1", [], "203.0.113.1"),
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3,10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["198.51.100.1"], "198.51.100.1"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_whose_address_counts(peer: str, forwarded: list[str], expected: str) -> None:
    trusted = read_networks("10.0.0.0/8, fd00::/8")
    assert client_address(peer, forwarded, trusted) == expected


@pytest.mark.parametrize("text", ["x", "10.0.0.0/33", "10.0.0.0/8 10.1.0.0/16", "proxy.example"])
def test_a_list_of_proxies_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="appear to be"):
        read_networks(text)


def test_lists_of_proxies() -> None:
    networks: Any = [str(network) for network in read_networks(" 10.0.0.1, 192.168.7.9/24,,fd00::/8 ")]
    assert networks == ["10.0.0.1/32", "192.168.7.0/24", "fd00::/8"]
    assert read_networks("") == ()
