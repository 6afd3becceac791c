"""Rate limits (contract, section 1): two windows a key, and headers on every authenticated answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from tests.api.rates import BODY, Seconds, header, policy, state
from tests.conftest import BASE, InProcess, start_live, stop_live
from tests.factories import Tenant

from rxdesk.db import embedded
from rxdesk.settings import options
from rxdesk.web.rate_limit import Windows


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
