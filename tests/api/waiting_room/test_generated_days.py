"""Generated days at a server: what the calibration then says is what the backtest says of the same days."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.api.waiting_room.room import Room
from tests.api.waiting_room.test_habits import learn
from tests.conftest import FixedClock, in_process
from tests.factories import make_tenant

from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.waiting_room.backtest import days as generated
from rxdesk.waiting_room.backtest.replay import replay
from rxdesk.waiting_room.backtest.scores import scores
from rxdesk.waiting_room.estimates.room import Row


class Played:
    """A shop in which doctors and patients do what rows say, at the times that they say.

    The server may choose another patient than the one of the row: then the two change their parts.
    """

    def __init__(self, room: Room, shop: str) -> None:
        self.room = room
        self.shop = shop
        self.doctors: dict[str, str] = {}
        self.visits: dict[str, str] = {}  # the part, and the visit that plays it
        self.with_doctor: dict[str, str] = {}  # the part, and the doctor who has called it

    async def doctor(self, name: str) -> str:
        if name not in self.doctors:
            self.doctors[name] = await self.room.doctor()
        return self.doctors[name]

    async def play(self, row: Row) -> None:
        self.room.inside.clock.moment = datetime.fromtimestamp(row.at, UTC)
        if row.kind == "registered" and row.visit:
            wanted = await self.doctor(row.preferred_doctor) if row.preferred_doctor else None
            self.visits[row.visit] = await self.room.patient(self.shop, wanted)
        elif row.kind == "called" and row.visit and row.doctor:
            await self._call(row.visit, await self.doctor(row.doctor))
        elif row.kind == "cancelled" and row.visit:
            path = f"/waiting-room/{self.visits[row.visit]}"
            await self.room.inside.client.delete(path, headers=self.room.headers)
        elif row.visit:
            await self._end(row.visit, row.kind)
        elif row.doctor:
            await self._duty(row, await self.doctor(row.doctor))

    async def close(self) -> None:
        """Send home whoever still waits, as two doctors may have waited for each other's patients."""
        for visit in (await self.room.get(f"/shops/{self.shop}", limit=200))["data"]:
            await self.room.done(f"/visits/{visit['queue_uid']}/cancel")

    async def _call(self, part: str, doctor: str) -> None:
        visit = await self.room.call(doctor)
        if visit is None:  # all who wait are kept for other doctors
            return
        other = next(name for name, uid in self.visits.items() if uid == visit)
        self.visits[other], self.visits[part] = self.visits[part], visit
        self.with_doctor[part] = doctor

    async def _end(self, part: str, kind: str) -> None:
        doctor = self.with_doctor.pop(part, None)
        if doctor is not None:
            outcome = {"outcome": "treated"} if kind == "completed" else {}
            verb = "complete" if kind == "completed" else "no-show"
            await self.room.done(f"/visits/{self.visits[part]}/{verb}", {"doctor_uid": doctor, **outcome})

    async def _duty(self, row: Row, doctor: str) -> None:
        verbs = {"on_duty": "on-duty", "paused": "pause", "resumed": "resume", "off_duty": "off-duty"}
        body: dict[str, Any] | None = {"shop_uids": [self.shop]} if row.kind == "on_duty" else None
        if row.until is not None:
            body = {"minutes": max(1, round((row.until - row.at) / 60))}
        await self.room.done(f"/doctors/{doctor}/{verbs[row.kind]}", body)


@asynccontextmanager
async def opened(cluster: embedded.Address, connection: Connection) -> AsyncIterator[Played]:
    """A shop whose doctors never lapse: the rows have no heartbeats."""
    clock = FixedClock(datetime.fromtimestamp(generated.FIRST_DAY, UTC))
    tenant = await make_tenant(connection, time_zone="UTC")
    async with in_process(cluster, clock, doctor_heartbeat_seconds=86_400) as inside:
        room = Room(inside, tenant, await tenant.headers())
        yield Played(room, await room.shop())


async def play(cluster: embedded.Address, connection: Connection, seed: int, count: int) -> Any:
    """Play so many days of a seed; gives the calibration of all."""
    async with opened(cluster, connection) as played:
        for rows in generated.days(seed, count):
            for row in rows:
                await played.play(row)
            await played.close()
            await learn(cluster, played.room)
        return (await played.room.get("/calibration"))["overall"]


async def test_a_day(cluster: embedded.Address, app_connection: Connection) -> None:
    found = await play(cluster, app_connection, 1001, 1)
    assert found["count"] > 100
    assert found["mean_absolute_error_minutes"] < 6
    assert 0.6 < found["coverage"] < 0.95


@pytest.mark.proof
@pytest.mark.parametrize("seed", [1001, 1010])
async def test_a_week(cluster: embedded.Address, app_connection: Connection, seed: int) -> None:
    found = await play(cluster, app_connection, seed, 8)
    *_, state = replay(generated.days(seed, 8))
    expected = scores(state.judged)
    assert expected.mae_minutes is not None
    assert found["mean_absolute_error_minutes"] < 1.1 * expected.mae_minutes
    assert 0.75 <= found["coverage"] <= 0.88
