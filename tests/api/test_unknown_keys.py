"""Unknown keys are throttled by address (contract, section 1): whose address counts, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.api.rates import BODY, Seconds, policy, state
from tests.conftest import InProcess, in_process
from tests.factories import Tenant

from rxdesk.db import embedded
from rxdesk.kit.keys import new_key
from rxdesk.web.rate_limit import RateLimiter, client_address, read_networks


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


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("2001:db8:0:1::1", "2001:DB8:0:1:ffff:0:0:9", "2001:db8:0:2::1"),
        ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.8"),
        ("64:ff9b::cb00:7107", "203.0.113.7", "64:ff9b::cb00:7108"),
        ("fe80::1%eth0", "fe80::2", "fe80:0:0:1::1"),
    ],
)
def test_who_has_a_network_of_addresses_counts_as_one(address: str, same: str, other: str) -> None:
    """In IPv6 each subscriber has 2^64 of them."""
    limiter = RateLimiter(
        redis_url="", workers=1, unknown_keys_per_minute=1, public_per_minute=1, clock=Seconds()
    )
    limiter.note_unknown(address, b"unknown")
    assert [limiter.may_try(one).allowed for one in (same, other)] == [False, True]
    assert [limiter.may_visit(one).allowed for one in (address, same, other)] == [True, False, True]


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
