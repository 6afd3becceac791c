"""What the tests stand on: an embedded PostgreSQL, the app role, tenants made fresh for each test, real servers."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from tests import served
from tests.factories import Tenant, make_tenant
from tests.patience import patience

from rxdesk import serving
from rxdesk.app import create_app
from rxdesk.db import embedded, migrate
from rxdesk.db.pool import Connection, connector
from rxdesk.kit import sealing
from rxdesk.kit.ports import hold_port
from rxdesk.kit.targets import Resolver
from rxdesk.settings import Settings, load
from rxdesk.web.asgi import Outer

BASE = "/v1/management"
ENCRYPTION_KEYS = sealing.new_keys()
# Fewer writes reach the disk: a test's data need not survive a power cut.
UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# The same examples in each run, and none that fails because the machine was busy just then.
hypothesis_settings.register_profile(
    "tests", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--share",
        type=float,
        default=1.0,
        help="make the proofs of the waiting room smaller, for a first look: 0.1 is a tenth of their size",
    )


def pytest_configure() -> None:
    """Let Ctrl-C end what the tests start, also where a shell began the run in the background and ignores it."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(scope="session")
def share(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """What is left of a proof's number at the chosen share of its size: 1 at least."""
    of = float(request.config.getoption("--share"))
    return lambda number: max(1, round(number * of))


@contextmanager
def migrated() -> Iterator[embedded.Address]:
    """Run an embedded PostgreSQL with all tables, empty."""

    async def prepare(address: embedded.Address) -> None:
        await migrate.migrate(address.connect_args(embedded.OWNER))
        owner = await asyncpg.connect(**address.connect_args(embedded.OWNER))
        await migrate.grant(owner, embedded.APP)
        await owner.close()

    with (
        tempfile.TemporaryDirectory(prefix="rxdesk-tests-") as folder,
        embedded.start(Path(folder), purpose="tests", settings=UNSAFE) as server,
    ):
        asyncio.run(prepare(server.address))
        yield server.address


@pytest.fixture(scope="session")
def cluster() -> Iterator[embedded.Address]:
    """A migrated embedded PostgreSQL of this test run."""
    with migrated() as address:
        yield address


@pytest.fixture(scope="session")
async def app_connection(cluster: embedded.Address) -> AsyncIterator[Connection]:
    """One connection as the app role, for tests to arrange and look at data with."""
    connection = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    yield connection
    await connection.close()


@pytest.fixture
async def tenant(app_connection: Connection) -> Tenant:
    """A fresh organisation."""
    return await make_tenant(app_connection)


@pytest.fixture
async def other(app_connection: Connection) -> Tenant:
    """A second fresh organisation."""
    return await make_tenant(app_connection)


def settings_for(**changes: object) -> Settings:
    """The default settings with changes, and nothing from the environment."""
    return load(environment={}, flags=changes).settings


@dataclass(frozen=True)
class Live:
    """A server in processes of its own."""

    url: str
    process: Any
    settings: Settings


def start_live(cluster: embedded.Address, *, patient: bool = True, **changes: object) -> Live:
    """Start a server on a free port and wait until it answers; one that is not patient has the product's limits."""
    settings = settings_for(**{"log_level": "error", **changes})
    holder = hold_port(settings.address, 0)
    port = holder.getsockname()[1]
    launch = serving.Launch(settings, cluster.connect_args(embedded.APP), ENCRYPTION_KEYS)
    process = multiprocessing.get_context("spawn").Process(
        target=served.serve, args=(launch, port, os.getpid()), kwargs={"patient": patient}
    )
    process.start()
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((settings.address, port), timeout=1).close()
            break
        except OSError:
            if time.monotonic() > until or not process.is_alive():
                raise
            time.sleep(0.02)
    holder.close()
    return Live(f"http://{settings.address}:{port}", process, settings)


def stop_live(live: Live) -> None:
    """End a server as Ctrl-C would."""
    if live.process.is_alive() and live.process.pid:
        os.kill(live.process.pid, signal.SIGINT)
    live.process.join(30)
    assert not live.process.is_alive()


@pytest.fixture(scope="session")
def live(cluster: embedded.Address) -> Iterator[Live]:
    """The server that most tests talk to."""
    server = start_live(cluster, egress_allow="127.0.0.0/8:*")
    yield server
    stop_live(server)


@pytest.fixture(scope="session")
async def client(live: Live) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server, at the base path."""
    async with httpx.AsyncClient(base_url=live.url + BASE, trust_env=False, timeout=15) as session:
        yield session


class FixedClock:
    """A clock that stands until it is set."""

    def __init__(self, moment: datetime | None = None) -> None:
        self.moment = moment or datetime(2026, 3, 4, 10, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment


@dataclass
class InProcess:
    """The application in this process: its clock can be set and its statements counted.

    `calls` holds each statement with its arguments.
    """

    client: httpx.AsyncClient
    clock: FixedClock
    statements: list[str]
    calls: list[tuple[str, tuple[Any, ...]]]
    app: Outer

    async def beginning(self, path: str, headers: dict[str, str]) -> httpx.Response:
        """What a stream begins with, or why there is none; then the client is gone."""
        gone = asyncio.Event()
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)
            if message.get("body"):
                gone.set()

        scope = {
            "type": "http",
            "method": "GET",
            "path": path.partition("?")[0],
            "raw_path": path.partition("?")[0].encode(),
            "query_string": path.partition("?")[2].encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
        }
        await self.app(scope, receive, send)
        start, *rest = sent
        body = b"".join(message.get("body", b"") for message in rest)
        return httpx.Response(start["status"], headers=start["headers"], content=body)


Build = Callable[..., Any]


@asynccontextmanager
async def in_process(
    cluster: embedded.Address,
    clock: FixedClock | None = None,
    resolver: Resolver | None = None,
    *,
    patient: bool = True,
    **changes: object,
) -> AsyncIterator[InProcess]:
    """Run the application in this process, without a socket."""
    settings = settings_for(**changes)
    statements: list[str] = []
    calls: list[tuple[str, tuple[Any, ...]]] = []
    connect = connector(
        cluster.connect_args(embedded.APP),
        statement_seconds=settings.statement_timeout_seconds,
        name="tests",
    )

    async def counting() -> Connection:
        connection = await connect()
        connection.add_query_logger(lambda record: statements.append(record.query))
        connection.add_query_logger(lambda record: calls.append((record.query, tuple(record.args or ()))))
        return connection

    clock = clock or FixedClock()

    async def settle(_: httpx.Response) -> None:
        await asyncio.sleep(0)  # the driver tells its loggers in the next turn of the loop

    with patience() if patient else nullcontext():
        app = create_app(settings, counting, ENCRYPTION_KEYS, clock=clock, resolver=resolver)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://test" + BASE, event_hooks={"response": [settle]}
        ) as client:
            try:
                yield InProcess(client, clock, statements, calls, app)
            finally:
                await app.close()


@pytest.fixture
async def inside(cluster: embedded.Address) -> AsyncIterator[InProcess]:
    """The application in this process, with the default settings."""
    async with in_process(cluster) as running:
        yield running
