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

from aiohttp import ClientPayloadError
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from rxdesk.kit.targets import Target

Failure: TypeAlias = Literal["dns", "connect", "tls", "timeout", "redirect", "status", "too_large"]
Dial: TypeAlias = Callable[[], Awaitable[socket.socket]]
"""Connects, and judges who answered."""
_Place: TypeAlias = tuple[str, str, int]  # scheme, host, port

_INTERIM_LIMIT = 16
_PIECE = 4096
_END_OF_HEADER = b"\r\n\r\n"
# Bytes that are taken of an answer with all that is around its parts, some of which no other limit sees.
_MOST_TAKEN = 1 << 23
_TLS_CLOSE_PATIENCE = 1.0
# A kept connection goes to addresses that were judged when it was made; after so long they are judged again.
_OLDEST_SECONDS = 60.0
# Connections that wait: a process may often open 1,024 files, and has other uses for them.
_MOST_IDLE = 256
# Bytes that the system takes at once from a connection that is idle.
_TAKEN_AT_ONCE = 1 << 16
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
    two reads: so what came is parsed in small pieces. A header is parsed apart from what follows it, since the
    parser forgets what it has read of a piece in which it finds a fault.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.born = loop.time()
        self.idle_since = self.born
        self.heard = False
        self._asked = 0
        self._taken = 0
        self._cuts = 0
        self._seen = 0
        self._body: StreamReader | None = None

    async def ask(self, request: bytes) -> tuple[RawResponseMessage, StreamReader]:
        """Send a request; give its answer's header and the body, which is read as it comes."""
        self.heard, self._asked, self._body = False, len(request), None
        self._taken = self._cuts = self._seen = 0
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

    def is_reusable(self) -> bool:
        """Tell whether another request may follow: the last one has left, and its answer is all that came."""
        return not self.should_close and self._has_sent() and self._has_ended()

    def _has_sent(self) -> bool:
        """Tell whether the whole request is surely on its way: an answer may come before that.

        A transport of TLS does not tell what waits in the one below it.
        """
        if self.transport is None or self.transport.get_write_buffer_size():
            return False
        return self._asked <= _TAKEN_AT_ONCE or self.transport.get_extra_info("ssl_object") is None

    def _has_ended(self) -> bool:
        """Tell whether the parser is between two answers: one that has begun would be cut short here."""
        try:
            return self._parser is not None and self._parser.feed_eof() is None
        except HttpProcessingError:
            return False

    def data_received(self, data: bytes) -> None:
        """Take what came; of an answer that nobody asked for, none."""
        if not data:  # aiohttp goes on with what it has
            self._parse(data)
        start = 0
        while start < len(data) and self.exception() is None:
            if self._body is not None and self._body.is_eof():
                self.close()
                return
            end = self._end_of_piece(data, start)
            self.heard = True
            self._parse(data[start:end])
            start = end
        self._taken += len(data)
        if self._taken > _MOST_TAKEN and self.exception() is None:
            self._give_up()

    def _end_of_piece(self, data: bytes, start: int) -> int:
        """Give where a piece ends: not beyond a header, as long as there are no more of those than answers to count."""
        if self._body is None and self._cuts <= _INTERIM_LIMIT:
            header = data.find(_END_OF_HEADER, start, start + _PIECE)
            if header >= 0:
                self._cuts += 1
                return header + len(_END_OF_HEADER)
        return start + _PIECE

    def _give_up(self) -> None:
        self.abort()
        self.set_exception(Failed("too_large"))
        self._spoil_body()

    def _parse(self, piece: bytes) -> None:
        """Have a piece parsed; where it breaks the form of a body, tell who reads that: the parser tells nobody."""
        super().data_received(piece)
        if self.exception() is not None:
            self._spoil_body()

    def _spoil_body(self) -> None:
        if self._body is not None and not self._body.is_eof():
            self._body.set_exception(ClientPayloadError("no more will be read"))

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Pass an answer on, or give up."""
        self._seen += 1
        if self._seen <= _INTERIM_LIMIT:
            super().feed_data(data, size)
            message, body = data
            if message.code == _SWITCHING_PROTOCOLS or (body.is_eof() and _announces_body(message)):
                self.force_close()
            if not _is_interim(message):
                self._body = body
        elif self._seen == _INTERIM_LIMIT + 1:
            self._give_up()

    def close(self) -> None:
        """Say goodbye (TLS's closing alert) and close without waiting for an answer to it.

        Without a goodbye where the parser failed: aiohttp has closed the transport then, and the event loop
        makes a second close() of a TLS transport turn abort() into nothing.
        """
        if self.transport is not None and self.exception() is None:
            self.transport.close()
        self.abort()


def _announces_body(message: RawResponseMessage) -> bool:
    return message.chunked or message.headers.get("Content-Length", "0") != "0"


def _is_interim(message: RawResponseMessage) -> bool:
    return message.code in _INTERIM and message.code != _SWITCHING_PROTOCOLS


class Connections:
    """Makes connections; with `keep_seconds` each waits so long for the next request to its scheme, host and port."""

    def __init__(self, tls: ssl.SSLContext, keep_seconds: float = 0.0) -> None:
        self._tls = tls
        self._keep_seconds = keep_seconds
        self._idle: dict[_Place, list[ResponseReader]] = {}
        self._waiting = 0
        self._sweeper: asyncio.TimerHandle | None = None

    def kept(self, target: Target) -> ResponseReader | None:
        """Give a connection that waits for a request to the target's place."""
        place = (target.scheme, target.host, target.port)
        while place in self._idle:
            reader = self._take(place, -1)
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
        old = now - reader.born >= _OLDEST_SECONDS
        if not self._keep_seconds or old or not reader.is_reusable():
            reader.close()
            return
        reader.idle_since = now
        place = (target.scheme, target.host, target.port)
        # The place whose last one came back longest ago comes first.
        self._idle[place] = [*self._idle.pop(place, []), reader]
        self._waiting += 1
        if self._waiting > _MOST_IDLE:
            self._take(next(iter(self._idle)), 0).close()
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
        self._waiting = 0

    def _take(self, place: _Place, number: int) -> ResponseReader:
        """Take the connection of a number out of those that wait."""
        idle = self._idle[place]
        reader = idle.pop(number)
        if not idle:
            del self._idle[place]
        self._waiting -= 1
        return reader

    def _usable(self, reader: ResponseReader, now: float) -> bool:
        return now - reader.idle_since < self._keep_seconds and reader.is_connected()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what has waited for too long, and come again while anything waits."""
        self._sweeper = None
        now = loop.time()
        for place, idle in list(self._idle.items()):
            for number in reversed(range(len(idle))):
                if not self._usable(idle[number], now):
                    self._take(place, number).close()
        if self._idle:
            self._sweeper = loop.call_later(self._keep_seconds, self._sweep, loop)
