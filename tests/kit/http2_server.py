"""A server of HTTP/2 over TLS whose every answer a test decides."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from rxdesk.wallet.apple.trial import TrialFiles

Act = Callable[["Peer", int, dict[str, str], bytes], None]


class Peer(asyncio.Protocol):
    """One connection: `act` is called with each whole request."""

    transport: asyncio.Transport

    def __init__(self, act: Act, settings: dict[SettingCodes, int], peers: list[Peer]) -> None:
        self.act = act
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = Settings(client=False, initial_values=settings)
        self.requests: dict[int, tuple[dict[str, str], bytearray]] = {}
        self.open = 0
        self.most_open = 0
        self.lost = asyncio.Event()
        self.peers = peers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.peers.append(self)
        self.h2.initiate_connection()
        self.flush()

    def connection_lost(self, _: Exception | None) -> None:
        self.lost.set()

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                headers = {str(name): str(value) for name, value in event.headers}
                self.requests[event.stream_id] = (headers, bytearray())
                self.open += 1
                self.most_open = max(self.most_open, self.open)
            elif isinstance(event, DataReceived):
                self.requests[event.stream_id][1].extend(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                headers, body = self.requests[event.stream_id]
                self.act(self, event.stream_id, headers, bytes(body))
        self.flush()

    def answer(self, stream_id: int, status: int = 200, body: bytes = b"", **headers: str) -> None:
        self.open -= 1
        self.h2.send_headers(stream_id, [(":status", str(status)), *headers.items()], end_stream=not body)
        if body:
            self.h2.send_data(stream_id, body, end_stream=True)
        self.flush()

    def say_goodbye(self, last_stream_id: int) -> None:
        self.flush()
        frame = GoAwayFrame(last_stream_id=last_stream_id, additional_data=b'{"reason":"Shutdown"}')
        self.transport.write(frame.serialize())

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)


@contextlib.asynccontextmanager
async def serving(
    files: TrialFiles,
    act: Act,
    settings: dict[SettingCodes, int] | None = None,
    protocols: tuple[str, ...] = ("h2",),
    factory: Callable[[], asyncio.Protocol] | None = None,
) -> AsyncIterator[tuple[int, list[Peer]]]:
    peers: list[Peer] = []
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.server_certificate, files.server_key)
    tls.set_alpn_protocols(list(protocols))
    made: Callable[[], Any] = factory or (lambda: Peer(act, settings or {}, peers))
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], peers
    finally:
        server.close()
        for peer in peers:
            peer.transport.abort()
