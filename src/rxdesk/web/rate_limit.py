"""Rate limits: two moving windows a key (a second, a minute), by the `limits` library.

Without Redis each process counts for itself and allows its share, 1/N of the rate with N workers; with Redis the
count is exact over processes and hosts. If Redis is away, each process counts for itself until it is back.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond, WindowStats
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from rxdesk.access import Caller

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_log = structlog.get_logger("rxdesk.rate_limit")

# What an unlimited key is told: the largest integer of a structured header field (RFC 9651, section 3.3.1).
_UNLIMITED_POLICY = '"unlimited";q=999999999999999;w=1'
_UNLIMITED = '"unlimited";r=999999999999999;t=1'


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass, what its headers say, and in how many seconds to come back."""

    allowed: bool
    headers: tuple[tuple[bytes, bytes], ...]
    retry_after: int


_FREE = Verdict(
    allowed=True,
    headers=((b"ratelimit-policy", _UNLIMITED_POLICY.encode()), (b"ratelimit", _UNLIMITED.encode())),
    retry_after=0,
)


class RateLimiter:
    """Counts requests of keys, and of addresses that send unknown keys."""

    def __init__(self, *, redis_url: str, workers: int, unknown_keys_per_minute: int) -> None:
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._shared: MovingWindowRateLimiter | None = None
        if redis_url:
            scheme = redis_url if redis_url.startswith("async+") else f"async+{redis_url}"
            self._shared = MovingWindowRateLimiter(RedisStorage(scheme, wrap_exceptions=True))
        self._workers = workers
        self._unknown = RateLimitItemPerMinute(max(1, unknown_keys_per_minute // workers))

    def _items(self, caller: Caller, *, shared: bool) -> list[tuple[str, RateLimitItem]]:
        share = 1 if shared else self._workers
        items: list[tuple[str, RateLimitItem]] = []
        if caller.per_second:
            items.append(("second", RateLimitItemPerSecond(max(1, caller.per_second // share))))
        if caller.per_minute:
            items.append(("minute", RateLimitItemPerMinute(max(1, caller.per_minute // share))))
        return items

    async def hit(self, caller: Caller) -> Verdict:
        """Count one request of a valid key."""
        if not caller.per_second and not caller.per_minute:
            return _FREE
        if self._shared is not None:
            try:
                return await self._count(self._shared, caller, self._items(caller, shared=True))
            except StorageError as error:
                _log.warning("redis_unavailable", error=type(error.storage_error).__name__)
        return await self._count(self._own, caller, self._items(caller, shared=False))

    @staticmethod
    async def _count(
        limiter: MovingWindowRateLimiter, caller: Caller, items: list[tuple[str, RateLimitItem]]
    ) -> Verdict:
        who = (str(caller.organisation_id), caller.key_uid)
        allowed = True
        for _, item in items:
            allowed = allowed and await limiter.hit(item, *who)
        now = time.time()
        stats: list[tuple[str, RateLimitItem, WindowStats]] = [
            (name, item, await limiter.get_window_stats(item, *who)) for name, item in items
        ]
        policy = ", ".join(f'"{name}";q={item.amount};w={item.get_expiry()}' for name, item, _ in stats)
        state = ", ".join(
            f'"{name}";r={max(0, stat.remaining)};t={max(0, math.ceil(stat.reset_time - now))}'
            for name, _, stat in stats
        )
        waits = [math.ceil(stat.reset_time - now) for _, _, stat in stats if stat.remaining <= 0]
        return Verdict(
            allowed=allowed,
            headers=((b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())),
            retry_after=max(1, *waits) if waits else 1,
        )

    async def may_test(self, organisation_id: int) -> bool:
        """Count a test delivery of an organisation and tell whether it may go: one a second over all workers."""
        if self._shared is not None:
            try:
                return await self._shared.hit(RateLimitItemPerSecond(1), "test", str(organisation_id))
            except StorageError as error:
                _log.warning("redis_unavailable", error=type(error.storage_error).__name__)
        item = RateLimitItemPerSecond(1, self._workers)
        return await self._own.hit(item, "test", str(organisation_id))

    async def may_try_unknown(self, address: str) -> bool:
        """Tell whether this address may ask with another unknown key; counts nothing."""
        return await self._own.test(self._unknown, "unknown", address)

    async def note_unknown(self, address: str) -> None:
        """Count a request whose key was not found."""
        await self._own.hit(self._unknown, "unknown", address)


def read_networks(text: str) -> tuple[Network, ...]:
    """Read addresses or CIDRs divided by commas; ValueError names the bad one."""
    return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


def client_address(peer: str, forwarded: Iterable[str], trusted: tuple[Network, ...]) -> str:
    """Give the client's address: the peer, or the last hop in X-Forwarded-For that is no trusted proxy."""
    address = peer
    for hop in reversed([part.strip() for line in forwarded for part in line.split(",")]):
        if not _is_trusted(address, trusted):
            return address
        try:
            ipaddress.ip_address(hop)
        except ValueError:
            return address
        address = hop
    return address


def _is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)
