"""Rate limits: two moving windows a key (a second, a minute), by the `limits` library.

Without Redis each process counts for itself and allows its share, 1/N of the rate with N workers; with Redis
the count is exact over processes and hosts. If Redis is away, each process counts for itself, and looks again
each second.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import msgspec
import structlog
from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond, WindowStats
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter as SharedLimiter
from limits.errors import StorageError
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from rxdesk.access import Caller

T = TypeVar("T")
_HOST_BITS = 64
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # what a translator makes of addresses of IPv4 (RFC 6052)
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_log = structlog.get_logger("rxdesk.rate_limit")

# What an unlimited key is told: the largest integer of a structured header field (RFC 9651, section 3.3.1).
_UNLIMITED_POLICY = '"unlimited";q=999999999999999;w=1'
_UNLIMITED = '"unlimited";r=999999999999999;t=1'
_MOST_KNOWN = 10_000
_REDIS_CONNECTIONS = 16
_REDIS_SECONDS = 0.25
_REDIS_PAUSE_SECONDS = 1.0


class Verdict(msgspec.Struct, frozen=True):
    """Whether a request may pass, what its headers say, and in how many seconds to come back."""

    allowed: bool
    headers: tuple[tuple[bytes, bytes], ...]
    retry_after: int


_PASSES = Verdict(allowed=True, headers=(), retry_after=0)
_FREE = Verdict(
    allowed=True,
    headers=((b"ratelimit-policy", _UNLIMITED_POLICY.encode()), (b"ratelimit", _UNLIMITED.encode())),
    retry_after=0,
)


@dataclass(frozen=True, slots=True)
class _Policies:
    """The windows of a key with their names, and the header that tells of them."""

    items: tuple[tuple[str, RateLimitItem], ...]
    windows: tuple[tuple[int, int], ...]  # of each item: requests, seconds
    header: tuple[bytes, bytes]


@lru_cache(maxsize=1024)
def _policies(per_second: int, per_minute: int, processes: int) -> _Policies:
    """Give the share that one of so many processes has of a rate; 0 is no window."""
    items: list[tuple[str, RateLimitItem]] = []
    if per_second:
        items.append(("second", RateLimitItemPerSecond(max(1, per_second // processes))))
    if per_minute:
        items.append(("minute", RateLimitItemPerMinute(max(1, per_minute // processes))))
    return _told(*items)


def _told(*items: tuple[str, RateLimitItem]) -> _Policies:
    policy = ", ".join(f'"{name}";q={item.amount};w={item.get_expiry()}' for name, item in items)
    windows = tuple((item.amount, item.get_expiry()) for _, item in items)
    return _Policies(items, windows, (b"ratelimit-policy", policy.encode()))


class Windows(MemoryStorage):
    """The library's storage in memory, without its sweeper.

    That one sends all keys through a thread, one after the other, over and over: 100 µs of processor time a
    request. Here a window is cleared of what has left it when it is looked at, and dead windows go when there are
    many. Nothing in it waits, so it is not asynchronous. `clock` gives Unix seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._clock = clock
        self._moments: dict[Hashable, deque[float]] = {}
        self._sweep_above = _MOST_KNOWN
        self._longest = 1.0

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a request of a key, if there is room in its window of `expiry` seconds."""
        now = self._clock()
        moments = self._of(key, now, expiry)
        if self._count(moments, now - expiry) + amount > limit:
            return False
        moments.extend([now] * amount)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002
        """Give the moment of the oldest request in the window, and how many there are."""
        now = self._clock()
        moments = self._moments.get(key)
        if moments is None or not self._count(moments, now - expiry):
            return now, 0
        return moments[0], len(moments)

    def hit(
        self, who: tuple[Hashable, ...], windows: Iterable[tuple[int, int]], now: float
    ) -> tuple[bool, list[WindowStats]]:
        """Count a request in each of the windows (requests, seconds) up to the first that has no room.

        Tells whether all had, and what is left of each. What the library does in two calls of its strategy for each
        window, whose keys and wrappers cost more than the windows.
        """
        allowed = True
        stats = []
        for window in windows:
            limit, expiry = window
            moments = self._of((who, window), now, expiry)
            start = now - expiry
            while moments and moments[0] <= start:
                moments.popleft()
            if allowed and len(moments) < limit:
                moments.append(now)
            else:
                allowed = False
            stats.append(WindowStats((moments[0] if moments else now) + expiry, limit - len(moments)))
        return allowed, stats

    def _of(self, key: Hashable, now: float, expiry: int) -> deque[float]:
        moments = self._moments.get(key)
        if moments is None:
            self._longest = max(self._longest, expiry)
            self._sweep(now)
            moments = self._moments[key] = deque()
        return moments

    @staticmethod
    def _count(moments: deque[float], start: float) -> int:
        while moments and moments[0] <= start:
            moments.popleft()
        return len(moments)

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
        self._limiter = SharedLimiter(storage)
        self._again = 0.0

    async def ask(self, question: Callable[[SharedLimiter], Awaitable[T]]) -> T | None:
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


def _verdict(policies: _Policies, stats: list[WindowStats], now: float, *, allowed: bool) -> Verdict:
    """Put in words what is left of each window."""
    retry_after = 1
    state = []
    for (name, _), (reset, remaining) in zip(policies.items, stats, strict=True):
        wait = max(0, math.ceil(reset - now))
        if remaining <= 0:  # it must wait for all that are used up
            retry_after = max(retry_after, wait)
        state.append(f'"{name}";r={max(0, remaining)};t={wait}')
    return Verdict(allowed, (policies.header, (b"ratelimit", ", ".join(state).encode())), retry_after)


class RateLimiter:
    """Counts requests of keys, and of addresses that send unknown keys. `clock` gives Unix seconds."""

    def __init__(
        self,
        *,
        redis_url: str,
        workers: int,
        unknown_keys_per_minute: int,
        public_per_minute: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._windows = Windows(clock=clock)
        self._own = MovingWindowRateLimiter(self._windows)
        self._redis = _Redis(redis_url) if redis_url else None
        self._workers = workers
        self._known: set[bytes] = set()
        self._unknown = _told(
            ("unknown-keys", RateLimitItemPerMinute(max(1, unknown_keys_per_minute // workers)))
        )

        self._public = (
            _told(("public", RateLimitItemPerMinute(max(1, public_per_minute // workers))))
            if public_per_minute
            else None
        )

    async def hit(self, caller: Caller) -> Verdict:
        """Count one request of a valid key."""
        if not caller.per_second and not caller.per_minute:
            return _FREE
        if self._redis is not None:
            whole = _policies(caller.per_second, caller.per_minute, 1)
            verdict = await self._redis.ask(lambda limiter: self._count_there(limiter, caller, whole))
            if verdict is not None:
                return verdict
        share = _policies(caller.per_second, caller.per_minute, self._workers)
        now = self._clock()
        allowed, stats = self._windows.hit((caller.organisation_id, caller.key_uid), share.windows, now)
        return _verdict(share, stats, now, allowed=allowed)

    async def _count_there(self, limiter: SharedLimiter, caller: Caller, policies: _Policies) -> Verdict:
        who = (str(caller.organisation_id), caller.key_uid)
        allowed = True
        for _, item in policies.items:
            allowed = allowed and await limiter.hit(item, *who)
        now = self._clock()
        stats = [await limiter.get_window_stats(item, *who) for _, item in policies.items]
        return _verdict(policies, stats, now, allowed=allowed)

    async def may_test(self, organisation_id: int) -> bool:
        """Count a test delivery of an organisation and tell whether it may go: one a second, all workers."""
        if self._redis is not None:
            one = RateLimitItemPerSecond(1)
            allowed = await self._redis.ask(lambda limiter: limiter.hit(one, "test", str(organisation_id)))
            if allowed is not None:
                return allowed
        item = RateLimitItemPerSecond(1, self._workers)
        return self._own.hit(item, "test", str(organisation_id))

    def knows(self, digest: bytes) -> bool:
        """Tell whether a key was valid here a while ago: its bearer may always ask.

        Else one stranger behind a shared address could shut out all who use it. The key is looked up like any other,
        so it is no less dead when it is revoked.
        """
        return digest in self._known

    def may_try(self, address: str) -> Verdict:
        """Judge whether this address may ask with an unknown key; counts nothing. Headers only where it may not."""
        (_, item) = self._unknown.items[0]
        whose = _subscriber(address)
        if self._own.test(item, "unknown", whose):
            return _PASSES
        now = self._clock()
        stats = self._own.get_window_stats(item, "unknown", whose)
        return _verdict(self._unknown, [stats], now, allowed=False)

    def may_visit(self, address: str) -> Verdict:
        """Count a request without a key of this address, and judge whether it may pass. Headers only where not."""
        if self._public is None:
            return _PASSES
        now = self._clock()
        room, stats = self._windows.hit(("public", _subscriber(address)), self._public.windows, now)
        return _PASSES if room else _verdict(self._public, stats, now, allowed=False)

    def note_known(self, digest: bytes) -> None:
        """Remember that a key was found."""
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add(digest)

    def note_unknown(self, address: str, digest: bytes) -> None:
        """Count a request whose key was not found."""
        self._known.discard(digest)
        (_, item) = self._unknown.items[0]
        self._own.hit(item, "unknown", _subscriber(address))

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._redis is not None:
            await self._redis.close()


def _subscriber(address: str) -> str:
    """Give what is counted of an address: in IPv6 the network of 64 bits, since whoever has one has all of it."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    if parsed in _TRANSLATED:
        return str(ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF))
    return str(ipaddress.IPv6Address(int(parsed) >> _HOST_BITS << _HOST_BITS))


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
