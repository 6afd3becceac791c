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
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal, TypeAlias

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from rxdesk.kit.addresses import Address, AllowList
from rxdesk.kit.targets import Resolver, Target, admit, parse_target, resolve_target

Connect = Callable[[Address, int], Awaitable[socket.socket]]
"""Opens a TCP connection to (address, port): a connected, non-blocking socket; raises OSError."""

Failure: TypeAlias = Literal["dns", "connect", "tls", "timeout", "redirect", "status", "too_large"]

ANSWER_LIMIT = 1 << 20
"""Bytes of an answer's body that are taken off the wire at most, kept or not."""

# Of an answer's header, in bytes and lines.
_HEADER_LIMIT = 1 << 16
_LINE_LIMIT = 8190
_HEADER_COUNT_LIMIT = 100
_INTERIM_LIMIT = 16
_PIECE = 4096
_TLS_CLOSE_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request.

    `error` is None for a whole answer with a 2xx status, else one of `dns`, `connect` (no connection, or it
    broke or spoke no HTTP), `tls`, `timeout`, `redirect` (3xx, not followed), `status` (any other),
    `too_large`. `status` is set as soon as an answer's header came. `answer` is the beginning of the body as
    it came over the wire.
    """

    status: int | None
    error: Failure | None
    duration_ms: int
    answer: bytes


class Egress:
    """Makes outbound requests under one policy. Holds no connection between requests, needs no closing.

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
    ) -> None:
        self.allow = allow
        self.resolver = resolver or system_resolver()
        self._connect = connect or connect_tcp
        self._clock = clock
        self._user_agent = user_agent
        self._tls = ssl.create_default_context()
        if ca_file is not None:
            self._tls.load_verify_locations(cafile=ca_file)
        self._tls.set_alpn_protocols(["http/1.1"])

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
        """Send one POST and report what became of it.

        `total` seconds is the absolute limit over resolving, connecting, TLS, sending and the whole answer;
        `connect` seconds limits each address that is tried. Of the answer's body `max_answer` bytes are kept;
        one of more than 1 MiB is `too_large`, one that never ends within `total` is `timeout`; a connection
        that ends early leaves the verdict to the status. Raises TargetInvalid or TargetForbidden when the
        policy refuses the URL or any address that it leads to; then no byte has been sent.
        """
        target = parse_target(url, self.allow)
        started = self._clock()
        exchange = _Exchange(max_answer)
        failure: Failure | None
        try:
            async with asyncio.timeout(total):
                addresses = await self._resolve(target)
                connector = _JudgedConnector(self._dial(target, addresses, connect), self._tls)
                async with self._session(connector) as session:
                    await _send(session, target, body, headers, exchange)
            failure = None
        except TimeoutError:
            failure = "timeout"
        except _Failed as fault:
            failure = fault.failure
        return Outcome(
            status=exchange.status,
            error=exchange.verdict() or failure,
            duration_ms=round((self._clock() - started) * 1000),
            answer=bytes(exchange.answer),
        )

    async def _resolve(self, target: Target) -> list[Address]:
        try:
            return await resolve_target(target, self.allow, self.resolver)
        except OSError as fault:
            raise _Failed("dns") from fault

    def _dial(
        self, target: Target, addresses: Sequence[Address], patience: float
    ) -> Callable[[], Awaitable[socket.socket]]:
        """Make the function that connects to the first address that answers, and judges who answered."""

        async def dial() -> socket.socket:
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
            raise _Failed(failure)

        return dial

    def _judged(self, connection: socket.socket, target: Target) -> socket.socket:
        """Judge the peer that the connection has in fact, whatever was asked for; close it when refused."""
        try:
            peer = connection.getpeername()
            admit([peer[0]], Target(target.scheme, target.host, peer[1], target.path, None), self.allow)
        except OSError as fault:
            connection.close()
            raise _Failed("connect") from fault
        except ValueError:
            connection.close()
            raise
        return connection

    @contextlib.asynccontextmanager
    async def _session(self, connector: "_JudgedConnector") -> AsyncIterator[aiohttp.ClientSession]:
        """Open a session for one request; its connection is gone when it ends, whatever the peer does."""
        session = aiohttp.ClientSession(
            connector=connector,
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
        try:
            yield session
        finally:
            connector.abort()
            await session.close()


class _Failed(Exception):  # noqa: N818 - carries an outcome, is never seen outside
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure: Failure = failure


@dataclass(slots=True)
class _Exchange:
    """What has come back so far; kept outside the request, so that a deadline does not take it away."""

    keep: int
    status: int | None = None
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
        async with session.post(
            URL(target.url, encoded=True), data=body, headers=headers, allow_redirects=False
        ) as response:
            if sum(len(name) + len(value) for name, value in response.raw_headers) > _HEADER_LIMIT:
                raise _Failed("too_large")
            exchange.status = response.status
            await _read(response, exchange)
    except aiohttp.ClientResponseError as fault:
        raise _Failed("too_large" if _is_header_bomb(fault) else "connect") from fault
    except (aiohttp.ClientError, OSError) as fault:
        if isinstance(fault, TimeoutError):
            raise
        raise _Failed("connect") from fault


async def _read(response: aiohttp.ClientResponse, exchange: _Exchange) -> None:
    """Keep the beginning of the body and drop the rest, as far as that goes."""
    taken = 0
    try:
        async for chunk in response.content.iter_any():
            taken += len(chunk)
            exchange.answer += chunk[: max(0, exchange.keep - len(exchange.answer))]
            if taken > ANSWER_LIMIT:
                raise _Failed("too_large")
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


class _ResponseReader(ResponseHandler):
    """Reads an answer, gives up on a receiver that sends interim (1xx) answers without end, closes at once.

    An interim answer costs far more to parse than its bytes cost to send, and the deadline only looks between
    two reads: so what came is parsed in small pieces.
    """

    _seen = 0

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data) or 1, _PIECE):
            if self._seen > _INTERIM_LIMIT:
                return
            super().data_received(data[start : start + _PIECE])

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        self._seen += 1
        if self._seen <= _INTERIM_LIMIT:
            super().feed_data(data, size)
        elif self._seen == _INTERIM_LIMIT + 1:
            self.abort()
            self.set_exception(_Failed("too_large"))

    def close(self) -> None:
        """Say goodbye (TLS's closing alert) and close without waiting for an answer to it.

        Without a goodbye where the parser failed: aiohttp has closed the transport then, and the event loop
        makes a second close() of a TLS transport turn abort() into nothing.
        """
        if self.transport is not None and self.exception() is None:
            self.transport.close()
        self.abort()


class _JudgedConnector(aiohttp.BaseConnector):
    """A connector for one request: its socket comes from `dial`, judged, and TLS begins after that.

    aiohttp's own TCP connector offers no place between the end of connecting and TLS, and reports a
    connection that breaks in the handshake as one that was never made.
    """

    def __init__(self, dial: Callable[[], Awaitable[socket.socket]], tls: ssl.SSLContext) -> None:
        super().__init__(force_close=True, limit=1)
        self._dial = dial
        self._tls = tls
        self._reader: _ResponseReader | None = None

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list["aiohttp.tracing.Trace"],  # noqa: ARG002 - the base class's signature
        timeout: aiohttp.ClientTimeout,  # noqa: ARG002, ASYNC109 - as above
    ) -> ResponseHandler:
        connection = await self._dial()
        secure = req.is_ssl()
        try:
            _, self._reader = await self._loop.create_connection(
                lambda: _ResponseReader(self._loop),
                sock=connection,
                ssl=self._tls if secure else None,
                server_hostname=req.url.raw_host if secure else None,
                ssl_shutdown_timeout=_TLS_CLOSE_PATIENCE if secure else None,
            )
        except OSError as fault:
            if isinstance(fault, TimeoutError):
                raise
            raise _Failed("tls" if secure else "connect") from fault
        return self._reader

    def abort(self) -> None:
        """Close the connection, if one was made and is still open."""
        if self._reader is not None:
            self._reader.close()


async def connect_tcp(address: Address, port: int) -> socket.socket:
    """Open a TCP connection: the `Connect` of production."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)  # noqa: FBT003 - the name of the method says it
        await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection


def system_resolver(slots: int = 32) -> Resolver:
    """Make the `Resolver` of production: the operating system's, in threads of its own, `slots` at once.

    Not in the event loop's thread pool: names that do not answer would block all else that runs there. The
    threads are daemons, since the C library cannot be told to give up: a slow name server must not hold up
    the end of the process.
    """
    free = asyncio.Semaphore(slots)

    async def resolve(name: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def settle(addresses: list[str] | None) -> None:
            free.release()
            if answer.done():  # the caller has gone
                return
            if addresses is None:
                answer.set_exception(OSError("the name does not resolve"))
            else:
                answer.set_result(addresses)

        def look_up() -> None:
            addresses = _look_up(name, port)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, addresses)

        await free.acquire()
        try:
            threading.Thread(target=look_up, name="resolver", daemon=True).start()
        except RuntimeError as fault:
            free.release()
            raise OSError("no thread left to resolve a name") from fault
        return await answer

    return resolve


def _look_up(name: str, port: int) -> list[str] | None:
    try:
        infos = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return None
    return [str(info[4][0]) for info in infos]
