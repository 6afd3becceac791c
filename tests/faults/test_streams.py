"""Live streams while clients are cut off, connections and PostgreSQL are killed, servers stop: no step is lost.

The outbox is the ledger: what a client heard, however often it was cut off, are the steps that the outbox holds, each
once and in their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from tests.api.waiting_room.streams import ENOUGH, Desk, Event, Follower, desk_at, steps
from tests.conftest import Live, start_live, stop_live
from tests.factories import Tenant, make_tenant
from tests.faults.kills import ServerProcess
from tests.linear.recording import answering
from tests.webhooks.engine import eventually

from rxdesk.db import embedded, migrate
from rxdesk.db.location import Kept

Strike = Callable[[], Awaitable[None]]
AGAIN_SECONDS = 0.05  # before a server that does not answer is asked again
# What is read again now and then, though nothing was heard, must not hide that a notice was missed.
TWO: dict[str, Any] = {"workers": 2, "stream_comment_seconds": 300}


@dataclass
class Heard:
    """What a client heard of one path, over all the connections that it had."""

    desk: Desk
    path: str
    chance: random.Random
    events: list[Event] = field(default_factory=list)
    last: str | None = None
    openings: int = 0

    async def follow(self, until: Callable[[], bool]) -> None:
        """Follow, be cut off after a few events, and come back, until there is enough."""
        while not until():
            try:
                stream = await self.desk.follow(self.path, self.last)
            except (ConnectionError, asyncio.IncompleteReadError):
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if stream.status == 200:
                self.openings += 1
                with contextlib.suppress(ConnectionError):
                    await self._some(stream, until)
            elif stream.status != 503:
                raise AssertionError(stream.status)
            else:
                await asyncio.sleep(AGAIN_SECONDS)
            stream.cut()

    async def _some(self, stream: Follower, until: Callable[[], bool]) -> None:
        for _ in range(self.chance.randrange(1, 12)):
            event = await stream.next()
            if event is None:
                return
            self.last = event.id
            self.events.append(event)
            if until():
                return

    @property
    def position(self) -> int:
        return int(self.last or 0)


async def _tried(change: Callable[[], Awaitable[object]]) -> None:
    """Make a change; one that is refused or whose answer is lost may have happened, which the ledger tells."""
    with contextlib.suppress(AssertionError, httpx.TransportError):
        await change()


async def _come_and_go(desk: Desk, shop: str, patients: list[str]) -> None:
    async def one(patient: str) -> None:
        uid = await desk.patient(shop, patient)
        await desk.leave(uid)

    for patient in patients:
        await _tried(lambda patient=patient: one(patient))  # type: ignore[misc] # the loop's


async def _hand_to_and_fro(desk: Desk, uid: str, doctors: list[str], times: int) -> None:
    for number in range(times):
        body = {"doctor_uid": doctors[number % 2], "to_doctor_uid": doctors[1 - number % 2]}
        while True:
            try:
                await desk.visit(uid, "hand-over", body)
            except (AssertionError, httpx.TransportError):
                visit = await _shown(desk, doctors)
                if visit[doctors[1 - number % 2]] == [uid]:
                    break  # it has happened, and its answer was lost
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                break


async def _shown(desk: Desk, doctors: list[str]) -> dict[str, list[str]]:
    """The visits that each of these doctors has."""
    found: dict[str, list[str]] = {}
    while len(found) < len(doctors):
        for doctor in doctors:
            with contextlib.suppress(AssertionError, httpx.TransportError):
                duty = await desk.done("GET", f"/v1/operations/waiting-room/doctors/{doctor}")
                found[doctor] = [visit["queue_uid"] for visit in duty["visits"]]
        await asyncio.sleep(AGAIN_SECONDS)
    return found


async def storm(
    desk: Desk, changes: int, strike: Strike | None = None, *, every: float = 0.5, seed: int = 5
) -> list[Heard]:
    """Change a shop's room while clients follow it and are cut off; what they heard must be what the ledger holds.

    It strikes again and again meanwhile, `every` so many seconds at most.
    """
    chance = random.Random(seed)
    shop = await desk.shop()
    doctors = [await desk.doctor(shop) for _ in range(2)]
    uid = await desk.patient(shop)
    await desk.duty(doctors[0], "call-next")
    patients = [[await desk.tenant.insert("patients") for _ in range(changes // 8)] for _ in range(3)]
    begun = len(await desk.told())
    of_board = [
        Heard(desk, desk.board_path(shop), random.Random(seed + n), last=str(begun)) for n in range(3)
    ]
    of_visit = [Heard(desk, desk.path(uid), random.Random(seed * 7 + n), last=str(begun)) for n in range(2)]
    last = {"board": -1, "visit": -1}
    following: list[asyncio.Task[None]] = []

    async def change() -> None:
        async with asyncio.TaskGroup() as writers:
            for some in patients:
                writers.create_task(_come_and_go(desk, shop, some))
            writers.create_task(_hand_to_and_fro(desk, uid, doctors, changes // 4))
        while min(last.values()) < 0:
            with contextlib.suppress(asyncpg.PostgresError, OSError, asyncpg.InterfaceError):
                last.update(board=await _last(desk), visit=await _last(desk, uid))
            await asyncio.sleep(
                0.01
            )  # a closed connection says so at once, and somebody must come to open one
        # Who has heard all of it already hears by this that it is enough.
        while not all(task.done() for task in following):
            await _come_and_go(desk, shop, patients[0][:1])
            await _hand_to_and_fro(desk, uid, doctors, 2)

    async def strikes() -> None:
        while strike is not None and min(last.values()) < 0:
            await asyncio.sleep(chance.uniform(0, every))
            await strike()

    async with asyncio.timeout(ENOUGH * 6), asyncio.TaskGroup() as group:
        for kind, clients in (("board", of_board), ("visit", of_visit)):
            for one in clients:
                enough = lambda one=one, kind=kind: 0 <= last[kind] <= one.position  # noqa: E731 - of this client
                following.append(group.create_task(one.follow(enough)))
        group.create_task(change())
        group.create_task(strikes())
    _require(of_board, await desk.told(begun), last["board"])
    _require(of_visit, await desk.told(begun, uid), last["visit"])
    return [*of_board, *of_visit]


def _require(clients: list[Heard], told: list[tuple[str, str, str]], last: int) -> None:
    """Each heard what was told, to the last position at least, and was cut off on the way."""
    for one in clients:
        heard = steps(one.events)
        assert heard == told[: len(heard)]
        assert int(heard[-1][0]) >= last
        assert one.openings > 3


async def _last(desk: Desk, uid: str | None = None) -> int:
    told = await desk.told(0, uid)
    return int(told[-1][0])


@pytest.fixture
async def two_workers(cluster: embedded.Address, tenant: Tenant) -> AsyncIterator[Desk]:
    server = start_live(cluster, **TWO)
    async with desk_at(server.url, tenant) as desk:
        yield desk
    stop_live(server)


async def test_clients_that_are_cut_off(two_workers: Desk) -> None:
    await storm(two_workers, 240)


async def test_connections_for_notices_are_killed(two_workers: Desk, cluster: embedded.Address) -> None:
    administrator = await asyncpg.connect(**cluster.connect_args(embedded.SUPERUSER))
    killed = 0

    async def kill() -> None:
        nonlocal killed
        killed += len(
            await administrator.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%rxdesk_rooms%'"
            )
        )

    await storm(two_workers, 240, kill)
    assert killed
    await administrator.close()


async def test_workers_are_killed(cluster: embedded.Address, tenant: Tenant) -> None:
    """Whoever was followed by one goes on with the other."""
    server = ServerProcess(cluster, None, **TWO)
    chance = random.Random(3)

    async def kill() -> None:
        server.kill_worker(chance)

    try:
        await answering(server.url)
        async with desk_at(server.url, tenant) as desk:
            await storm(desk, 240, kill)
    finally:
        await asyncio.to_thread(server.end)


async def test_a_change_reaches_the_streams_of_another_worker(two_workers: Desk) -> None:
    """Connections of one client go to either worker; so do those that change."""
    desk = two_workers
    shop = await desk.shop()
    streams = [await desk.follow(desk.board_path(shop)) for _ in range(16)]
    for stream in streams:
        await stream.until("snapshot")
    uids = []
    for _ in range(8):
        async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
            uids.append(await Desk(desk.url, http, desk.tenant, desk.headers).patient(shop))
    for stream in streams:
        heard: list[str] = []
        while len(heard) < len(uids):
            heard += [uid for _, uid, _ in steps(await stream.until("snapshot"))]
        assert heard == uids


async def test_notices_are_heard_again_after_a_kill_without_a_change(
    two_workers: Desk, cluster: embedded.Address
) -> None:
    """What changed while nobody listened is told, though no notice of it comes any more."""
    desk = two_workers
    shop = await desk.shop()
    streams = [await desk.follow(desk.board_path(shop)) for _ in range(4)]
    for stream in streams:
        await stream.until("snapshot")
    administrator = await asyncpg.connect(**cluster.connect_args(embedded.SUPERUSER))
    for _ in range(5):
        await administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%rxdesk_rooms%'"
        )
        uid = await desk.patient(shop)
        for stream in streams:
            assert uid in [one for _, one, _ in steps(await stream.until("snapshot"))]
    await administrator.close()


@dataclass
class Dying:
    """A server of two workers on a PostgreSQL of its own, which is killed at once and without a goodbye."""

    kept: Kept
    desk: Desk

    async def die(self) -> None:
        """Kill it, and wait until it is back."""
        pid = self.kept.pid
        os.kill(pid, signal.SIGQUIT)
        await eventually(lambda: self.kept.pid != pid)
        await eventually(self._reached)

    async def _reached(self) -> bool:
        try:
            connection = await asyncpg.connect(**self.kept.address.connect_args(embedded.APP), timeout=5)
        except (OSError, asyncpg.PostgresError):
            return False
        self.desk.tenant.connection.terminate()
        self.desk.tenant = replace(self.desk.tenant, connection=connection)
        return True


@pytest.fixture
async def dying(tmp_path: Path) -> AsyncIterator[Dying]:
    kept = Kept(tmp_path / "data", purpose="tests", say=lambda _: None)
    kept.watch(lambda *_, **__: None)
    server: Live | None = None
    try:
        await migrate.migrate(kept.address.connect_args(embedded.OWNER))
        owner = await asyncpg.connect(**kept.address.connect_args(embedded.OWNER))
        await migrate.grant(owner, embedded.APP)
        await owner.close()
        connection = await asyncpg.connect(**kept.address.connect_args(embedded.APP))
        server = start_live(kept.address, **TWO)
        async with desk_at(server.url, await make_tenant(connection)) as desk:
            yield Dying(kept, desk)
            desk.tenant.connection.terminate()
    finally:
        if server is not None:
            stop_live(server)
        kept.stop()


async def test_postgresql_dies(dying: Dying) -> None:
    heard = await storm(dying.desk, 240, dying.die)
    assert sum(one.openings for one in heard) > 10


async def test_what_happened_while_postgresql_was_away_is_told(dying: Dying) -> None:
    """And a stream lives on without a new connection of its client."""
    desk = dying.desk
    shop = await desk.shop()
    uid = await desk.patient(shop)
    streams = [await desk.follow(path) for path in (desk.path(uid), desk.board_path(shop))]
    for stream in streams:
        await stream.until("snapshot")
    await dying.die()
    connection = desk.tenant.connection
    await desk.tenant.enter()
    # By a hand that tells nobody: only what is read again shows it.
    await connection.execute(
        "UPDATE waiting_room_visits SET status = 'cancelled' WHERE organisation_id = $1 AND uid = $2",
        desk.tenant.id,
        uid,
    )
    for stream in streams:
        snapshot = (await stream.until("snapshot"))[-1]
        assert uid not in [one["queue_uid"] for one in snapshot.data.get("data", [])]


@pytest.mark.proof
async def test_clients_that_are_cut_off_at_length(
    two_workers: Desk, record_property: Callable[[str, object], None]
) -> None:
    heard = await storm(two_workers, 6000)
    record_property("openings", sum(one.openings for one in heard))
    record_property("steps", sum(len(steps(one.events)) for one in heard))


@pytest.mark.proof
async def test_postgresql_dies_again_and_again(
    dying: Dying, record_property: Callable[[str, object], None]
) -> None:
    heard = await storm(dying.desk, 2000, dying.die, every=4)
    record_property("openings", sum(one.openings for one in heard))
    record_property("steps", sum(len(steps(one.events)) for one in heard))


async def test_streams_end_with_the_server(cluster: embedded.Address, tenant: Tenant) -> None:
    """At once and whole, not cut off; a worker that hung would be killed after ten seconds."""
    server = start_live(cluster, workers=2)
    async with desk_at(server.url, tenant) as desk:
        shop = await desk.shop()
        streams = [await desk.follow(desk.board_path(shop)) for _ in range(100)]
        for stream in streams:
            await stream.until("snapshot")
        retries = {stream.retry for stream in streams}
        assert len(retries) > 50  # they will not come back all at once
        stopping = asyncio.create_task(asyncio.to_thread(stop_live, server))
        for stream in streams:
            assert await stream.rest() == []
        await stopping
        assert server.process.exitcode == 0
