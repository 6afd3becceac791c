"""The contestants: how each is started on a database, bound to a core, and ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from bench import cpu
from bench.load import BenchError
from rxdesk.db import embedded
from rxdesk.kit.sealing import new_keys

ROOT = Path(__file__).parent.parent
BASE = "/v1/management"
RXDESK = "rxdesk"
_BIN = Path(sys.executable).parent
_START_SECONDS = 30
KEYS = new_keys()  # one ring for all databases of a run
_open = build_opener(ProxyHandler({})).open


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server that takes part: `command` has PORT where its port goes; `what` tells a reader what it is."""

    name: str
    what: str
    command: tuple[str, ...]


_GUNICORN = (
    "gunicorn",
    "--workers=1",
    "--worker-class=gthread",
    "--threads=16",
    "--no-control-socket",
    "--bind=127.0.0.1:PORT",
)
CONTESTANTS = (
    Contestant(RXDESK, "RxDesk as `rxdesk serve` runs it", ("rxdesk", "serve", "--port=PORT")),
    Contestant(
        "fastapi_orm",
        "FastAPI, SQLAlchemy async ORM, asyncpg, uvicorn",
        (
            "uvicorn",
            "--port=PORT",
            "--no-access-log",
            "--log-level=warning",
            "bench.peers.fastapi_orm.app:app",
        ),
    ),
    Contestant(
        "flask_orm",
        "Flask, SQLAlchemy ORM, psycopg, gunicorn with 16 threads",
        (*_GUNICORN, "bench.peers.flask_orm.app:app"),
    ),
    Contestant(
        "django_ninja",
        "Django with Django Ninja, psycopg, gunicorn with 16 threads",
        (*_GUNICORN, "bench.peers.django_ninja.wsgi:application"),
    ),
    Contestant(
        "bare",
        "the limit: a bare ASGI callable on Granian with the same statement, and nothing else",
        (
            "granian",
            "--port=PORT",
            "--interface=asginl",
            "--loop=uvloop",
            "--http=1",  # these two as RxDesk does
            "--no-ws",
            "--no-access-log",
            "--log-level=warning",
            "bench.peers.bare.app:app",
        ),
    ),
)


def present() -> tuple[Contestant, ...]:
    """Give those that can run here: Django 6 needs Python 3.12."""
    lacking = set() if find_spec("django") else {"django_ninja"}
    return tuple(one for one in CONTESTANTS if one.name not in lacking)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    name: str
    url: str
    pid: int


def free_port() -> int:
    """Find a port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    contestant: Contestant,
    address: embedded.Address,
    *,
    cores: set[int] | None,
    log: Path,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Start a contestant on a database and end it afterwards. Raises BenchError when it does not answer."""
    port = free_port()
    command = [part.replace("PORT", str(port)) for part in contestant.command]
    command[0] = str(_BIN / command[0])
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PGHOST": str(address.socket_dir),
        "PGPORT": str(address.port),
        "PGUSER": embedded.OWNER,
        "PGDATABASE": address.database,
        "RXDESK_DATABASE_URL": address.url(embedded.APP),
        "RXDESK_ENCRYPTION_KEYS": KEYS,
        **(settings or {}),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(contestant.name, url, process, log)
            if cores:
                cpu.bind(process.pid, cores)
            yield Running(contestant.name, url, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(name: str, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            _open(f"{url}{BASE}/orders/x", timeout=2).close()
        except OSError as error:
            if hasattr(error, "code"):  # an HTTP status: it answers
                return
        if process.poll() is not None or time.monotonic() > until:
            said = log.read_text(errors="replace")[-2000:]
            message = f"{name} does not answer; it said:\n{said}"
            raise BenchError(message)
        time.sleep(0.05)


@contextmanager
def all_running(
    contestants: tuple[Contestant, ...], address: embedded.Address, *, cores: set[int] | None, logs: Path
) -> Iterator[dict[str, Running]]:
    """Start all of them; they wait idle while another is measured."""
    with ExitStack() as stack:
        yield {
            one.name: stack.enter_context(running(one, address, cores=cores, log=logs / f"{one.name}.log"))
            for one in contestants
        }
