"""HTTP/2 to one server, through the one door to the outside: connects when it has to, many requests at once."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path

from rxdesk.kit.connector import Failed
from rxdesk.kit.deadlines import Deadlines
from rxdesk.kit.egress import Egress
from rxdesk.kit.http2_connection import Connection, Http2Answer, Unprocessed

__all__ = ["Http2Answer", "Http2Client", "client_tls"]

_TRIES = 3
_TLS_CLOSE_PATIENCE = 1.0


def client_tls(ca_file: Path | None, certificate_file: Path, key_file: Path, password: str) -> ssl.SSLContext:
    """Make the TLS of a client that proves itself with a certificate; files in PEM.

    Raises OSError (`ssl.SSLError` is one) when a file is missing or cannot be used.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    context.load_cert_chain(certificate_file, key_file, lambda: password)
    context.set_alpn_protocols(["h2"])
    return context


class Http2Client:
    """Sends requests to one origin. It connects when it has to, and again when the connection has ended.

    `url` gives scheme (https), host and port. The address is judged whenever a connection is made; the origin is the
    operator's, never a tenant's, so one that lasts is not judged again. A connection on which a request had no
    answer in time is asked for a sign of life, and left when none comes within `silence` seconds.
    """

    def __init__(
        self, egress: Egress, url: str, tls: ssl.SSLContext, *, connect: float = 5.0, silence: float = 5.0
    ) -> None:
        self._egress = egress
        self._url = url
        self._tls = tls
        self._patience = connect
        self._silence = silence
        self._deadlines = Deadlines()
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection] | None = None
        self.connections = 0  # made so far

    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"", *, total: float = 10.0
    ) -> Http2Answer:
        """Send one request within `total` seconds; one that the server did not look at is sent up to three times.

        Raises TargetInvalid or TargetForbidden when the policy refuses the URL.
        """
        connection: Connection | None = None
        try:
            with self._deadlines.after(total):
                for _ in range(_TRIES):
                    connection = await self._usable()
                    try:
                        return await connection.exchange(method, path, headers, body)
                    except Unprocessed:
                        continue
            return Http2Answer(error="connect")
        except TimeoutError:
            if connection is not None:
                connection.suspect()
            return Http2Answer(error="timeout")
        except Failed as fault:
            return Http2Answer(error=fault.failure)

    async def close(self) -> None:
        """Say goodbye and close; requests under way end with `connect`."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._connection is not None:
            self._connection.close()
            await self._connection.ended.wait()

    async def _usable(self) -> Connection:
        """Give a connection that takes requests; all who need a new one wait for the same."""
        if self._connection is not None and self._connection.usable:
            return self._connection
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    def _opened(self, task: asyncio.Task[Connection]) -> None:
        self._opening = None
        if not task.cancelled() and task.exception() is None:
            self._connection = task.result()

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        connection, target = await self._egress.dial(self._url, connect=self._patience)
        made = Connection(target.authority, self._silence)
        try:
            async with asyncio.timeout(self._patience):
                await loop.create_connection(
                    lambda: made,
                    sock=connection,
                    ssl=self._tls,
                    server_hostname=target.host,
                    ssl_shutdown_timeout=_TLS_CLOSE_PATIENCE,
                )
                await made.ready
        except TimeoutError:
            raise Failed("timeout") from None
        except OSError as fault:
            raise Failed("tls") from fault
        finally:
            if not made.usable:
                made.abort()
        self.connections += 1
        return made
