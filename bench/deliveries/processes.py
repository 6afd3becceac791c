"""Processes of the race: started, bound to cores, spoken to by lines of JSON, ended."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench import cpu
from bench.load import BenchError
from bench.servers import ROOT

BIN = Path(sys.executable).parent
_START_SECONDS = 30.0
_END_SECONDS = 15.0


@asynccontextmanager
async def started(
    command: Sequence[str],
    log: Path,
    *,
    cores: set[int] | None,
    settings: Mapping[str, str] | None = None,
    ended_by_input: bool = False,
) -> AsyncIterator[Process]:
    """Start a process, bound to cores with all that descends from it, and end it afterwards.

    It is told to end by a signal, or by the end of its standard input.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(settings or {})}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE if ended_by_input else output, stderr=output, env=environment
        )
        try:
            if cores:
                cpu.bind(process.pid, cores)
            yield process
        finally:
            await _ended(process, by_input=ended_by_input)


async def _ended(process: Process, *, by_input: bool) -> None:
    if process.returncode is not None:
        return
    assert process.stdin is not None  # noqa: S101 (for mypy: it was opened above)
    process.stdin.close()
    if not by_input:
        process.terminate()
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


class Spoken:
    """A process that answers lines of JSON with lines of JSON."""

    def __init__(self, name: str, process: Process, log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log = log

    def tell(self, what: Mapping[str, Any]) -> None:
        """Write a line."""
        assert self._process.stdin is not None  # noqa: S101 (for mypy)
        self._process.stdin.write(json.dumps(what).encode() + b"\n")

    async def hear(self, seconds: float) -> dict[str, Any]:
        """Read a line. Raises BenchError when none comes."""
        assert self._process.stdout is not None  # noqa: S101 (for mypy)
        try:
            async with asyncio.timeout(seconds):
                line = await self._process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            message = f"{self.name} does not answer; it said:\n{said(self._log)}"
            raise BenchError(message)
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def ask(self, what: Mapping[str, Any], seconds: float = _START_SECONDS) -> dict[str, Any]:
        """Write a line and read one."""
        self.tell(what)
        return await self.hear(seconds)


@asynccontextmanager
async def spoken(
    module: str, arguments: Sequence[str], log: Path, cores: set[int] | None
) -> AsyncIterator[tuple[Spoken, dict[str, Any]]]:
    """Start a module that is spoken to; gives it and the first line that it said."""
    command = [sys.executable, "-m", module, *arguments]
    async with started(command, log, cores=cores, ended_by_input=True) as process:
        one = Spoken(module.rpartition(".")[2], process, log)
        yield one, await one.hear(_START_SECONDS)


def said(log: Path) -> str:
    """Give the end of a log."""
    return log.read_text(errors="replace")[-2000:]


async def until(
    true: Callable[[], Awaitable[bool]], what: str, log: Path, *, seconds: float = _START_SECONDS
) -> None:
    """Wait until it is so. Raises BenchError with the log's end when it takes too long."""
    end = time.monotonic() + seconds
    while not await true():
        if time.monotonic() > end:
            message = f"{what} took longer than {seconds:.0f} s; it said:\n{said(log)}"
            raise BenchError(message)
        await asyncio.sleep(0.005)


def redis(path: Path, *words: str) -> str:
    """Say one thing to a Redis by its socket and give the answer's first line. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_START_SECONDS)
        connection.connect(str(path))
        connection.sendall(" ".join(words).encode() + b"\r\n")
        return connection.recv(4096).decode().partition("\r\n")[0]
