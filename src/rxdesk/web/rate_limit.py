"""Rate limits: two moving windows a key (a second, a minute).

Without Redis each process counts for itself and allows its share, 1/N of the rate with N workers; with Redis, by
the `limits` library, the count is exact over processes and hosts. If Redis is away, each process counts for
itself, and looks again each second.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from rxdesk.access import Caller

T = TypeVar("T")
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_log = structlog.get_logger("rxdesk.rate_limit")

# What an unlimited key is told: the largest integer of a structured header field (RFC 9651, section 3.3.1).
_UNLIMITED_POLICY = '"unlimited";q=999999999999999;w=1'
_UNLIMITED = '"unlimited";r=999999999999999;t=1'
_MOST_KNOWN = 10_000
_REDIS_CONNECTIONS = 16
_REDIS_SECONDS = 0.25
_REDIS_PAUSE_SECONDS = 1.0


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


@dataclass(frozen=True, slots=True)
class _Policies:
    """The windows of a key with their names, and the header that tells of them."""

    items: tuple[tuple[str, RateLimitItem, int], ...]  # the window's length in seconds last
    header: tuple[bytes, bytes]


@lru_cache(maxsize=1024)
def _policies(per_second: int, per_minute: int, processes: int) -> _Policies:
    """Give the share that one of so many processes has of a rate; 0 is no window."""
    items: list[tuple[str, RateLimitItem, int]] = []
    if per_second:
        items.append(("second", RateLimitItemPerSecond(max(1, per_second // processes)), 1))
    if per_minute:
        items.append(("minute", RateLimitItemPerMinute(max(1, per_minute // processes)), 60))
    policy = ", ".join(f'"{name}";q={item.amount};w={seconds}' for name, item, seconds in items)
    return _Policies(tuple(items), (b"ratelimit-policy", policy.encode()))


class Window(NamedTuple):
    """What a window says: whether one more was let in, how many more it has room for, and when the oldest leaves.

    `resets_at` is in Unix seconds.
    """

    allowed: bool
    remaining: int
    resets_at: float


class Windows:
    """Moving windows in memory; a window is cleared of what has left it when it is looked at.

    Our own, since every request comes by: the library's take ten times the processor time, and a thread that sweeps
    them besides. Dead windows go when there are many. `clock` gives Unix seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._moments: dict[Hashable, deque[float]] = {}
        self._sweep_above = _MOST_KNOWN
        self._longest = 1.0

    def hit(self, key: Hashable, limit: int, seconds: int) -> Window:
        """Count one of a key, if there is room in its window of so many seconds."""
        now = self._clock()
        moments = self._moments.get(key)
        if moments is None:
            self._longest = max(self._longest, seconds)
            self._sweep(now)
            moments = self._moments[key] = deque()
        start = now - seconds
        while moments and moments[0] <= start:
            moments.popleft()
        allowed = len(moments) < limit
        if allowed:
            moments.append(now)
        return Window(allowed, limit - len(moments), moments[0] + seconds)

    def look(self, key: Hashable, limit: int, seconds: int) -> Window:
        """Say the same of a window without counting one: `allowed` tells whether there is room for it."""
        now = self._clock()
        moments = self._moments.get(key)
        start = now - seconds
        while moments and moments[0] <= start:
            moments.popleft()
        if not moments:
            return Window(limit > 0, limit, now + seconds)
        return Window(len(moments) < limit, limit - len(moments), moments[0] + seconds)

    def _sweep(self, now: float) -> None:
        if len(self._moments) < self._sweep_above:
            return
        start = now - self._longest
        self._moments = {
            key: moments for key, moments in self._moments.items() if moments and moments[-1] > start
        }
        self._sweep_above = max(_MOST_KNOWN, 2 * len(self._moments))


class _Redis:
    """A limiter in Redis that is left alone for a moment when it fails: not every request waits for it."""

    def __init__(self, url: str) -> None:
        from redis.asyncio import BlockingConnectionPool  # noqa: PLC0415 (a tenth of a second that few pay)
        from redis.asyncio.retry import Retry  # noqa: PLC0415 (likewise)
        from redis.backoff import NoBackoff  # noqa: PLC0415 (likewise)

        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_REDIS_CONNECTIONS,
            timeout=_REDIS_SECONDS,
            socket_timeout=_REDIS_SECONDS,
            socket_connect_timeout=_REDIS_SECONDS,
            retry=Retry(NoBackoff(), 1),  # for a connection that has died in the pool
        )
        options: dict[str, Any] = {"connection_pool": self._pool}
        # The pool knows where; this name only says which kind of server it is.
        storage = RedisStorage("async+redis://", implementation="redispy", wrap_exceptions=True, **options)
        self._limiter = MovingWindowRateLimiter(storage)
        self._again = 0.0

    async def ask(self, question: Callable[[MovingWindowRateLimiter], Awaitable[T]]) -> T | None:
        """Ask Redis; None when it is away."""
        if time.monotonic() < self._again:
            return None
        try:
            return await question(self._limiter)
        except StorageError as error:
            self._again = time.monotonic() + _REDIS_PAUSE_SECONDS
            _log.warning("redis_unavailable", error=type(error.storage_error).__name__)
            return None

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.disconnect()


async def _count_there(limiter: MovingWindowRateLimiter, caller: Caller, policies: _Policies) -> Verdict:
    who = (str(caller.organisation_id), caller.key_uid)
    allowed = True
    for _, item, _ in policies.items:
        allowed = allowed and await limiter.hit(item, *who)
    found = []
    for name, item, _ in policies.items:
        stats = await limiter.get_window_stats(item, *who)
        found.append((name, stats.remaining, stats.reset_time))
    return _verdict(found, policies, allowed=allowed)


def _verdict(found: list[tuple[str, int, float]], policies: _Policies, *, allowed: bool) -> Verdict:
    """Put into words what the windows say: name, how many more, and when the oldest leaves (Unix seconds)."""
    now = time.time()
    state, retry_after = [], 1
    for name, remaining, resets_at in found:
        wait = max(0, math.ceil(resets_at - now))
        state.append(f'"{name}";r={max(0, remaining)};t={wait}')
        if remaining <= 0:
            retry_after = max(retry_after, wait)
    header = (b"ratelimit", ", ".join(state).encode())
    return Verdict(allowed=allowed, headers=(policies.header, header), retry_after=retry_after)


class RateLimiter:
    """Counts requests of keys, and of addresses that send unknown keys."""

    def __init__(self, *, redis_url: str, workers: int, unknown_keys_per_minute: int) -> None:
        self._own = Windows()
        self._redis = _Redis(redis_url) if redis_url else None
        self._workers = workers
        self._known: set[bytes] = set()
        self._unknown = (max(1, unknown_keys_per_minute // workers), 60)

    async def hit(self, caller: Caller) -> Verdict:
        """Count one request of a valid key."""
        if not caller.per_second and not caller.per_minute:
            return _FREE
        if self._redis is not None:
            whole = _policies(caller.per_second, caller.per_minute, 1)
            verdict = await self._redis.ask(lambda limiter: _count_there(limiter, caller, whole))
            if verdict is not None:
                return verdict
        share = _policies(caller.per_second, caller.per_minute, self._workers)
        allowed, found = True, []
        for name, item, seconds in share.items:
            ask = (
                self._own.hit if allowed else self._own.look
            )  # what the second refuses is none of the minute
            window = ask((caller.organisation_id, caller.key_uid, name), item.amount, seconds)
            allowed = allowed and window.allowed
            found.append((name, window.remaining, window.resets_at))
        return _verdict(found, share, allowed=allowed)

    async def may_test(self, organisation_id: int) -> bool:
        """Count a test delivery of an organisation and tell whether it may go: one a second, all workers."""
        if self._redis is not None:
            one = RateLimitItemPerSecond(1)
            allowed = await self._redis.ask(lambda limiter: limiter.hit(one, "test", str(organisation_id)))
            if allowed is not None:
                return allowed
        return self._own.hit(("test", organisation_id), 1, self._workers).allowed

    def may_try(self, address: str, digest: bytes) -> bool:
        """Tell whether this address may ask with this key; counts nothing.

        A key that was valid here a while ago may always: else one stranger behind a shared address could shut
        out all who use it. It is looked up like any other, so it is no less dead when it is revoked.
        """
        return digest in self._known or self._own.look(("unknown", address), *self._unknown).allowed

    def note_known(self, digest: bytes) -> None:
        """Remember that a key was found."""
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add(digest)

    def note_unknown(self, address: str, digest: bytes) -> None:
        """Count a request whose key was not found."""
        self._known.discard(digest)
        self._own.hit(("unknown", address), *self._unknown)

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._redis is not None:
            await self._redis.close()


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
    # A socket that serves both families names an IPv4 peer as ::ffff:a.b.c.d.
    plain = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(plain in network for network in trusted)
