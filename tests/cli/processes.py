"""Real processes of the command line: run one to its end, or keep one serving and end it whatever happens."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from rxdesk.cli import main

_PHONES = "rxdesk.demo.phones"
SLOW = 60.0  # seconds after which a process of a test counts as hanging


def environment(changes: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment without any setting of ours, with changes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RXDESK_")}
    return {**kept, **(changes or {})}


def rxdesk(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run one verb to its end."""
    return subprocess.run(
        [sys.executable, "-m", "rxdesk", *map(str, arguments)],
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=SLOW,
        check=False,
    )


def inside(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run one verb in this process, which is sooner done than starting one; for what never comes to serve."""
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    status: object = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for name in set(os.environ) - set(environment()):
            patch.delenv(name)
        for name, value in env.items():
            patch.setenv(name, value)
        try:
            main([*map(str, arguments)])
        except SystemExit as end:
            status = end.code
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    assert isinstance(status, int)
    return subprocess.CompletedProcess([*map(str, arguments)], status, out.getvalue(), err.getvalue())


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Expect a refusal: exit status 1 and one line on standard error; give the line."""
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1, done
    assert lines, done
    assert lines[-1].startswith("rxdesk: "), done.stderr
    assert "Traceback" not in done.stderr
    return lines[-1]


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    """Expect success, and give what was printed as JSON."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def until(true: Callable[[], bool], seconds: float = SLOW, what: str = "") -> float:
    """Wait until it is so; give how long it took."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - begun


@dataclass
class Server:
    """A serving command in a process of its own."""

    process: subprocess.Popen[str]
    ready_file: Path
    output: Path
    errors: Path
    seconds: float = 0.0  # from the command to the ready file
    ready: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return str(self.ready["base_url"])

    @property
    def port(self) -> int:
        return httpx.URL(self.url).port or 0

    def key(self, organisation: int = 0) -> str:
        return str(self.ready["organisations"][organisation]["api_key"])

    def get(self, path: str, key: str | None = None, seconds: float = 10) -> int:
        """The status of an answer; 0 when there is none."""
        try:
            with httpx.Client(trust_env=False, timeout=seconds) as client:
                return client.get(self.url + path, headers={"X-API-Key": key or self.key()}).status_code
        except httpx.TransportError:
            return 0

    def order(self, key: str | None = None, seconds: float = 10) -> int:
        """The status of the sample order."""
        return self.get("/orders/" + self.ready["organisations"][0]["samples"]["order_uid"], key, seconds)

    def family(self) -> list[psutil.Process]:
        """The main process and all below it."""
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """The serving processes: the children that are Python programs, but for those beside them."""
        return [
            one for one, line in self._programs() if " -m rxdesk.working" not in line and _PHONES not in line
        ]

    def deliverers(self) -> list[psutil.Process]:
        """The process beside that delivers."""
        return [one for one, line in self._programs() if "rxdesk.working" in line]

    def phones(self) -> list[psutil.Process]:
        """The process of a demo's push service and phones."""
        return [one for one, line in self._programs() if _PHONES in line]

    def _programs(self) -> Iterator[tuple[psutil.Process, str]]:
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # a zombie counts as one
                line = " ".join(child.cmdline())
                if "python" in child.name().lower() and "resource_tracker" not in line:
                    yield child, line

    def postgres(self) -> psutil.Process:
        """The embedded PostgreSQL's main process."""
        return next(c for c in psutil.Process(self.process.pid).children() if c.name() == "postgres")

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it by a signal to the main process and give its exit status."""
        self.process.send_signal(number)
        return self.process.wait(SLOW)


def lives(process: psutil.Process) -> bool:
    """Whether the process runs; one that only waits for its parent to ask after it does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def serving(
    *arguments: object, wait: bool = True, python: tuple[str, ...] = ("-m", "rxdesk"), **env: str
) -> Iterator[Server]:
    """Start `rxdesk demo` or `serve`, wait until it is ready, and end it, with all below it, at the end."""
    with tempfile.TemporaryDirectory(prefix="rxdesk-cli-") as name:
        folder = Path(name)
        files = (folder / "ready.json", folder / "out", folder / "err")
        with files[1].open("w") as out, files[2].open("w") as err:
            begun = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, *python, *map(str, arguments), "--ready-file", str(files[0])],
                env=environment(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
            )
        server = Server(process, *files)
        family: list[psutil.Process] = []
        try:
            if wait:
                until(lambda: files[0].exists() or process.poll() is not None, SLOW, "ready file")
                assert process.poll() is None, files[2].read_text()
                server.seconds = time.monotonic() - begun
                server.ready = json.loads(files[0].read_text())
                family = server.family()
            yield server
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            # After a `kill -9` that a test did: all of it must end by itself, and soon.
            begun = time.monotonic()
            while (left := [one for one in family if lives(one)]) and time.monotonic() - begun < 15:
                time.sleep(0.02)
            for one in left:
                one.kill()
            assert not left, f"still there: {left}"
