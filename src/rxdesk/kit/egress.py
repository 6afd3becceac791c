"""The one door to the outside: each outbound HTTP request of the server leaves through here.

A request is made to addresses that were judged in the same breath: the name is resolved once, every answer is
judged, the connection is made to one of those very addresses, and its peer is judged again before TLS begins.
Redirects, proxies from the environment, cookies and compressed answers are not for us. Nothing here logs a
URL, a header or a body.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import aiohttp
import msgspec
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import StreamReader

from rxdesk.kit.addresses import Address, AllowList
from rxdesk.kit.connector import Connections, Dial, Failed, Failure, ResponseReader
from rxdesk.kit.deadlines import Deadlines
from rxdesk.kit.sockets import connect_tcp, system_resolver
from rxdesk.kit.targets import Resolver, Target, admit, parse_target, resolve_target

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

Connect = Callable[[Address, int], Awaitable[socket.socket]]
"""Opens a TCP connection to (address, port): a connected, non-blocking socket; raises OSError."""

ANSWER_LIMIT = 1 << 20
"""Bytes of an answer's body that are taken off the wire at most, kept or not."""

_HEADER_LIMIT = 1 << 16  # of an answer, in bytes
# What would end a line of a request's header, or is nobody's there (RFC 9110, section 5.5).
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

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
        self._own_headers = _lines(
            {"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity"}
            | ({} if keep_seconds else {"Connection": "close"})
        )
        self._tls = ssl.create_default_context()
        if ca_file is not None:
            self._tls.load_verify_locations(cafile=ca_file)
        self._tls.set_alpn_protocols(["http/1.1"])
        self._keep_seconds = keep_seconds
        self._deadlines = Deadlines()
        self._connections = Connections(self._tls, keep_seconds)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._connections.close()

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
        once: bool = False,
    ) -> Outcome:
        """Send one request and report what became of it.

        `total` seconds is the absolute limit over resolving, connecting, TLS, sending and the whole answer;
        `connect` seconds limits each address that is tried. Of the answer's body `max_answer` bytes are kept;
        one of more than 1 MiB, or than `max_answer` where that is more, is `too_large`, one that never ends
        within `total` is `timeout`; one that ends early, or breaks its form, leaves the verdict to the status.
        With `once` it is not sent again when a kept connection turns out to be dead, but is a `connect`.
        Where connections are kept, nothing of an answer is read beyond `max_answer`: its connection is closed,
        and the status decides. Raises TargetInvalid or TargetForbidden when the policy refuses the URL or any
        address that it leads to; then no byte has been sent.
        """
        target = self._parse(url)
        started = self._clock()
        request = self._request(method, target, headers, body)
        exchange = _Exchange(max_answer, max_answer if self._keep_seconds else max(max_answer, ANSWER_LIMIT))
        failure: Failure | None
        try:
            with self._deadlines.after(total):
                await self._exchange(target, self._dial(target, connect), request, exchange, once=once)
            failure = None
        except TimeoutError:
            failure = "timeout"
        except Failed as fault:
            failure = fault.failure
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

    def _request(self, method: Method, target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
        """Give a request's bytes; headers that are given take the place of ours. ValueError for what is no header."""
        lines = "".join((self._own_headers | _lines(headers)).values())
        to = f"{method} {target.path} HTTP/1.1\r\nHost: {target.authority}\r\n"
        return f"{to}{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def _exchange(
        self, target: Target, dial: Dial, request: bytes, exchange: "_Exchange", *, once: bool
    ) -> None:
        """Send; once more on a fresh connection when a kept one turns out to be dead before a byte came back.

        The receiver may have got the first one all the same: deliveries are made at least once, unless they are `once`.
        """
        kept = self._connections.kept(target)
        if kept is not None:
            try:
                await self._ask(kept, target, request, exchange)
                return  # noqa: TRY300 - what follows is for a connection that turned out to be dead
            except Failed as fault:
                if once or fault.failure != "connect" or kept.heard:
                    raise
        await self._ask(await self._connections.open(target, dial), target, request, exchange)

    async def dial(self, url: str, *, connect: float = 3.0) -> tuple[socket.socket, Target]:
        """Connect to where an https URL leads, judged as for `post`; TLS and what is spoken in it are the caller's.

        `connect` seconds limits each address that is tried. Raises TargetInvalid or TargetForbidden when the policy
        refuses, and Failed (`dns`, `connect`, `timeout`).
        """
        target = self._parse(url)
        return await self._dial(target, connect)(), target

    async def _ask(
        self, reader: ResponseReader, target: Target, request: bytes, exchange: "_Exchange"
    ) -> None:
        """Send on a connection, which is kept if its answer was read to the end."""
        try:
            await _ask(reader, request, exchange)
        finally:
            if exchange.whole:
                self._connections.keep(target, reader)
            else:
                reader.close()

    def _dial(self, target: Target, patience: float) -> Dial:
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


@dataclass(slots=True)
class _Exchange:
    """What has come back so far; kept outside the request, so that a deadline does not take it away."""

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


def _lines(headers: Mapping[str, str]) -> dict[str, str]:
    """Give the lines of a header by their names in lower case. Raises ValueError for what would be more than that."""
    lines = {name.lower(): f"{name}: {value}" for name, value in headers.items()}
    if _CONTROL.search("".join(lines.values())):
        raise ValueError("a header holds control characters")
    return {name: f"{line}\r\n" for name, line in lines.items()}


async def _ask(reader: ResponseReader, request: bytes, exchange: _Exchange) -> None:
    try:
        message, body = await reader.ask(request)
    except HttpProcessingError as fault:
        raise Failed("too_large" if _is_header_bomb(fault) else "connect") from fault
    except (aiohttp.ClientError, OSError) as fault:
        if isinstance(fault, TimeoutError):
            raise
        raise Failed("connect") from fault
    if sum(len(name) + len(value) for name, value in message.raw_headers) > _HEADER_LIMIT:
        raise Failed("too_large")
    exchange.status = message.code
    exchange.headers = message.headers
    await _read(body, exchange)


async def _read(body: StreamReader, exchange: _Exchange) -> None:
    """Keep the beginning of the body and drop the rest, as far as that goes."""
    taken = 0
    try:
        async for chunk in body.iter_any():
            taken += len(chunk)
            exchange.answer += chunk[: max(0, exchange.keep - len(exchange.answer))]
            if taken > exchange.take:
                exchange.too_large = True
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
