"""The connector below the one door to the outside: sockets that were judged, and readers that give up.

aiohttp's own TCP connector offers no place between the end of connecting and TLS, and reports a connection that breaks
in the handshake as one that was never made.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeAlias

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader

Failure: TypeAlias = Literal["dns", "connect", "tls", "timeout", "redirect", "status", "too_large"]

_INTERIM_LIMIT = 16
_PIECE = 4096
_TLS_CLOSE_PATIENCE = 1.0
# A kept connection goes to addresses that were judged when it was made; after so long they are judged again.
_OLDEST_SECONDS = 60.0


class Failed(Exception):  # noqa: N818 - carries an outcome, is never seen outside
    """A request failed; the kind of failure is the outcome's."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure: Failure = failure


@dataclass(slots=True, eq=False)
class Request:
    """One request on its way: how to connect for it, and the connection that it has."""

    dial: Callable[[], Awaitable[socket.socket]]
    fresh: bool = False  # not on a connection that was used before
    reader: "ResponseReader | None" = None
    reused: bool = False

    def unheard(self) -> bool:
        """Tell whether it went out on a kept connection and no byte came back, so that it may be sent again."""
        return self.reused and self.reader is not None and not self.reader.heard

    def abort(self) -> None:
        """Close its connection, if it still has it."""
        if self.reader is not None and self.reader.lent_to is self:
            self.reader.close()


CURRENT: ContextVar[Request] = ContextVar("request")
"""The request that a connection is asked for: aiohttp hands through nothing of ours."""


class ResponseReader(ResponseHandler):
    """Reads an answer, gives up on a receiver that sends interim (1xx) answers without end, closes at once.

    An interim answer costs far more to parse than its bytes cost to send, and the deadline only looks between
    two reads: so what came is parsed in small pieces.
    """

    _seen = 0
    heard = False

    def __init__(self, loop: asyncio.AbstractEventLoop, lent_to: Request) -> None:
        super().__init__(loop)
        self.lent_to: Request | None = lent_to
        self.born = loop.time()

    def lend(self, request: Request) -> None:
        """Begin with another request."""
        self.lent_to, self.heard, self._seen = request, False, 0

    def data_received(self, data: bytes) -> None:
        """Take what came; of an answer that nobody asked for, none."""
        if data and self.lent_to is None:
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
        elif self._seen == _INTERIM_LIMIT + 1:
            self.abort()
            self.set_exception(Failed("too_large"))

    def close(self) -> None:
        """Say goodbye (TLS's closing alert) and close without waiting for an answer to it.

        Without a goodbye where the parser failed: aiohttp has closed the transport then, and the event loop
        makes a second close() of a TLS transport turn abort() into nothing.
        """
        if self.transport is not None and self.exception() is None:
            self.transport.close()
        self.abort()


class JudgedConnector(aiohttp.BaseConnector):
    """A connector whose sockets come from the request's `dial`, judged; TLS begins after that.

    With `keep_seconds` a connection waits so long for the next request to the same scheme, host and port.
    """

    def __init__(self, tls: ssl.SSLContext, keep_seconds: float = 0.0) -> None:
        if keep_seconds:
            super().__init__(keepalive_timeout=keep_seconds, limit=0)
        else:
            super().__init__(force_close=True, limit=1)
        self._tls = tls

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list["aiohttp.tracing.Trace"],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the base class's signature
    ) -> Connection:
        """Give a connection, and tell the request which."""
        request = CURRENT.get()
        connection = await super().connect(req, traces, timeout)
        reader = connection.protocol
        if isinstance(reader, ResponseReader):
            request.reused = request.reader is not reader
            request.reader = reader
            reader.lend(request)
        return connection

    async def _get(self, key: ConnectionKey, traces: list["aiohttp.tracing.Trace"]) -> Connection | None:
        return None if CURRENT.get().fresh else await super()._get(key, traces)

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if isinstance(protocol, ResponseReader):
            should_close |= self._loop.time() - protocol.born > _OLDEST_SECONDS
            protocol.lent_to = None
        super()._release(key, protocol, should_close=should_close)

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list["aiohttp.tracing.Trace"],  # noqa: ARG002 - the base class's signature
        timeout: aiohttp.ClientTimeout,  # noqa: ARG002, ASYNC109 - as above
    ) -> ResponseHandler:
        request = CURRENT.get()
        connection = await request.dial()
        secure = req.is_ssl()
        try:
            _, request.reader = await self._loop.create_connection(
                lambda: ResponseReader(self._loop, request),
                sock=connection,
                ssl=self._tls if secure else None,
                server_hostname=req.url.raw_host if secure else None,
                ssl_shutdown_timeout=_TLS_CLOSE_PATIENCE if secure else None,
            )
        except OSError as fault:
            if isinstance(fault, TimeoutError):
                raise
            raise Failed("tls" if secure else "connect") from fault
        return request.reader
