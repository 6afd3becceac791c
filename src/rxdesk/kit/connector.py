"""The connections below the one door to the outside: sockets that were judged, and readers that give up.

aiohttp's parser and flow control read what comes. Its client session is left out: it offers no place between the end of
connecting and TLS, reports a connection that breaks in the handshake as one that was never made, and costs more than
all else that a request is.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

from rxdesk.kit.targets import Target

Failure: TypeAlias = Literal["dns", "connect", "tls", "timeout", "redirect", "status", "too_large"]
Dial: TypeAlias = Callable[[], Awaitable[socket.socket]]
"""Connects, and judges who answered."""
_Place: TypeAlias = tuple[str, str, int]  # scheme, host, port

_INTERIM_LIMIT = 16
_PIECE = 4096
_TLS_CLOSE_PATIENCE = 1.0
# A kept connection goes to addresses that were judged when it was made; after so long they are judged again.
_OLDEST_SECONDS = 60.0
# Of an answer's header, in bytes and lines.
_LINE_LIMIT = 8190
_HEADER_COUNT_LIMIT = 100
_INTERIM = range(100, 200)
_SWITCHING_PROTOCOLS = 101


class Failed(Exception):  # noqa: N818 - carries an outcome, is never seen outside
    """A request failed; the kind of failure is the outcome's."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure: Failure = failure


class ResponseReader(ResponseHandler):
    """Reads an answer, gives up on a receiver that sends interim (1xx) answers without end, closes at once.

    An interim answer costs far more to parse than its bytes cost to send, and the deadline only looks between
    two reads: so what came is parsed in small pieces.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.born = loop.time()
        self.idle_since = self.born
        self.heard = False
        self._answered = False
        self._seen = 0

    async def ask(self, request: bytes) -> tuple[RawResponseMessage, StreamReader]:
        """Send a request; give its answer's header and the body, which is read as it comes."""
        self.heard, self._answered, self._seen = False, False, 0
        self.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=_LINE_LIMIT,
            max_field_size=_LINE_LIMIT,
            max_headers=_HEADER_COUNT_LIMIT,
        )
        if self.transport is None or self.transport.is_closing():
            raise Failed("connect")
        self.transport.write(request)
        while True:
            message, body = await self.read()
            if not _is_interim(message):
                return message, body

    def has_sent(self) -> bool:
        """Tell whether the whole request is on its way: an answer may come before that."""
        return self.transport is not None and not self.transport.get_write_buffer_size()

    def data_received(self, data: bytes) -> None:
        """Take what came; of an answer that nobody asked for, none."""
        if data and self._answered:
            self.close()
            return
        self.heard |= bool(data)  # nothing: aiohttp only goes on with what it has
        for start in range(0, len(data) or 1, _PIECE):
            if self._seen > _INTERIM_LIMIT:
                return
            super().data_received(data[start : start + _PIECE])

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Pass an answer on, or give up."""
        self._seen += 1
        if self._seen <= _INTERIM_LIMIT:
            super().feed_data(data, size)
            message, body = data
            if not _is_interim(message):
                body.on_eof(self._end)
        elif self._seen == _INTERIM_LIMIT + 1:
            self.abort()
            self.set_exception(Failed("too_large"))

    def _end(self) -> None:
        self._answered = True

    def close(self) -> None:
        """Say goodbye (TLS's closing alert) and close without waiting for an answer to it.

        Without a goodbye where the parser failed: aiohttp has closed the transport then, and the event loop
        makes a second close() of a TLS transport turn abort() into nothing.
        """
        if self.transport is not None and self.exception() is None:
            self.transport.close()
        self.abort()


def _is_interim(message: RawResponseMessage) -> bool:
    return message.code in _INTERIM and message.code != _SWITCHING_PROTOCOLS


class Connections:
    """Makes connections; with `keep_seconds` each waits so long for the next request to its scheme, host and port."""

    def __init__(self, tls: ssl.SSLContext, keep_seconds: float = 0.0) -> None:
        self._tls = tls
        self._keep_seconds = keep_seconds
        self._idle: dict[_Place, list[ResponseReader]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def kept(self, target: Target) -> ResponseReader | None:
        """Give a connection that waits for a request to the target's place."""
        place = (target.scheme, target.host, target.port)
        idle = self._idle.get(place, [])
        while idle:
            reader = idle.pop()
            if not idle:
                del self._idle[place]
            if self._usable(reader, asyncio.get_running_loop().time()):
                return reader
            reader.close()
        return None

    async def open(self, target: Target, dial: Dial) -> ResponseReader:
        """Make a connection: its socket comes from `dial`, and TLS begins after that."""
        connection = await dial()
        secure = target.scheme == "https"
        loop = asyncio.get_running_loop()
        try:
            _, reader = await loop.create_connection(
                lambda: ResponseReader(loop),
                sock=connection,
                ssl=self._tls if secure else None,
                server_hostname=target.host if secure else None,
                ssl_shutdown_timeout=_TLS_CLOSE_PATIENCE if secure else None,
            )
        except OSError as fault:
            if isinstance(fault, TimeoutError):
                raise
            raise Failed("tls" if secure else "connect") from fault
        return reader

    def keep(self, target: Target, reader: ResponseReader) -> None:
        """Have a connection back, the answer on which was read to its end."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        old = now - reader.born > _OLDEST_SECONDS
        if not self._keep_seconds or old or reader.should_close or not reader.has_sent():
            reader.close()
            return
        reader.idle_since = now
        self._idle.setdefault((target.scheme, target.host, target.port), []).append(reader)
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._keep_seconds, self._sweep, loop)

    def close(self) -> None:
        """Close all that wait, and keep none any more."""
        self._keep_seconds = 0.0
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for idle in self._idle.values():
            for reader in idle:
                reader.close()
        self._idle.clear()

    def _usable(self, reader: ResponseReader, now: float) -> bool:
        return now - reader.idle_since < self._keep_seconds and reader.is_connected()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what has waited for too long, and come again while anything waits."""
        self._sweeper = None
        now = loop.time()
        for place, idle in list(self._idle.items()):
            for reader in [one for one in idle if not self._usable(one, now)]:
                reader.close()
                idle.remove(reader)
            if not idle:
                del self._idle[place]
        if self._idle:
            self._sweeper = loop.call_later(self._keep_seconds, self._sweep, loop)
