"""The one door to the outside: each outbound HTTP request of the server leaves through here.

A request is made to addresses that were judged in the same breath: the name is resolved once, every answer is
judged, the connection is made to one of those very addresses, and its peer is judged again before TLS begins.
Redirects, proxies from the environment, cookies and compressed answers are not for us. Nothing here logs a
URL, a header or a body.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import aiohttp
import msgspec
from aiohttp.http_exceptions import LineTooLong
from yarl import URL

from rxdesk.kit.addresses import Address, AllowList
from rxdesk.kit.connector import CURRENT, Failed, Failure, JudgedConnector, Request
from rxdesk.kit.deadlines import Deadlines
from rxdesk.kit.sockets import connect_tcp, system_resolver
from rxdesk.kit.targets import Resolver, Target, admit, parse_target, resolve_target

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

Connect = Callable[[Address, int], Awaitable[socket.socket]]
"""Opens a TCP connection to (address, port): a connected, non-blocking socket; raises OSError."""

ANSWER_LIMIT = 1 << 20
"""Bytes of an answer's body that are taken off the wire at most, kept or not."""

# Of an answer's header, in bytes and lines.
_HEADER_LIMIT = 1 << 16
_LINE_LIMIT = 8190
_HEADER_COUNT_LIMIT = 100

# Targets that are remembered, taken apart and judged by their form.
_TARGETS = 1024

__all__ = ["ANSWER_LIMIT", "Connect", "Egress", "Failure", "Outcome", "connect_tcp", "system_resolver"]


class Outcome(msgspec.Struct, frozen=True):
    """What became of a request.

    `error` is None for a whole answer with a 2xx status, else one of `dns`, `connect` (no connection, or it
    broke or spoke no HTTP), `tls`, `timeout`, `redirect` (3xx, not followed), `status` (any other),
    `too_large`. `status` is set as soon as an answer's header came. `answer` is the beginning of the body as
    it came over the wire, `retry_after` its header of that name, unread; `headers` finds each in any case of letters.
    """

    status: int | None
    error: Failure | None
    duration_ms: int
    answer: bytes
    retry_after: str | None = None
    headers: Mapping[str, str] = {}


class Egress:
    """Makes outbound requests under one policy.

    It holds no connection between requests and needs no closing, unless `keep_seconds` is set: then a connection
    waits so long for the next request to the same scheme, host and port.
    `ca_file` names a PEM file of authorities trusted beside the system's; a missing or unusable one raises
    OSError (`ssl.SSLError` is one) here. Resolver, connector and clock (seconds, monotonic) are handed in by
    tests.
    """

    def __init__(
        self,
        allow: AllowList,
        *,
        ca_file: Path | None = None,
        resolver: Resolver | None = None,
        connect: Connect | None = None,
        clock: Callable[[], float] = time.monotonic,
        user_agent: str = "RxDesk",
        keep_seconds: float = 0.0,
    ) -> None:
        self.allow = allow
        self.resolver = resolver or system_resolver()
        self._connect = connect or connect_tcp
        # What a URL means to this policy does not change; a refusal is not kept.
        self._parse = lru_cache(maxsize=_TARGETS)(partial(parse_target, policy=allow))
        self._clock = clock
        self._user_agent = user_agent
        self._tls = ssl.create_default_context()
        if ca_file is not None:
            self._tls.load_verify_locations(cafile=ca_file)
        self._tls.set_alpn_protocols(["http/1.1"])
        self._keep_seconds = keep_seconds
        self._deadlines = Deadlines()
        self._kept: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections that are kept."""
        if self._kept is not None:
            session, self._kept = self._kept, None
            await session.close()

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        total: float = 5.0,
        connect: float = 3.0,
        max_answer: int = 16384,
    ) -> Outcome:
        """Send one POST: `request` with that method."""
        return await self.request(
            "POST", url, body, headers, total=total, connect=connect, max_answer=max_answer
        )

    async def request(
        self,
        method: Method,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        total: float = 5.0,
        connect: float = 3.0,
        max_answer: int = 16384,
    ) -> Outcome:
        """Send one request and report what became of it.

        `total` seconds is the absolute limit over resolving, connecting, TLS, sending and the whole answer;
        `connect` seconds limits each address that is tried. Of the answer's body `max_answer` bytes are kept;
        one of more than 1 MiB is `too_large`, one that never ends within `total` is `timeout`; a connection
        that ends early leaves the verdict to the status. Where connections are kept, nothing of an answer is
        read beyond `max_answer`: its connection is closed, and the status decides. Raises TargetInvalid or
        TargetForbidden when the policy refuses the URL or any address that it leads to; then no byte has been
        sent.
        """
        target = self._parse(url)
        started = self._clock()
        exchange = _Exchange(method, max_answer, max_answer if self._keep_seconds else ANSWER_LIMIT)
        request = Request(self._dial(target, connect))
        failure: Failure | None
        token = CURRENT.set(request)
        try:
            with self._deadlines.after(total):
                if self._keep_seconds:
                    await self._exchange(self._lasting(), target, body, headers, request, exchange)
                else:
                    async with self._session() as session:
                        await self._exchange(session, target, body, headers, request, exchange)
            failure = None
        except TimeoutError:
            failure = "timeout"
        except Failed as fault:
            failure = fault.failure
        finally:
            CURRENT.reset(token)
            if not exchange.whole:
                request.abort()
        if exchange.too_large and not self._keep_seconds:
            failure = "too_large"
        return Outcome(
            status=exchange.status,
            error=exchange.verdict() or failure,
            duration_ms=round((self._clock() - started) * 1000),
            answer=bytes(exchange.answer),
            retry_after=exchange.headers.get("Retry-After"),
            headers=exchange.headers,
        )

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        target: Target,
        body: bytes,
        headers: Mapping[str, str],
        request: Request,
        exchange: "_Exchange",
    ) -> None:
        """Send; once more on a fresh connection when a kept one turns out to be dead before a byte came back.

        The receiver may have got the first one all the same: deliveries are made at least once.
        """
        try:
            await _send(session, target, body, headers, exchange)
        except Failed as fault:
            if fault.failure != "connect" or not request.unheard():
                raise
            request.abort()
            request.fresh = True
            await _send(session, target, body, headers, exchange)

    async def dial(self, url: str, *, connect: float = 3.0) -> tuple[socket.socket, Target]:
        """Connect to where an https URL leads, judged as for `post`; TLS and what is spoken in it are the caller's.

        `connect` seconds limits each address that is tried. Raises TargetInvalid or TargetForbidden when the policy
        refuses, and Failed (`dns`, `connect`, `timeout`).
        """
        target = self._parse(url)
        return await self._dial(target, connect)(), target

    def _dial(self, target: Target, patience: float) -> Callable[[], Awaitable[socket.socket]]:
        """Make the function that connects to the first address that answers, and judges who answered."""

        async def dial() -> socket.socket:
            try:
                addresses: Sequence[Address] = await resolve_target(target, self.allow, self.resolver)
            except OSError as fault:
                raise Failed("dns") from fault
            failure: Failure = "connect"
            for address in addresses:
                admit([address], target, self.allow)
                try:
                    async with asyncio.timeout(patience):
                        connection = await self._connect(address, target.port)
                except TimeoutError:
                    failure = "timeout"
                    continue
                except OSError:
                    failure = "connect"
                    continue
                return self._judged(connection, target)
            raise Failed(failure)

        return dial

    def _judged(self, connection: socket.socket, target: Target) -> socket.socket:
        """Judge the peer that the connection has in fact, whatever was asked for; close it when refused."""
        try:
            peer = connection.getpeername()
            admit([peer[0]], Target(target.scheme, target.host, peer[1], target.path, None), self.allow)
        except OSError as fault:
            connection.close()
            raise Failed("connect") from fault
        except ValueError:
            connection.close()
            raise
        return connection

    def _lasting(self) -> aiohttp.ClientSession:
        """Give the session of kept connections."""
        if self._kept is None:
            self._kept = self._open()
        return self._kept

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Give a session for one request, whose connection ends with it."""
        session = self._open()
        try:
            yield session
        finally:
            CURRENT.get().abort()
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=JudgedConnector(self._tls, self._keep_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            # Ours is the deadline: it also covers what happens before and after.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            headers={"User-Agent": self._user_agent, "Accept": "*/*", "Accept-Encoding": "identity"},
            max_line_size=_LINE_LIMIT,
            max_field_size=_LINE_LIMIT,
            max_headers=_HEADER_COUNT_LIMIT,
        )


@dataclass(slots=True)
class _Exchange:
    """What has come back so far; kept outside the request, so that a deadline does not take it away."""

    method: Method
    keep: int
    take: int
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False
    too_large: bool = False
    answer: bytearray = field(default_factory=bytearray)

    def verdict(self) -> Failure | None:
        """Give the failure that the status alone is: it tells more than how the body ended."""
        if self.status is None or 200 <= self.status < 300:  # noqa: PLR2004 - RFC 9110, section 15
            return None
        return "redirect" if 300 <= self.status < 400 else "status"  # noqa: PLR2004 - as above


async def _send(
    session: aiohttp.ClientSession,
    target: Target,
    body: bytes,
    headers: Mapping[str, str],
    exchange: _Exchange,
) -> None:
    try:
        # `encoded`: the URL is sent as our parser read it.
        async with session.request(
            exchange.method,
            URL(target.url, encoded=True),
            data=aiohttp.BytesPayload(body) if body else None,
            headers=headers,
            allow_redirects=False,
        ) as response:
            if sum(len(name) + len(value) for name, value in response.raw_headers) > _HEADER_LIMIT:
                raise Failed("too_large")
            exchange.status = response.status
            exchange.headers = response.headers
            await _read(response, exchange)
    except aiohttp.ClientResponseError as fault:
        raise Failed("too_large" if _is_header_bomb(fault) else "connect") from fault
    except (aiohttp.ClientError, OSError) as fault:
        if isinstance(fault, TimeoutError):
            raise
        raise Failed("connect") from fault


async def _read(response: aiohttp.ClientResponse, exchange: _Exchange) -> None:
    """Keep the beginning of the body and drop the rest, as far as that goes."""
    taken = 0
    try:
        async for chunk in response.content.iter_any():
            taken += len(chunk)
            exchange.answer += chunk[: max(0, exchange.keep - len(exchange.answer))]
            if taken > exchange.take:
                exchange.too_large = True
                response.close()
                return
        exchange.whole = True
    except (aiohttp.ClientError, ConnectionError):
        # Cut short after the header: the receiver has said what it thinks of the request.
        return


def _is_header_bomb(fault: BaseException | None) -> bool:
    """Tell whether the parser gave up for the size of the header, not for its form."""
    while fault is not None:
        if isinstance(fault, LineTooLong) or "Too many headers" in str(fault):
            return True
        fault = fault.__cause__ or fault.__context__
    return False
