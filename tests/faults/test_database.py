"""The database refuses, is lost, hangs or is slow: a clear 503 in time, and recovery without a restart."""

# ruff: noqa: ASYNC240 (/proc does not block)

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest
from tests.conftest import BASE, Live, start_live, stop_live
from tests.factories import Tenant, make_tenant
from tests.locking import until_waiting

from rxdesk.db import embedded, migrate
from rxdesk.db.embedded_cluster import pgdata_of
from rxdesk.db.pool import Connection
from rxdesk.permissions import ALL

UNAVAILABLE = {"error": "Service unavailable"}
POOL = 4
# What a limit of two seconds or less ends is ended before this, however busy the machine is; what no limit but that of
# the statement, of five seconds, or of the request, of eight, would end is not.
SOON = 4.8
LATE = 7.9
# Seconds that no recovery takes.
ENOUGH = 30.0
CONNECTING = 0.85  # what is refused later may have waited for a new connection, for nine tenths of a second
Timed = tuple[httpx.Response, float]
CUT_SERVING = (
    "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE application_name = 'rxdesk serve'"
)
CUT_WAITING = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
# A kill loses nothing that was committed, as it must not; only a power cut could.
NO_SYNC = {"fsync": "off"}


@dataclass
class Database:
    """A cluster of this file alone, which may be stopped, killed and frozen."""

    folder: Path
    server: embedded.Server

    def start(self) -> None:
        self.server = embedded.start(self.folder, purpose="faults", settings=NO_SYNC)

    def stop(self) -> None:
        self.server.stop()

    def processes(self) -> list[int]:
        postmaster = int((pgdata_of(self.folder) / "postmaster.pid").read_text().split("\n", 1)[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text()
        return [postmaster, *map(int, children.split())]

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing of the database runs; the postmaster first, so that it starts no more."""
        stopped: list[int] = []
        try:
            for _ in range(2):
                for process in self.processes():
                    if process not in stopped:
                        os.kill(process, signal.SIGSTOP)
                        stopped.append(process)
            yield
        finally:
            for process in stopped:
                os.kill(process, signal.SIGCONT)


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="rxdesk-faults-") as folder:
        path = Path(folder)
        made = Database(path, embedded.start(path, purpose="faults", settings=NO_SYNC))

        async def prepare() -> None:
            await migrate.migrate(made.server.address.connect_args(embedded.OWNER))
            owner = await asyncpg.connect(**made.server.address.connect_args(embedded.OWNER))
            await migrate.grant(owner, embedded.APP)
            await owner.close()

        asyncio.run(prepare())
        yield made
        made.stop()


@pytest.fixture(scope="module")
def served(database: Database) -> Iterator[Live]:
    live = start_live(database.server.address, patient=False, database_pool_size=POOL)
    yield live
    stop_live(live)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    opened: Connection = await asyncpg.connect(**database.server.address.connect_args(embedded.APP))
    yield opened
    opened.terminate()


@dataclass(frozen=True)
class Client:
    """Asks the server, with a key and a uid that exist."""

    http: httpx.AsyncClient
    headers: dict[str, str]
    tenant: Tenant
    patient: str

    async def read(self) -> Timed:
        return await self._timed(self.http.get(f"{BASE}/patients/{self.patient}", headers=self.headers))

    async def write(self) -> Timed:
        path = f"{BASE}/waiting-room/none-1"
        return await self._timed(self.http.delete(path, headers=self.headers))

    async def get(self, path: str) -> Timed:
        return await self._timed(self.http.get(path, headers=self.headers))

    @staticmethod
    async def _timed(asking: object) -> Timed:
        started = time.monotonic()
        answer: httpx.Response = await asking  # type: ignore[misc]
        return answer, time.monotonic() - started


@pytest.fixture
async def client(served: Live, connection: Connection) -> AsyncIterator[Client]:
    tenant = await make_tenant(connection)
    patient = await tenant.insert("patients")
    headers = {"X-API-Key": await tenant.key(*ALL)}
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=20) as http:
        made = Client(http, headers, tenant, patient)
        assert (await made.read())[0].status_code == 200
        yield made
        assert served.process.is_alive()


def unavailable(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()) == (503, UNAVAILABLE)
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-request-id"]


async def recovered(client: Client) -> None:
    """Every route is well again."""
    until = time.monotonic() + ENOUGH
    while (await client.read())[0].status_code != 200:
        assert time.monotonic() < until, "no recovery"
        await asyncio.sleep(0.05)
    assert (await client.write())[0].status_code == 404
    assert (await client.get(f"{BASE}/health/"))[0].status_code == 200
    assert (await client.get("/readyz"))[0].status_code == 200
    # The whole pool, not only its first connection.
    answers = await asyncio.gather(*(client.read() for _ in range(POOL * 2)))
    # Again while a new connection takes longer than its second, on a slow machine: a dead one would be told of at once.
    while any(answer.status_code == 503 and took > CONNECTING for answer, took in answers):
        assert time.monotonic() < until, "no recovery of the whole pool"
        answers = await asyncio.gather(*(client.read() for _ in range(POOL * 2)))
    assert {answer.status_code for answer, _ in answers} == {200}


async def test_stopped_and_started_again(database: Database, client: Client) -> None:
    database.stop()
    try:
        for _ in range(3):
            for asking in (client.read, client.write):
                answer, took = await asking()
                unavailable(answer)
                assert took < SOON
        answer, took = await client.get(f"{BASE}/health/")
        assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})
        assert took < SOON
        assert answer.headers["retry-after"] == "1"
        answer, took = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})
        assert took < SOON
        # What needs no database is answered as ever.
        assert (await client.get("/livez"))[0].json() == {"status": "ok"}
        assert (await client.get(f"{BASE}/openapi.json"))[0].status_code == 200
        assert (await client.http.get(f"{BASE}/health/")).status_code == 401
        assert (await client.http.get(f"{BASE}/health/", headers={"X-API-Key": "a"})).status_code == 401
        answers = await asyncio.gather(*(client.read() for _ in range(50)))
        assert all(answer.status_code == 503 and took < SOON for answer, took in answers)
    finally:
        database.start()
    await recovered(client)


async def test_too_many_connections_for_a_further_one(database: Database, client: Client) -> None:
    """Requests are served, one after the other, by those that the server has."""
    administrator = await asyncpg.connect(**database.server.address.connect_args(embedded.SUPERUSER))
    await administrator.execute(CUT_SERVING)
    try:
        assert (await client.read())[0].status_code == 200
        had = await administrator.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", embedded.APP
        )
        await administrator.execute(f"ALTER ROLE {embedded.APP} CONNECTION LIMIT {had}")
        answers = await asyncio.gather(*(client.read() for _ in range(POOL * 4)))
        assert {answer.status_code for answer, _ in answers} == {200}
    finally:
        await administrator.execute(f"ALTER ROLE {embedded.APP} CONNECTION LIMIT -1")
        await administrator.close()
    await recovered(client)


async def test_connections_lost_while_idle(database: Database, client: Client) -> None:
    """A restart in between, a failover: the dead connections are noticed before they are used."""
    await asyncio.gather(*(client.read() for _ in range(POOL * 2)))
    administrator = await asyncpg.connect(**database.server.address.connect_args(embedded.SUPERUSER))
    cut = await administrator.fetch(CUT_SERVING)
    await administrator.close()
    assert cut
    await recovered(client)


async def test_lost_in_the_middle(database: Database, client: Client) -> None:
    """A statement that waits is cut off: 503 at once, and the transaction left nothing."""
    administrator = await asyncpg.connect(**database.server.address.connect_args(embedded.SUPERUSER))
    async with administrator.transaction():
        await administrator.execute("LOCK TABLE patients IN ACCESS EXCLUSIVE MODE")
        asking = asyncio.create_task(client.read())
        await until_waiting(administrator, 1)
        assert await administrator.fetchval(CUT_WAITING)
        answer, took = await asking
        unavailable(answer)
        assert took < SOON
    await administrator.close()
    await recovered(client)


async def test_lock_timeout(database: Database, client: Client) -> None:
    administrator = await asyncpg.connect(**database.server.address.connect_args(embedded.SUPERUSER))
    async with administrator.transaction():
        await administrator.execute("LOCK TABLE patients IN ACCESS EXCLUSIVE MODE")
        answer, took = await client.read()
        unavailable(answer)
        assert 1.8 < took < SOON  # the lock's two seconds
    await administrator.close()
    await recovered(client)


async def _hold_all(administrator: Connection, client: Client) -> list[asyncio.Task[Timed]]:
    """Let reads wait for a table, one for each connection of the pool; for a second, until all do."""
    await administrator.execute("LOCK TABLE patients IN ACCESS EXCLUSIVE MODE")
    holding = [asyncio.create_task(client.read()) for _ in range(POOL)]
    with contextlib.suppress(TimeoutError):
        await until_waiting(administrator, POOL, seconds=1)
    return holding


async def _exhaust(administrator: Connection, client: Client) -> tuple[set[int], list[Timed], Timed, Timed]:
    """The statuses of those who held the pool, what ten others were answered, the health, and the sign of life."""
    async with administrator.transaction():
        holding = await _hold_all(administrator, client)
        health = asyncio.create_task(client.get(f"{BASE}/health/"))
        others = await asyncio.gather(*(client.get(f"{BASE}/doctors") for _ in range(10)))
        found = await health, await client.get("/livez")
    return {answer.status_code for answer, _ in await asyncio.gather(*holding)}, others, *found


async def test_the_pool_is_exhausted(database: Database, client: Client) -> None:
    """Those that find no free connection are told so after a second and a half, in the order they came."""
    administrator = await asyncpg.connect(**database.server.address.connect_args(embedded.SUPERUSER))
    held, others, health, alive = await _exhaust(administrator, client)
    # Again until all connections of the pool are open, and none was let go by the lock's two seconds before the others
    # were told, however slow this machine is now.
    for _ in range(4):
        if held == {200} and {answer.status_code for answer, _ in others} == {503}:
            break
        held, others, health, alive = await _exhaust(administrator, client)
    assert held == {200}
    for answer, took in others:
        unavailable(answer)
        assert 1.4 < took < SOON
    answer, took = health
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})
    assert took < SOON
    assert alive[0].status_code == 200
    await administrator.close()
    await recovered(client)


async def test_hanging(database: Database, served: Live, client: Client) -> None:
    """A database that neither answers nor closes: 503 within six seconds, health within one."""
    await asyncio.gather(*(client.read() for _ in range(POOL * 2)))
    workers = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
    worker = max(workers, key=lambda pid: len(list(Path(f"/proc/{pid}/task").iterdir())))
    files = Path(f"/proc/{worker}/fd")
    before = len(list(files.iterdir()))
    with database.frozen():
        health = asyncio.create_task(client.get(f"{BASE}/health/"))
        slow = [asyncio.create_task(asking()) for asking in (client.read, client.write, client.read)]
        answer, took = await health
        assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})
        assert took < SOON
        answer, took = await client.get("/readyz")
        assert answer.status_code == 503
        assert took < SOON
        assert (await client.get("/livez"))[1] < SOON
        for answer, took in await asyncio.gather(*slow):
            unavailable(answer)
            assert took < LATE
        # No old connection is left, and a new one hangs too: that is known within a second.
        for _ in range(3):
            answers = await asyncio.gather(*(client.read() for _ in range(POOL)))
            assert all(answer.status_code == 503 and took < SOON for answer, took in answers)
        assert len(list(files.iterdir())) < before + 20, "connections to the hanging database are kept"
    await recovered(client)


async def test_statement_timeout(database: Database, client: Client) -> None:
    """PostgreSQL ends a statement that is too slow; the connection behind it is not used again."""
    slow = start_live(database.server.address, statement_timeout_seconds=0.5)
    try:
        administrator = await asyncpg.connect(**database.server.address.connect_args(embedded.SUPERUSER))
        async with (
            httpx.AsyncClient(base_url=slow.url + BASE, trust_env=False, timeout=20) as http,
            administrator.transaction(),
        ):
            await administrator.execute("LOCK TABLE patients IN ACCESS EXCLUSIVE MODE")
            took = []
            for _ in range(5):  # of which a machine that stands still spoils some
                started = time.monotonic()
                answer = await http.get(f"/patients/{client.patient}", headers=client.headers)
                took.append(time.monotonic() - started)
                unavailable(answer)
                if took[-1] < 1.9:
                    break
            assert min(took) < 1.9, "before the lock's two seconds"
        await administrator.close()
    finally:
        stop_live(slow)


async def test_killed(database: Database, client: Client) -> None:
    """A crash of a backend resets the whole database; afterwards all is there."""
    victim = database.processes()
    backends = [pid for pid in victim[1:] if b"rxdesk_app" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert backends
    os.kill(backends[0], signal.SIGKILL)
    until = time.monotonic() + 10
    statuses = set()
    while time.monotonic() < until:
        answer, took = await client.read()
        statuses.add(answer.status_code)
        assert took < LATE
        if answer.status_code == 200 and len(statuses) > 1:
            break
        await asyncio.sleep(0.02)
    assert statuses <= {200, 503}
    await recovered(client)


async def test_no_change_is_half_done(database: Database, client: Client) -> None:
    """Cut off between its statements, a registration leaves nothing behind; sent again, it is done once."""
    administrator = await asyncpg.connect(**database.server.address.connect_args(embedded.SUPERUSER))
    tenant = client.tenant
    shop = await tenant.insert("shops")
    body = {"shop_uid": shop, "patient_profile_uid": client.patient}
    headers = {**client.headers, "Idempotency-Key": "once"}
    async with administrator.transaction():
        # The turn is drawn, the visit cannot be written.
        await administrator.execute("LOCK TABLE waiting_room_visits IN ACCESS EXCLUSIVE MODE")
        asking = asyncio.create_task(
            client.http.post(f"{BASE}/waiting-room/register", json=body, headers=headers)
        )
        await until_waiting(administrator, 1)
        assert await administrator.fetchval(CUT_WAITING)
        unavailable(await asking)
    await administrator.close()
    count = (
        "SELECT (SELECT count(*) FROM waiting_rooms WHERE organisation_id = $1) AS rooms, (SELECT count(*) "
    )
    count += "FROM waiting_room_visits WHERE organisation_id = $1) AS visits"
    assert await tenant.rows(count) == [{"rooms": 0, "visits": 0}]
    answers = [
        await client.http.post(f"{BASE}/waiting-room/register", json=body, headers=headers) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert json.loads(answers[0].content) == json.loads(answers[1].content)
    assert await tenant.rows(count) == [{"rooms": 1, "visits": 1}]
