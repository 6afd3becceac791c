"""Servers that tests start, ask and kill, in this process and as another one's."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from rxdesk.db import embedded, embedded_cluster, embedded_process

ROOT = os.geteuid() == 0
LINUX = sys.platform == "linux"
# The loss of a whole machine is not tested, so nothing need reach the disk.
FAST = {"fsync": "off", "shared_buffers": "16MB"}

as_root = pytest.mark.skipif(not ROOT or not LINUX, reason="about giving up root")

# A process that runs a server as `rxdesk serve` would, tells its number on standard output, and stays.
PARENT = """
import multiprocessing, sys, threading, time
from pathlib import Path
from rxdesk.db import embedded
settings = {"fsync": "off", "shared_buffers": "16MB"}
with embedded.start(Path(sys.argv[1]), purpose="serve", settings=settings) as server:
    try:
        print(server.pid, flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        print("interrupted", server.poll(), flush=True)
print("stopped", flush=True)
"""


def start(
    data_dir: Path,
    *,
    settings: Mapping[str, str] | None = None,
    say: Callable[[str], None] = print,
    wait_seconds: float = 10,
    connections: int = 0,
) -> embedded.Server:
    every = {**FAST, **(settings or {})}
    return embedded.start(
        data_dir,
        purpose="test",
        settings=every,
        say=say,
        wait_seconds=wait_seconds,
        connections=connections,
    )


def sql(address: embedded.Address, statement: str, role: str = embedded.OWNER, *values: object) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(**address.connect_args(role))
        try:
            return await connection.fetchval(statement, *values)
        finally:
            await connection.close()

    return asyncio.run(ask())


def alive(pid: int) -> bool:
    return embedded_process.started(pid) is not None


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def tree(pgdata: Path) -> set[int]:
    return set(embedded_process.stragglers(pgdata))


def python(script: str, data_dir: Path, *before: str, path: Path | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-c", script, str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={"PYTHONPATH": os.pathsep.join([*([str(path)] if path else []), *filter(None, sys.path)])},
    )


@contextlib.contextmanager
def parent(
    data_dir: Path, *before: str, path: Path | None = None, script: str = PARENT
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that runs a server on the folder; with it the number of that server's process."""
    with python(script, data_dir, *before, path=path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            first = process.stdout.readline()
            assert first, process.stderr.read()
            yield process, int(first)
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    found = subprocess.run(
        ["/bin/ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in found.stdout.split()]


def kill_in_order(pid: int, *, but: int) -> None:
    """Kill a process's children, except one, and then itself: so its watchdog sees nothing."""
    for victim in sorted({*children(pid), pid} - {but}, key=pid.__eq__):
        os.kill(victim, signal.SIGKILL)


@contextlib.contextmanager
def deaf_backend(data_dir: Path) -> Iterator[int]:
    """A server process that notices nothing, like one in a long computation."""
    address = embedded.running(data_dir)
    assert address is not None
    queries = ("-c", "SELECT pg_backend_pid()", "-c", "SELECT pg_sleep(60)")
    with subprocess.Popen(
        [embedded_cluster.programs() / "psql", address.url(embedded.SUPERUSER), "-At", *queries],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as client:
        assert client.stdout is not None
        backend = int(client.stdout.readline())
        os.kill(backend, signal.SIGSTOP)
        yield backend


# The same on a system without /proc, such as macOS: `ps` is asked.
PARENT_WITHOUT_PROC = PARENT.replace(
    "settings =", "embedded_process._PROC = Path('/none')\nsettings ="
).replace("import embedded", "import embedded, embedded_process")
