"""Those who deliver: how each is started, given a round's work that it cannot see yet, let go, and found done."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from bench import cpu, database
from bench.deliveries import processes, tables, work
from bench.deliveries.processes import BIN, Spoken
from bench.deliveries.work import Endpoint
from bench.load import BenchError
from bench.servers import KEYS, RXDESK
from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.jobs import queue
from rxdesk.kit.sealing import Sealer, read_keys

CELERY = "celery"
BARE = "bare"
# RxDesk keeps a quarter of its slots for retries: this many leave 64 for first attempts.
_CONCURRENCY = 85


@dataclass(frozen=True, slots=True)
class Site:
    """Where the race takes place: the PostgreSQL server, the endpoints, the cores of those who are measured.

    `rounds` are all, the one to warm up among them, of `events` each.
    """

    address: embedded.Address
    postmaster: int
    folder: Path
    endpoints: list[Endpoint]
    secrets: Path
    cores: set[int] | None
    rounds: int
    events: int


class Contestant(Protocol):
    """One that delivers. `pids` are the first processes whose time is counted; `unseen` one that is not."""

    pids: list[int]
    log: Path
    unseen: int

    async def stage(self, number: int) -> None:
        """Store a round's events such that nobody sees them yet."""

    async def release(self) -> None:
        """Let them be seen."""

    async def settled(self) -> bool:
        """Tell whether each has its recorded attempt."""

    async def recorded(self) -> int:
        """Give how many attempts were recorded as delivered in this round."""


@dataclass(slots=True)
class _Rxdesk:
    connection: Connection
    organisation: int
    sealer: Sealer
    site: Site
    log: Path
    unseen: int
    pids: list[int] = field(default_factory=list)
    before: int = 0
    transaction: Any = None

    async def stage(self, number: int) -> None:
        del number
        for table in ("jobs", "deliveries", "events", "delivery_attempts"):
            await self.connection.execute(f"VACUUM (ANALYZE) {table}")
        self.before = await self._attempts()
        self.transaction = self.connection.transaction()
        await self.transaction.start()
        await tables.emit(self.connection, self.organisation, self.sealer, self.site.events)

    async def release(self) -> None:
        await self.transaction.commit()

    async def settled(self) -> bool:
        left: bool = await self.connection.fetchval("SELECT EXISTS (SELECT FROM jobs)")
        return not left

    async def recorded(self) -> int:
        return await self._attempts() - self.before

    async def _attempts(self) -> int:
        count: int = await self.connection.fetchval(
            "SELECT count(*) FROM delivery_attempts WHERE organisation_id = $1 AND status_code = 204",
            self.organisation,
        )
        return count


@asynccontextmanager
async def rxdesk(site: Site) -> AsyncIterator[_Rxdesk]:
    """`rxdesk worker` on a database of its own."""
    address = await database.create(site.address, "bench_deliveries")
    connection = await database.connect(address)
    sealer = Sealer(read_keys(KEYS))
    organisation = await tables.subscribed(connection, site.endpoints, sealer)
    log = site.folder / "worker.log"
    settings = {
        "RXDESK_DATABASE_URL": address.url(embedded.APP),
        "RXDESK_ENCRYPTION_KEYS": KEYS,
        "RXDESK_EGRESS_ALLOW": "http+127.0.0.0/8:*",
    }
    command = [str(BIN / "rxdesk"), "worker", f"--concurrency={_CONCURRENCY}"]

    async def working() -> bool:
        return await queue.workers(connection) > 0

    try:
        async with processes.started(command, log, cores=site.cores, settings=settings) as process:
            await processes.until(working, "rxdesk worker", log)
            if site.cores:
                cpu.bind(process.pid, site.cores)
            unseen = await _backend(connection)
            yield _Rxdesk(connection, organisation, sealer, site, log, unseen, [process.pid])
    finally:
        await connection.close()


async def _backend(connection: Connection) -> int:
    pid: int = await connection.fetchval("SELECT pg_backend_pid()")
    return pid


@dataclass(slots=True)
class _Celery:
    connection: Connection
    site: Site
    socket: Path
    log: Path
    unseen: int
    pids: list[int]
    number: int = 0

    async def stage(self, number: int) -> None:
        self.number = number
        await self.connection.execute("VACUUM (ANALYZE) deliveries, delivery_attempts")
        await tables.celery_round(self.connection, number, self.site.events)

    async def release(self) -> None:
        answer = processes.redis(self.socket, "RENAME", f"held-{self.number}", "celery")
        if answer != "+OK":
            message = f"the queue of round {self.number} is not there: {answer}"
            raise BenchError(message)

    async def settled(self) -> bool:
        left: bool = await self.connection.fetchval(
            "SELECT EXISTS (SELECT FROM deliveries WHERE status = 'pending')"
        )
        return not left

    async def recorded(self) -> int:
        count = self.site.events * work.ENDPOINTS
        first = self.number * count
        found: int = await self.connection.fetchval(tables.CELERY_RECORDED, first + 1, first + count)
        return found


@asynccontextmanager
async def celery(site: Site) -> AsyncIterator[_Celery]:
    """Celery's worker with Redis, which appends to a file as one does who must not lose tasks."""
    address = await database.create_empty(site.address, "bench_celery")
    connection = await database.connect(address, embedded.OWNER)
    await tables.celery_tables(connection, site.endpoints)
    socket, ready, log = site.folder / "redis", site.folder / "celery.ready", site.folder / "celery.log"
    settings = {
        "BENCH_BROKER": f"redis+socket://{socket}",
        "BENCH_READY": str(ready),
        "PGHOST": str(address.socket_dir),
        "PGPORT": str(address.port),
        "PGUSER": embedded.OWNER,
        "PGDATABASE": address.database,
    }
    server = (
        f"redis-server --port 0 --unixsocket {socket} --dir {site.folder} --appendonly yes --save".split()
    )
    worker = [str(BIN / "celery"), "-A", "bench.peers.celery_requests.app", "worker", "--loglevel=WARNING"]
    worker += f"--pool=threads --concurrency={work.IN_FLIGHT}".split()
    worker += ["--without-gossip", "--without-mingle", "--without-heartbeat"]

    async def answers() -> bool:
        try:
            return processes.redis(socket, "PING") == "+PONG"
        except OSError:  # its socket is not there, or nobody listens on it yet
            return False

    async def works() -> bool:
        return ready.exists()

    redis_log = site.folder / "redis.log"
    try:
        async with processes.started([*server, ""], redis_log, cores=site.cores) as broker:
            await processes.until(answers, "redis-server", redis_log)
            await _publish(site, settings)
            async with processes.started(worker, log, cores=site.cores, settings=settings) as process:
                await processes.until(works, "celery", log)
                if site.cores:
                    cpu.bind(process.pid, site.cores)
                pids = [process.pid, broker.pid]
                yield _Celery(connection, site, socket, log, await _backend(connection), pids)
    finally:
        await connection.close()


async def _publish(site: Site, settings: dict[str, str]) -> None:
    log = site.folder / "publish.log"
    count = site.events * work.ENDPOINTS
    command = [sys.executable, "-m", "bench.peers.celery_requests.publish", str(site.rounds), str(count)]
    async with processes.started(command, log, cores=None, settings=settings) as process:
        if await process.wait():
            message = f"the tasks were not published: {processes.said(log)}"
            raise BenchError(message)


@dataclass(slots=True)
class _Bare:
    spoken: Spoken
    site: Site
    log: Path
    pids: list[int]
    unseen: int = 0

    async def stage(self, number: int) -> None:
        del number
        await self.spoken.ask({"bodies": self.site.events})

    async def release(self) -> None:
        self.spoken.tell({"go": True})

    async def settled(self) -> bool:
        await self.spoken.hear(60)
        return True

    async def recorded(self) -> int:
        return self.site.events * work.ENDPOINTS  # it keeps no record


@asynccontextmanager
async def bare(site: Site) -> AsyncIterator[_Bare]:
    """The loop without a database."""
    log = site.folder / "bare.log"
    async with processes.spoken("bench.peers.bare.deliveries", [str(site.secrets)], log, site.cores) as (
        spoken,
        _,
    ):
        yield _Bare(spoken, site, log, [spoken.pid])


STARTS: dict[str, Callable[[Site], AbstractAsyncContextManager[Contestant]]] = {
    RXDESK: rxdesk,
    CELERY: celery,
    BARE: bare,
}


def lacking() -> dict[str, str]:
    """Say who cannot take part here, and why."""
    if shutil.which("redis-server") is None:
        return {CELERY: "redis-server is not here (Debian: apt-get install redis-server)"}
    missing = [name for name in ("celery", "redis", "requests", "psycopg") if find_spec(name) is None]
    return {CELERY: f"Python packages are not here: {', '.join(missing)}"} if missing else {}
