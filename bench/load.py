"""Load: wrk runs for a time, and what its answers cost is read from /proc on both sides of it."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import cpu

_LONGEST = 10  # seconds that a first answer may take
# Who has used less than this share of a core, for so many seconds, is idle.
_IDLE_SHARE, _IDLE_SECONDS = 0.05, 0.03
LUA = Path(__file__).parent / "wrk"


class BenchError(Exception):
    """The run cannot go on; the message says why and, where there is one, what to do."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request; `body` is JSON text without line breaks or tabs."""

    path: str
    key: str
    method: str = "GET"
    body: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is sent: requests in turn, or a conversation that a script of wrk holds.

    `script` names it and `arguments` go to it; each of its threads has one connection.
    """

    name: str
    requests: tuple[Request, ...] = ()
    script: str = "requests.lua"
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """What one run found: times in microseconds, processor time a request of server and of database."""

    requests: int
    rps: float
    p50_us: int
    p99_us: int
    p999_us: int
    server_us: float
    database_us: float

    @property
    def cpu_us(self) -> float:
        """Server and database together."""
        return self.server_us + self.database_us


@contextmanager
def prepared(workload: Workload, connections: int = 8, *, start: int = 0) -> Iterator[list[str]]:
    """Give the arguments of wrk that send the workload, from its request number `start` on.

    Conversations have four connections in any case.
    """
    if not workload.requests:
        threads = ["-t4", "-c4", "-s", str(LUA / workload.script)]
        yield [*threads, "URL", "--", *workload.arguments]
        return
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as file:
        file.writelines(f"{one.method}\t{one.path}\t{one.key}\t{one.body}\n" for one in workload.requests)
        file.flush()
        yield [
            "-t1",
            f"-c{connections}",
            "-s",
            str(LUA / workload.script),
            "URL",
            "--",
            file.name,
            str(start),
        ]


def wrk() -> str:
    """Where wrk is. Raises BenchError."""
    found = shutil.which("wrk")
    if found is None:
        message = "wrk is not here: apt-get install wrk (macOS: brew install wrk)"
        raise BenchError(message)
    return found


def settled(pids: Collection[int]) -> None:
    """Wait, ten seconds at most, until these processes have nothing left to do.

    What was under way when a run ended would be counted with the next one.
    """
    until = time.monotonic() + _LONGEST
    spent, since = cpu.seconds(pids), time.monotonic()
    while since < until:
        time.sleep(_IDLE_SECONDS)
        now, at = cpu.seconds(pids), time.monotonic()
        if now - spent < _IDLE_SHARE * (at - since):
            return
        spent, since = now, at


def _started(
    arguments: Sequence[str], url: str, seconds: float, cores: set[int] | None
) -> subprocess.Popen[str]:
    # wrk counts in seconds; it is ended by a signal.
    command = [wrk(), f"-d{math.ceil(seconds) + 5}", "--timeout", "5", *arguments]
    command[command.index("URL")] = url
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "BENCH_LUA": str(LUA)}
    )
    if cores:
        os.sched_setaffinity(process.pid, cores)
    return process


def _ended(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)  # wrk ends with its report
    return process.communicate(timeout=15)[0]


def _failed(name: str, url: str, output: str) -> BenchError:
    found = json.loads(output.splitlines()[-1])
    message = f"{name} at {url}: {found['errors']} of {found['requests']} requests failed under load; wrk: "
    return BenchError(f"{message}{output[-300:]!r}")


def meanwhile(
    arguments: Sequence[str],
    url: str,
    look: Callable[[], None],
    *,
    seconds: float,
    cores: set[int] | None,
    name: str,
    before: Callable[[], None],
) -> None:
    """Load a server, and look for some time, at least once, how it is meanwhile.

    A load without an answer is made once more, for longer. `before` is called before each. Raises BenchError, with the
    server's `name`, when an answer was not a success.
    """
    before()
    with _started(arguments, url, 2 * _LONGEST, cores) as process:
        until = time.monotonic() + seconds
        try:
            look()
            while time.monotonic() < until:
                look()
        finally:
            output = _ended(process)
    found = json.loads(output.splitlines()[-1]) if output else {"requests": 0, "errors": 0}
    if found["errors"]:
        raise _failed(name, url, output)
    if not found["requests"]:  # on a busy machine it was ended before it had begun
        if seconds >= _LONGEST:
            message = f"{name} at {url} answered nothing in {seconds} seconds"
            raise BenchError(message)
        longer = max(1.0, 4 * seconds)
        meanwhile(arguments, url, look, seconds=longer, cores=cores, name=name, before=before)


def run(
    arguments: Sequence[str],
    url: str,
    *,
    seconds: float,
    server: int,
    database: int,
    cores: set[int] | None,
    name: str = "",
    again: Callable[[], None] = lambda: None,
) -> Run:
    """Load a server for some time; `server` and `database` are the first processes of the two.

    Requests that are under way when the time is over have cost something as well: half of them are counted for it.
    A run without an answer is made once more, for longer; `again` is called before it, since such a run has written,
    too. Raises BenchError, with the server's `name`, when an answer was not a success.
    """

    def longer() -> Run:
        again()
        return run(
            arguments,
            url,
            seconds=4 * seconds,
            server=server,
            database=database,
            cores=cores,
            name=name,
            again=again,
        )

    servers, databases = cpu.trees(server, database)
    before = cpu.seconds(servers), cpu.seconds(databases)
    with _started(arguments, url, seconds, cores) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            output = _ended(process)
    if not output and seconds < _LONGEST:  # on a busy machine it was ended before it had begun
        return longer()
    found = json.loads(output.splitlines()[-1])
    # Connections of the database may have been opened meanwhile.
    more = cpu.trees(server, database)
    after = cpu.seconds({*servers, *more[0]}), cpu.seconds({*databases, *more[1]})
    count = found["requests"]
    if not count and not found["errors"] and seconds < _LONGEST:
        return longer()
    if found["errors"] or not count:
        raise _failed(name, url, output)
    worked = count + int(arguments[1].removeprefix("-c")) / 2
    return Run(
        requests=count,
        rps=count / found["seconds"],
        p50_us=found["p50_us"],
        p99_us=found["p99_us"],
        p999_us=found["p999_us"],
        server_us=1e6 * (after[0] - before[0]) / worked,
        database_us=1e6 * (after[1] - before[1]) / worked,
    )
