"""Notices of the database: one connection that hears a channel, and is opened again whenever it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from rxdesk.db.pool import Connect, Connection

_RECONNECT_SECONDS = (0.05, 1.0)  # the first pause, and the longest
_STATEMENT_SECONDS = 5.0
# A connection that died unseen hears nothing, and says nothing of it: it is asked now and then.
_PROBE_SECONDS = 10.0

_log = structlog.get_logger("rxdesk.listening")


class Listener:
    """Hears notices on a channel while `run` runs.

    `heard` is called with the payload of each; `connected` whenever it begins to hear, as whatever was told before
    may have been missed. Neither may raise. Needs a connection of its own to the database, not one by way of a pooler
    that shares them between transactions: by that it hears nothing.
    """

    def __init__(
        self, connect: Connect, channel: str, *, heard: Callable[[str], None], connected: Callable[[], None]
    ) -> None:
        self._connect = connect
        self._channel = channel
        self._heard = heard
        self._connected = connected
        self._listening = False

    async def run(self) -> None:
        """Listen until cancelled."""
        pause = _RECONNECT_SECONDS[0]
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 (whatever it is, it is tried again)
                name = type(error).__name__
            else:
                name = "ConnectionLost"
            if self._listening:
                pause = _RECONNECT_SECONDS[0]
                self._listening = False
                _log.warning("notices_lost", error=name)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _RECONNECT_SECONDS[1])

    async def _listen(self) -> None:
        """Listen with one connection until it is lost."""
        lost = asyncio.Event()
        async with asyncio.timeout(_STATEMENT_SECONDS):
            connection = await self._connect()
        try:
            connection.add_termination_listener(lambda _: lost.set())
            async with asyncio.timeout(_STATEMENT_SECONDS):
                await connection.add_listener(self._channel, lambda *notice: self._heard(str(notice[3])))
            self._listening = True
            self._connected()
            while not lost.is_set():
                await self._watch(connection, lost)
        finally:
            connection.terminate()

    @staticmethod
    async def _watch(connection: Connection, lost: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await lost.wait()
        except TimeoutError:
            async with asyncio.timeout(_STATEMENT_SECONDS):
                await connection.execute("SELECT true")
