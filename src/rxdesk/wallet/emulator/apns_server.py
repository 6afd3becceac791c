"""The emulator's push service on the wire: an HTTP/2 server that wants a pass certificate."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import uuid
from collections.abc import Callable
from typing import Any, Literal, cast

from cryptography import x509
from cryptography.x509.oid import NameOID
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from rxdesk.wallet.apple.trial import TrialFiles
from rxdesk.wallet.emulator.apns import STATUS, Devices, Refusal, judge_request

Trouble = Refusal | Literal["reset", "goaway"]
"""What goes wrong with a request: an answer, the connection reset, or a goodbye that leaves the request unprocessed."""

_STREAMS = 1000


def server_tls(files: TrialFiles) -> ssl.SSLContext:
    """Make the TLS of a server that takes clients with a certificate of the chain only."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.root)
    context.load_verify_locations(cafile=files.intermediate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files.server_certificate, files.server_key)
    context.set_alpn_protocols(["h2"])
    return context


class ApnsServer:
    """Serves pushes. `trouble` is asked with the number of each request, from 1, what goes wrong with it."""

    def __init__(
        self, devices: Devices, tls: ssl.SSLContext, trouble: Callable[[int], Trouble | None] | None = None
    ) -> None:
        self.devices = devices
        self.requests = 0
        self.connections = 0
        self._tls = tls
        self._trouble = trouble
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    async def start(
        self, address: str = "127.0.0.1", port: int = 0, listener: socket.socket | None = None
    ) -> int:
        """Listen, on a socket that listens already where one is given; give the port."""
        loop = asyncio.get_running_loop()
        where: dict[str, Any] = {"host": address, "port": port} if listener is None else {"sock": listener}
        self._server = await loop.create_server(lambda: _Connection(self), ssl=self._tls, **where)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and end all connections at once."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            connection.abort()

    def next_trouble(self) -> Trouble | None:
        """Count a request and say what goes wrong with it."""
        self.requests += 1
        return self._trouble(self.requests) if self._trouble is not None else None

    def opened(self, connection: _Connection) -> None:
        """Take note of a connection."""
        self.connections += 1
        self._open.add(connection)

    def ended(self, connection: _Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)


class _Connection(asyncio.Protocol):
    def __init__(self, server: ApnsServer) -> None:
        self._server = server
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        self._h2.local_settings = Settings(
            client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: _STREAMS}
        )
        self._transport: asyncio.Transport | None = None
        self._requests: dict[int, tuple[list[tuple[str, str]], bytearray]] = {}
        self._pass_type: str | None = None
        self._leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # That of uvloop's TLS is one in all but name.
        self._transport = cast("asyncio.Transport", transport)
        self._server.opened(self)
        self._pass_type = _pass_type_of(transport.get_extra_info("ssl_object"))
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the base class's signature
        self._server.ended(self)

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._handle(event)
        except H2Error:
            self.abort()
            return
        self._flush()

    def _handle(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            fields = [(str(name), str(value)) for name, value in event.headers]
            self._requests[event.stream_id] = (fields, bytearray())
        elif isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.stream_id in self._requests:
                self._requests[event.stream_id][1].extend(event.data)
        elif isinstance(event, StreamReset):
            self._requests.pop(event.stream_id, None)
        elif isinstance(event, StreamEnded) and event.stream_id in self._requests:
            self._answer(event.stream_id, *self._requests.pop(event.stream_id))

    def _answer(self, stream_id: int, fields: list[tuple[str, str]], body: bytearray) -> None:
        if self._leaving:
            return
        trouble = self._server.next_trouble()
        if trouble == "reset":
            self.abort()
        elif trouble == "goaway":
            self._say_goodbye(stream_id - 2)
        else:
            refusal = trouble or judge_request(fields, bytes(body), self._pass_type, self._server.devices)
            self._send(stream_id, refusal, dict(fields).get("apns-id") or str(uuid.uuid4()))

    def _send(self, stream_id: int, refusal: Refusal | None, apns_id: str) -> None:
        status = 200 if refusal is None else STATUS[refusal.reason]
        self._h2.send_headers(
            stream_id, [(":status", str(status)), ("apns-id", apns_id)], end_stream=refusal is None
        )
        if refusal is not None:
            said: dict[str, str | int] = {"reason": refusal.reason}
            if refusal.timestamp is not None:
                said["timestamp"] = refusal.timestamp
            self._h2.send_data(stream_id, json.dumps(said).encode(), end_stream=True)

    def _say_goodbye(self, last_stream_id: int) -> None:
        """Take no more requests than those up to a stream. Written past h2, which would answer none of those then."""
        self._leaving = True
        self._flush()
        frame = GoAwayFrame(
            last_stream_id=max(last_stream_id, 0),
            error_code=ErrorCodes.NO_ERROR,
            additional_data=json.dumps({"reason": "Shutdown"}).encode(),
        )
        if self._transport is not None:
            self._transport.write(frame.serialize())

    def _flush(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._h2.data_to_send())

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()


def _pass_type_of(tls: ssl.SSLObject | None) -> str | None:
    encoded = tls.getpeercert(binary_form=True) if tls is not None else None
    if encoded is None:
        return None
    names = x509.load_der_x509_certificate(encoded).subject.get_attributes_for_oid(NameOID.USER_ID)
    return str(names[0].value) if names else None
