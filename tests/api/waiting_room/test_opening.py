"""What happens between the reading of a stream's beginning and its joining: nothing of it is missed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from tests.api.waiting_room.room import Room
from tests.conftest import in_process
from tests.factories import Tenant
from tests.webhooks.engine import eventually

from rxdesk.db import embedded

BOARD = "/v1/operations/waiting-room/events"
VISIT = "/v1/management/waiting-room"


class Tap:
    """One stream of the application in this process, and what came of it; `begun` runs before it has joined."""

    def __init__(
        self, room: Room, path: str, query: str, begun: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.text = ""
        self._begun = begun
        self._gone = asyncio.Event()
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"x-api-key", room.headers["X-API-Key"].encode())],
            "client": ("127.0.0.1", 1),
        }
        self.task = asyncio.create_task(room.inside.app(self._scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and self._begun is not None:
            await self._begun()
        self.text += message.get("body", b"").decode()

    async def shows(self, *texts: str) -> None:
        await eventually(lambda: all(text in self.text for text in texts), 20, lambda: self.text)

    async def leave(self) -> None:
        self._gone.set()
        await self.task


@pytest.fixture
async def room(cluster: embedded.Address, tenant: Tenant) -> AsyncIterator[Room]:
    """Nothing is read again by itself while a test lasts."""
    async with in_process(cluster, stream_comment_seconds=300) as inside:
        yield Room(inside, tenant, await tenant.headers())


@pytest.fixture
async def taps() -> AsyncIterator[list[Tap]]:
    opened: list[Tap] = []
    yield opened
    for tap in opened:
        await tap.leave()


async def test_a_change_that_was_heard_before_the_stream_had_joined(room: Room, taps: list[Tap]) -> None:
    shop = await room.shop()
    uid = await room.patient(shop)
    first = Tap(room, BOARD, f"shop_uid={shop}")
    taps.append(first)
    await first.shows("snapshot")
    added: list[str] = []

    async def change() -> None:
        added.append(await room.patient(shop))
        await first.shows(f'"uid":"{added[-1]}"')  # so it was heard, and read, before the second has joined

    board = Tap(room, BOARD, f"shop_uid={shop}", change)
    taps.append(board)
    await board.shows("event: step")
    await board.shows(added[0])
    visit = Tap(room, f"{VISIT}/{uid}/events", "", lambda: _leave(room, uid, first))
    taps.append(visit)
    await visit.shows("event: step", '"status":"cancelled"', "event: end")


async def _leave(room: Room, uid: str, first: Tap) -> None:
    await room.inside.client.delete(f"/waiting-room/{uid}", headers=room.headers)
    await first.shows(f'"uid":"{uid}","status":"cancelled"')


async def test_a_change_that_nobody_heard_before_the_first_stream_had_joined(
    room: Room, taps: list[Tap]
) -> None:
    """Nobody listened yet: what is missed until then is read when somebody does."""
    shop = await room.shop()

    async def change() -> None:
        await room.patient(shop)

    tap = Tap(room, BOARD, f"shop_uid={shop}", change)
    taps.append(tap)
    await tap.shows("event: step")


async def test_one_connection_listens_for_all_streams(
    room: Room, taps: list[Tap], cluster: embedded.Address
) -> None:
    administrator = await asyncpg.connect(**cluster.connect_args(embedded.SUPERUSER))
    listening = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND application_name = 'tests' "
        "AND backend_start > $1"  # one of a test before may be about to end
    )
    try:
        begun = await administrator.fetchval("SELECT clock_timestamp()")
        shops = [await room.shop() for _ in range(5)]
        taps += [Tap(room, BOARD, f"shop_uid={shop}") for shop in shops for _ in range(4)]
        for tap in taps:
            await tap.shows("snapshot")
        await eventually(lambda: _is(administrator, listening, begun, 1))
        for shop in shops:
            await room.patient(shop)
        for tap in taps:
            await tap.shows("event: step")
        assert await administrator.fetchval(listening, begun) == 1
    finally:
        with contextlib.suppress(OSError):
            await administrator.close()


async def _is(connection: Any, query: str, begun: Any, value: int) -> bool:
    return bool(await connection.fetchval(query, begun) == value)
