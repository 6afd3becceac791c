"""Live streams of one process: the memory of each, and how soon a change reaches all of them.

Each stream is of a patient of its own, all in one waiting room. Somebody in front of them leaves, so that each has
another position: that is what must reach all. It is timed from the request to leave until the last client has read its
new position.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import cpu, database
from bench.load import BenchError
from bench.measuring import Plan
from bench.servers import CONTESTANTS, Running, running
from rxdesk.db import embedded
from rxdesk.organisations import commands
from rxdesk.permissions import ALL

Tell = Callable[[str], None]
GOAL_KB, GOAL_MS = 40, 500
WHOLE, QUICK = 2000, 200
_BASE = "/v1/management/waiting-room"
_SHOP = "shop-1"
_SECONDS = 60.0
_WARM = 50  # streams that are opened and closed before memory is looked at
_OPENING_AT_ONCE = 50
_FILES = 512  # that a client of streams has open besides


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured: kB of each stream, before and after the changes, and milliseconds of each change."""

    streams: int
    kb: float
    kb_after: float
    milliseconds: Sequence[float]

    def summary(self) -> dict[str, Any]:
        """Give the members of the result."""
        return {
            "count": self.streams,
            "kb_each": round(self.kb, 1),
            "kb_each_after": round(self.kb_after, 1),
            "ms": round(statistics.median(self.milliseconds), 1),
            "ms_most": round(max(self.milliseconds), 1),
            "changes": len(self.milliseconds),
            "goal_kb": GOAL_KB,
            "goal_ms": GOAL_MS,
        }


class _Client(asyncio.Protocol):
    """One stream. `hears` gives whether the bytes that are waited for have come."""

    def __init__(self, request: bytes, heard: Callable[[], None]) -> None:
        self._request = request
        self._heard = heard
        self._wanted: bytes | None = b"event: snapshot"
        self._tail = b""
        self.transport: asyncio.Transport | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (for mypy: it is of a TCP connection)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._wanted is None:
            return
        data = self._tail + data
        self._tail = data[-len(self._wanted) :]
        if self._wanted in data:
            self._wanted, self._tail = None, b""
            self._heard()

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = True
        if self._wanted is not None:
            self._heard()

    def want(self, wanted: bytes) -> None:
        """Wait for further bytes."""
        self._wanted = wanted


class _Crowd:
    """All clients, and the moment at which the last one heard what it waits for."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._key = key
        self._clients: list[_Client] = []
        self._left = 0
        self._all = asyncio.Event()
        self._last = 0.0

    def _one_heard(self) -> None:
        self._left -= 1
        if not self._left:
            self._last = asyncio.get_running_loop().time()
            self._all.set()

    async def open(self, uids: Sequence[str]) -> None:
        """Open a stream of each visit and wait until each has begun."""
        loop = asyncio.get_running_loop()
        for first in range(0, len(uids), _OPENING_AT_ONCE):
            some = uids[first : first + _OPENING_AT_ONCE]
            self._left = len(some)
            self._all.clear()
            for uid in some:
                request = (
                    f"GET {_BASE}/{uid}/events HTTP/1.1\r\nHost: bench\r\nX-API-Key: {self._key}\r\n\r\n"
                )
                _, client = await loop.create_connection(
                    lambda request=request: _Client(request.encode(), self._one_heard),  # type: ignore[misc] # the loop's
                    self._host,
                    self._port,
                )
                self._clients.append(client)
            await self._wait()

    async def change(self, leaving: str, position: int) -> float:
        """Let a visit be cancelled after which the first client has that position; give milliseconds until all know."""
        self._left = len(self._clients)
        self._all.clear()
        for number, client in enumerate(self._clients):
            client.want(b'"position":%d,' % (position + number))
        begun = asyncio.get_running_loop().time()
        await self._cancel(leaving)
        await self._wait()
        return 1000 * (self._last - begun)

    async def _wait(self) -> None:
        async with asyncio.timeout(_SECONDS):
            await self._all.wait()
        if any(client.lost for client in self._clients):
            raise BenchError("a stream was refused, or has ended")

    async def _cancel(self, uid: str) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        lines = [
            f"DELETE {_BASE}/{uid} HTTP/1.1",
            "Host: bench",
            f"X-API-Key: {self._key}",
            "Connection: close",
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = await reader.read()
        writer.close()
        if not answer.startswith(b"HTTP/1.1 204"):
            raise BenchError(f"a visit could not be cancelled: {answer[:200]!r}")

    async def close(self) -> None:
        """Cut all of them off."""
        for client in self._clients:
            if client.transport is not None:
                client.transport.abort()
        self._clients.clear()
        await asyncio.sleep(0)


_TIMES_AND_ACTOR = "created_at, updated_at, actor_kind, actor_uid"
_OURS = "now(), now(), 'operator', 'bench'"
# $2: how many visits
_FILL = (
    f"""INSERT INTO shops (organisation_id, uid, identifier, display_name, {_TIMES_AND_ACTOR})
    SELECT $1, '{_SHOP}', 'shop', 'Shop', {_OURS} WHERE $2::int > 0""",
    f"""INSERT INTO patients (organisation_id, uid, display_name, {_TIMES_AND_ACTOR})
    SELECT $1, 'pp-' || g, 'Patient', {_OURS} FROM generate_series(1, $2::int) g""",
    f"INSERT INTO waiting_rooms (organisation_id, uid, last_turn) SELECT $1, '{_SHOP}', $2::int",
    f"""INSERT INTO waiting_room_visits (organisation_id, uid, shop_uid, patient_uid, status, turn, {_TIMES_AND_ACTOR})
    SELECT $1, 'q-' || g, '{_SHOP}', 'pp-' || g, 'waiting', g, {_OURS} FROM generate_series(1, $2::int) g""",
)


async def _fill(address: embedded.Address, visits: int) -> tuple[str, list[str]]:
    """Make an organisation with a waiting room of so many; give a key and the visits, first one first."""
    connection = await database.connect(address, embedded.APP)
    organisation = await commands.create_organisation(connection, slug="streams", display_name="Streams")
    await commands.enter(connection, organisation.id)
    key = await commands.create_key(
        connection, organisation.id, name="streams", permissions=list(ALL), per_second=0, per_minute=0
    )
    for statement in _FILL:
        await connection.execute(statement, organisation.id, visits)
    await connection.close()
    return key.key, [f"q-{number}" for number in range(1, visits + 1)]


async def measured(
    server: Running, address: embedded.Address, *, streams: int, changes: int, tell: Tell
) -> Found:
    """Follow so many visits of a fresh database by one server, and let so many in front of them leave."""
    _allow_files(streams + _FILES)
    key, uids = await _fill(address, changes + streams)
    leaving, following = uids[:changes], uids[changes:]
    crowd = _Crowd(server.url, key)
    tell(f"opening {streams:,} streams")
    try:
        await crowd.open(following[:_WARM])
        await crowd.close()
        before = cpu.memory_mb(cpu.tree(server.pid))
        await crowd.open(following)
        opened = cpu.memory_mb(cpu.tree(server.pid))
        milliseconds = []
        for number, uid in enumerate(leaving):
            tell(f"{streams:,} streams: change {number + 1} of {changes}")
            # The first to leave stands in front of all who leave later.
            milliseconds.append(await crowd.change(uid, changes - number))
        after = cpu.memory_mb(cpu.tree(server.pid))
    finally:
        await crowd.close()
    return Found(streams, 1000 * (opened - before) / streams, 1000 * (after - before) / streams, milliseconds)


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < count:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (count if hard == resource.RLIM_INFINITY else min(count, hard), hard)
        )


def measure(
    address: embedded.Address, plan: Plan, folder: Path, *, quick: bool, tell: Tell
) -> dict[str, Any]:
    """Measure on a database of its own; gives members of the result."""

    async def all_of_it() -> Found:
        made = await database.create(address, "bench_streams")
        with running(CONTESTANTS[0], made, cores=plan.servers, log=folder / "streams.log") as server:
            return await measured(
                server, made, streams=QUICK if quick else WHOLE, changes=2 * plan.rounds, tell=tell
            )

    return {"streams": asyncio.run(all_of_it()).summary()}
