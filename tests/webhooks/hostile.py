"""Receivers that do all that a receiver should not, with a ledger of what each was sent and what it accepted.

    async with hostile(tls=pki.good) as receiver:
        receiver.url("/drip")          # one path for each behaviour of BEHAVIOURS
        receiver.ledger.accepted       # what got a 2xx: ids, bytes, times

A receiver may also be told what to do by `behave`, a function of the request. `tls=None` speaks plain HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Behaviour = Callable[["Request", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
"""Answers a request; gives whether it was accepted (a 2xx was sent whole)."""

FORBIDDEN = "http://169.254.169.254/latest/meta-data/"
ENDLESS_PIECE = 1 << 16


@dataclass(frozen=True)
class Request:
    """One request as it came; `at` is seconds of the monotonic clock."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    connection: int

    @property
    def webhook_id(self) -> str:
        return self.headers.get("webhook-id", "")


@dataclass
class Ledger:
    """What a receiver saw: connections, whole requests, and those that it accepted."""

    connections: int = 0
    received: list[Request] = field(default_factory=list)
    accepted: list[Request] = field(default_factory=list)

    def times(self, webhook_id: str) -> list[float]:
        """When each attempt of an event came."""
        return [one.at for one in self.received if one.webhook_id == webhook_id]

    def duplicates(self) -> int:
        """How many were accepted more than once; a different body under one id is a fault, and raises."""
        bodies: dict[str, bytes] = {}
        for one in self.accepted:
            if bodies.setdefault(one.webhook_id, one.body) != one.body:
                raise AssertionError(f"two bodies under {one.webhook_id}")
        return sum(count - 1 for count in Counter(one.webhook_id for one in self.accepted).values())


@dataclass
class HostileReceiver:
    """A receiver at `https://localhost:port`, or at http without TLS."""

    port: int
    scheme: str
    ledger: Ledger = field(default_factory=Ledger)

    def url(self, path: str = "/ok", host: str = "localhost") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


def head(status: str, *lines: str, length: int | None = 0) -> bytes:
    """The beginning of an answer."""
    framing = [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([f"HTTP/1.1 {status}", *framing, *lines, "", ""]).encode()


def answer(status: str, *lines: str, body: bytes = b"") -> Behaviour:
    """Answer at once."""

    async def behave(_: Request, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(head(status, *lines, length=len(body)) + body)
        await writer.drain()
        return status.startswith("2")

    return behave


def after(seconds: float, behaviour: Behaviour) -> Behaviour:
    """Wait, then do that."""

    async def behave(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(seconds)
        return await behaviour(request, reader, writer)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """For each event the first, then the second and so on; the last one for ever."""
    seen: Counter[str] = Counter()

    async def behave(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        turn = min(seen[request.webhook_id], len(behaviours) - 1)
        seen[request.webhook_id] += 1
        return await behaviours[turn](request, reader, writer)

    return behave


async def hang(_: Request, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> bool:
    """Take the request and say nothing until the sender goes."""
    await reader.read()
    return False


async def drip(_: Request, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer with a byte a second: each one is life, and it never ends."""
    for byte in head("200 OK", "X-Slow: " + "z" * 3600, length=1 << 20):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)
    return False


async def drip_body(_: Request, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer 200 at once, and then a body of a byte a second."""
    writer.write(head("200 OK", length=3600))
    while True:
        writer.write(b"z")
        await writer.drain()
        await asyncio.sleep(1)


async def endless(_: Request, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer 200 with a body without end, as fast as it is taken."""
    writer.write(head("200 OK", length=None))
    while True:
        writer.write(b"z" * ENDLESS_PIECE)
        await writer.drain()


async def reset(_: Request, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Take the request and break the connection off by RST."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


async def header_bomb(_: Request, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer with a megabyte of header."""
    writer.write(head("200 OK", *(f"X-{number}: {'z' * 1000}" for number in range(1024))))
    await writer.drain()
    return False


async def long_line(_: Request, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer with a header of one line of a megabyte."""
    writer.write(head("200 OK", "X-Long: " + "z" * (1 << 20)))
    await writer.drain()
    return False


async def interim(_: Request, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer 100 Continue for ever."""
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await writer.drain()


async def no_http(_: Request, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer with something that is no HTTP."""
    writer.write(b"220 mail.example ESMTP\r\n" + bytes(range(256)))
    await writer.drain()
    return False


BEHAVIOURS: dict[str, Behaviour] = {
    "/ok": answer("200 OK", body=b"thanks"),
    "/no-content": answer("204 No Content"),
    "/hang": hang,
    "/drip": drip,
    "/drip-body": drip_body,
    "/endless": endless,
    "/reset": reset,
    "/redirect": answer("301 Moved Permanently", f"Location: {FORBIDDEN}"),
    "/redirect-307": answer("307 Temporary Redirect", f"Location: {FORBIDDEN}"),
    "/fault": answer("500 Internal Server Error", body=b"Traceback: ..."),
    "/header-bomb": header_bomb,
    "/long-line": long_line,
    "/interim": interim,
    "/no-http": no_http,
    "/gone": answer("410 Gone"),
    "/busy": answer("429 Too Many Requests", "Retry-After: 7"),
    "/busy-until": answer("503 Service Unavailable", "Retry-After: Fri, 31 Dec 2100 23:59:59 GMT"),
}
"""By path. Besides: `tls_stall()` is a receiver that never ends its handshake."""


async def _by_path(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    return await BEHAVIOURS[request.path.partition("?")[0]](request, reader, writer)


async def _read(reader: asyncio.StreamReader, connection: int) -> Request | None:
    try:
        block = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    line, *fields = block.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in fields)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(line.split(" ")[1], headers, body, time.monotonic(), connection)


@contextlib.asynccontextmanager
async def hostile(
    behave: Behaviour = _by_path,
    *,
    tls: ssl.SSLContext | None,
    keep_alive: bool = False,
    address: str = "127.0.0.1",
) -> AsyncIterator[HostileReceiver]:
    """Receive on a free port; each connection serves one request, or many with `keep_alive`."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        ledger = receiver.ledger
        ledger.connections += 1
        number = ledger.connections
        try:
            while (request := await _read(reader, number)) is not None:
                ledger.received.append(request)
                if await behave(request, reader, writer):
                    ledger.accepted.append(request)
                if not keep_alive:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the sender has gone
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, address, 0, ssl=tls)
    receiver = HostileReceiver(server.sockets[0].getsockname()[1], "http" if tls is None else "https")
    try:
        yield receiver
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def tls_stall(address: str = "127.0.0.1") -> AsyncIterator[HostileReceiver]:
    """Take connections and the client's hello, and never say a word of TLS."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ledger: Ledger) -> None:
        ledger.connections += 1
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.transport.abort()

    ledger = Ledger()
    server = await asyncio.start_server(lambda r, w: silent(r, w, ledger), address, 0)
    try:
        yield HostileReceiver(server.sockets[0].getsockname()[1], "https", ledger)
    finally:
        server.close()
        await asyncio.sleep(0)
