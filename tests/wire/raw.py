"""Raw HTTP/1.1 for tests: bytes out, answers in, with no client library to tidy them up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

BASE = "/v1/management"


@dataclass(frozen=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def value(self, name: str) -> str | None:
        values = self.values(name)
        assert len(values) < 2, f"{name} came twice"
        return values[0] if values else None


class Closed(Exception):  # noqa: N818 (what the peer did, not always wrong)
    """The server closed the connection without an answer."""


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> Wire:
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port, limit=2**20))

    async def send(self, data: bytes) -> None:
        """Send; what the server no longer takes is left out."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            return

    async def reply(self, *, without_body: bool = False, seconds: float = 15) -> Reply:
        """Read one answer. Raises Closed."""
        try:
            async with asyncio.timeout(seconds):
                return await self._reply(without_body=without_body)
        except (OSError, asyncio.IncompleteReadError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise Closed from error

    async def _reply(self, *, without_body: bool) -> Reply:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        headers = tuple(
            (name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
        )
        status = int(first.split(" ")[1])
        fields = dict(headers)
        if without_body or status in (100, 204) or status // 100 == 1:
            return Reply(status, headers, b"")
        if "content-length" in fields:
            return Reply(status, headers, await self._reader.readexactly(int(fields["content-length"])))
        if fields.get("transfer-encoding") == "chunked":
            return Reply(status, headers, await self._chunks())
        return Reply(status, headers, await self._reader.read())

    async def _chunks(self) -> bytes:
        body = b""
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            body += (await self._reader.readexactly(size + 2))[:size]
            if size == 0:
                return body

    async def is_closed(self, seconds: float) -> bool:
        """Wait until the server closes; whatever else comes is dropped."""
        try:
            async with asyncio.timeout(seconds):
                while await self._reader.read(65536):
                    pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return


def request(
    method: str, target: str | bytes, headers: Iterable[tuple[str, str | bytes]] = (), body: bytes = b""
) -> bytes:
    """Put a request together as it is told: no header but Host is added."""
    path = target if isinstance(target, bytes) else target.encode("latin-1")
    lines = [method.encode() + b" " + path + b" HTTP/1.1", b"Host: test"]
    for name, value in headers:
        lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode("latin-1")))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def post(
    target: str, key: str, body: bytes, *headers: tuple[str, str], method: str = "POST", base: str = BASE
) -> bytes:
    """A request with a body and its true length."""
    given = [("X-API-Key", key), ("Content-Length", str(len(body))), *headers]
    return request(method, base + target, given, body)


async def ask(url: str, data: bytes, *, without_body: bool = False, seconds: float = 15) -> Reply:
    """Send one request on a connection of its own. Raises Closed."""
    wire = await Wire.open(url)
    try:
        await wire.send(data)
        return await wire.reply(without_body=without_body, seconds=seconds)
    finally:
        await wire.close()
