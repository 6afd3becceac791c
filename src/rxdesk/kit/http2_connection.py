"""One connection of HTTP/2: many requests at once, until the server or the network ends it.

The protocol is h2's. What it does not do is done here: it ends a connection at once when the server says that it takes
no more requests (GOAWAY), where those that the server has taken are still to be answered.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, cast

import msgspec
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error, NoAvailableStreamIDError

from rxdesk.kit.connector import Failed, Failure
from rxdesk.kit.goaway import FrameTooLongError, GoAway, GoAwayFilter

# It tells every header field at level debug, and a path may hold a device's token.
logging.getLogger("hpack").setLevel(logging.WARNING)

ANSWER_LIMIT: Final = 1 << 16
"""Bytes of an answer's body that are taken."""

# Of what a server allows, so many are used at once: h2 goes through all open streams for each new one.
_MOST_STREAMS = 200


class Http2Answer(msgspec.Struct, frozen=True):
    """What became of a request.

    `error` is None for any whole answer, else `dns`, `connect` (no connection, it broke, or spoke no HTTP/2), `tls`
    (also where the server ended the connection before it said anything), `timeout` or `too_large`; the server may have
    acted on the request all the same. Names of headers are in lower case.
    """

    status: int | None = None
    error: Failure | None = None
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Unprocessed(Exception):  # noqa: N818 - never seen outside
    """The server has not looked at the request: it may be sent again, on another connection."""


class _Stream:
    """One request on its way, and what has come back."""

    __slots__ = ("answer", "body", "headers", "status")

    def __init__(self, answer: asyncio.Future[Http2Answer]) -> None:
        self.answer = answer
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()


class Connection(asyncio.Protocol):
    """One connection: many streams, until the server or the network ends it.

    `patience` is for how many seconds nothing at all may come after a request that had no answer in time.
    """

    def __init__(self, authority: str, patience: float) -> None:
        self._authority = authority
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._filter = GoAwayFilter()
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, _Stream] = {}
        self._unsent: dict[int, bytes] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._flushing = False
        self._heard = 0
        self._suspicion: asyncio.TimerHandle | None = None
        self.ready: asyncio.Future[None] = self._loop.create_future()
        # Whoever waited for it may have gone.
        self.ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())
        self.usable = False
        self.ended = asyncio.Event()

    async def exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Http2Answer:
        """Send a request and give its answer. Raises Unprocessed and Failed."""
        stream_id = await self._next_stream()
        stream = self._streams[stream_id] = _Stream(self._loop.create_future())
        fields = {
            ":method": method,
            ":scheme": "https",
            ":authority": self._authority,
            ":path": path,
            **headers,
        }
        self._h2.send_headers(stream_id, list(fields.items()), end_stream=not body)
        if body:
            self._unsent[stream_id] = body
            self._pump(stream_id)
        self._flush_soon()
        try:
            return await stream.answer
        finally:
            del self._streams[stream_id]
            if self._unsent.pop(stream_id, None) is not None or stream.answer.cancelled():
                self._reset(stream_id)
            self._make_room()

    async def _next_stream(self) -> int:
        """Wait until another stream may be opened, and give its number."""
        while self.usable and len(self._streams) >= self._limit():
            turn = self._loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._make_room()  # the turn may have been given just now
                raise
        if not self.usable:
            raise Unprocessed
        try:
            return self._h2.get_next_available_stream_id()
        except NoAvailableStreamIDError:
            self.usable = False
            raise Unprocessed from None

    def _limit(self) -> int:
        return min(_MOST_STREAMS, self._h2.remote_settings.max_concurrent_streams)

    def _make_room(self) -> None:
        """Let those that wait go on, as many as have room now; close what is no longer used."""
        room = self._limit() - len(self._streams) if self.usable else len(self._waiting)
        while self._waiting and room > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1
        if not self.usable and not self._streams:
            self.close()

    def _reset(self, stream_id: int) -> None:
        """Tell the server that nobody waits for this answer any more."""
        if self._transport is not None and not self._transport.is_closing():
            self._guarded(lambda: self._h2.reset_stream(stream_id, ErrorCodes.CANCEL))
            self._flush_soon()

    def _pump(self, stream_id: int) -> None:
        """Send as much of a body as the server takes now."""
        body = self._unsent[stream_id]
        while body:
            size = min(
                self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size, len(body)
            )
            if size <= 0:
                self._unsent[stream_id] = body
                return
            body, piece = body[size:], body[:size]
            self._h2.send_data(stream_id, piece, end_stream=not body)
        del self._unsent[stream_id]

    def _flush_soon(self) -> None:
        """Write what is to be sent, together with what else is asked for in this turn of the loop."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        data = self._h2.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, if it is HTTP/2 that the server has chosen."""
        # That of uvloop's TLS is one in all but name.
        self._transport = cast("asyncio.Transport", transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is None or tls.selected_alpn_protocol() != "h2":
            self._fail(Failed("connect"))
            self._transport.abort()
            return
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take what came: first of all a goodbye among it."""
        self._heard += 1
        try:
            rest, goodbye = self._filter.take(data)
        except FrameTooLongError:
            self.abort()
            return
        self._guarded(lambda: self._handle_all(rest))
        if goodbye is not None:
            self._goodbye(goodbye)
        self._flush_soon()

    def _guarded(self, act: Callable[[], None]) -> None:
        """Do something with h2, and give the connection up when the server breaks the protocol."""
        try:
            act()
        except H2Error:
            self.abort()

    def _handle_all(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            self._handle(event)

    def _handle(self, event: Event) -> None:
        if isinstance(event, RemoteSettingsChanged):
            if not self.ready.done():
                self.usable = True
                self.ready.set_result(None)
            self._pump_all()
            self._make_room()
        elif isinstance(event, WindowUpdated):
            self._pump_all()
        elif isinstance(event, ResponseReceived):
            self._begin(event)
        elif isinstance(event, DataReceived):
            self._add(event)
        elif isinstance(event, StreamEnded):
            self._end(event.stream_id)
        elif isinstance(event, StreamReset):
            refused = event.error_code == ErrorCodes.REFUSED_STREAM
            self._unsent.pop(event.stream_id, None)
            self._settle(event.stream_id, Unprocessed() if refused else Failed("connect"))

    def _pump_all(self) -> None:
        for stream_id in list(self._unsent):
            self._pump(stream_id)

    def _begin(self, event: ResponseReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        for name, value in event.headers:
            text = bytes(value).decode("latin-1")
            if bytes(name) == b":status":
                stream.status = int(text) if text.isdecimal() else None
            else:
                stream.headers[bytes(name).decode("latin-1")] = text

    def _add(self, event: DataReceived) -> None:
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        stream.body += event.data
        if len(stream.body) > ANSWER_LIMIT:
            self._settle(event.stream_id, Failed("too_large"))
            self._reset(event.stream_id)

    def _end(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.answer.done():
            stream.answer.set_result(
                Http2Answer(status=stream.status, headers=stream.headers, body=bytes(stream.body))
            )

    def _settle(self, stream_id: int, fault: Exception) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.answer.done():
            stream.answer.set_exception(fault)

    def _goodbye(self, goodbye: GoAway) -> None:
        """Take no more requests; what the server has not looked at may go elsewhere, the rest is still answered."""
        self.usable = False
        if not self.ready.done():
            self.ready.set_exception(Failed("connect"))
        for stream_id in self._streams:
            if stream_id > goodbye.last_stream_id:
                self._settle(stream_id, Unprocessed())
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all that is under way."""
        # From TLS 1.3 on a server that does not take our certificate ends the connection after the handshake, and what
        # it says of that may be lost.
        refused = not self.ready.done() and (isinstance(exc, ssl.SSLError) or not self._heard)
        if self._suspicion is not None:
            self._suspicion.cancel()
        self._fail(Failed("tls" if refused else "connect"))
        self.ended.set()

    def _fail(self, fault: Failed) -> None:
        self.usable = False
        if not self.ready.done():
            self.ready.set_exception(fault)
        for stream_id in self._streams:
            self._settle(stream_id, fault)
        self._make_room()

    def suspect(self) -> None:
        """A request had no answer in time: ask whether anything comes at all, and give up when nothing does.

        Requests that are late together ask once: the server has its time to answer, however many they are.
        """
        if self.usable and self._suspicion is None:
            self._heard = 0
            self._guarded(lambda: self._h2.ping(b"\0" * 8))
            self._flush_soon()
            self._suspicion = self._loop.call_later(self._patience, self._judge)

    def _judge(self) -> None:
        self._suspicion = None
        if self._heard == 0:
            self.abort()

    def close(self) -> None:
        """Close after what is to be sent has been."""
        self.usable = False
        if self._transport is not None and not self._transport.is_closing():
            self._guarded(self._h2.close_connection)
            self._flush()
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()
