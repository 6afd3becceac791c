"""Since when a process could have heard doctors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from tests.api.waiting_room.room import Room
from tests.conftest import FixedClock, InProcess, in_process
from tests.webhooks.engine import eventually

from rxdesk import app
from rxdesk.db import embedded
from rxdesk.waiting_room.hearing import Hearing


class Heard:
    """A hearing that looks every ten seconds, while the database answers or does not."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.there = True
        self.hearing = Hearing(self.clock, self._answers)

    async def _answers(self) -> bool:
        return self.there

    async def for_seconds(self, seconds: int) -> float:
        """Look for so long; give for how many seconds doctors have been heard."""
        for _ in range(seconds // 10):
            self.clock.moment += timedelta(seconds=10)
            await self.hearing.look()
        return (self.clock.moment - self.hearing.since).total_seconds()


async def test_hearing_goes_on_while_the_database_answers() -> None:
    assert await Heard().for_seconds(3600) == 3600


async def test_it_begins_anew_when_the_database_was_away() -> None:
    """However short that was, and though this process was asked for nothing meanwhile."""
    heard = Heard()
    await heard.for_seconds(600)
    heard.there = False
    assert await heard.for_seconds(40) == 0
    heard.there = True
    assert await heard.for_seconds(60) == 60


@pytest.mark.parametrize("by", [timedelta(minutes=5), timedelta(days=-365), timedelta(days=365)])
async def test_it_begins_anew_when_the_process_stood_still_or_its_clock_was_set(by: timedelta) -> None:
    heard = Heard()
    await heard.for_seconds(600)
    heard.clock.moment += by
    assert await heard.for_seconds(10) == 0
    assert await heard.for_seconds(300) == 300


@asynccontextmanager
async def run(inside: InProcess) -> AsyncIterator[None]:
    """What goes on in a serving process beside its requests."""
    sent: asyncio.Queue[str] = asyncio.Queue()
    ending = asyncio.Event()
    begun = False

    async def receive() -> dict[str, str]:
        nonlocal begun
        if begun:
            await ending.wait()
            return {"type": "lifespan.shutdown"}
        begun = True
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, str]) -> None:
        sent.put_nowait(message["type"])

    serving = asyncio.create_task(inside.app({"type": "lifespan"}, receive, send))
    assert await sent.get() == "lifespan.startup.complete"
    try:
        yield
    finally:
        ending.set()
        await serving


async def test_a_server_looks_by_itself(
    cluster: embedded.Address, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A colleague who calls at a server that was asked for nothing takes nobody's patient after an outage."""
    monkeypatch.setattr(app, "LOOK_SECONDS", 0.01)
    shop = await room.shop()
    doctor, other = await room.doctor(shop), await room.doctor(shop)
    uid = await room.patient(shop)
    assert await room.call(doctor) == uid
    async with in_process(cluster, room.inside.clock) as idle, run(idle):
        looks = len(idle.statements)
        room.later(hours=1)
        await eventually(lambda: len(idle.statements) > looks + 1)
        back = Room(idle, room.tenant, room.headers)
        assert await back.call(other) is None
        assert (await back.status(uid))["status"] == "allocated"
