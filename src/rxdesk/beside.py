"""A process beside a server: one child, started again when it dies, ended with its parent."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from rxdesk.settings import Settings

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds before it is started again
_EARLY_SECONDS = 5.0
_STOP_SECONDS = 12.0

_log = structlog.get_logger("rxdesk.beside")


@dataclass(frozen=True, slots=True)
class Launch:
    """All that a worker needs; it comes on its standard input."""

    settings: Settings
    connect: Mapping[str, Any]
    encryption_keys: str
    parent: int


class Beside:
    """Keeps one process while it is started.

    `module` is run by Python and reads its `launch`, pickled, from standard input; log lines name it by `name`. It
    inherits the `files`, descriptors of this process. `ended` is told the pid of one that has ended.
    """

    def __init__(
        self,
        launch: object,
        module: str,
        name: str,
        *,
        files: Sequence[int] = (),
        ended: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._launch = launch
        self._module = module
        self._name = name
        self._files = tuple(files)
        self._ended = ended
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name=f"{name}-watch", daemon=True)

    def start(self) -> None:
        """Start the process, and look after it in a thread. After forking, once only."""
        self._thread.start()

    def tell(self) -> None:
        """Tell it to end, without waiting."""
        with self._lock:
            self._ending.set()
            if self._process is not None:
                with suppress(ProcessLookupError):
                    self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Tell it to end, and wait until it has."""
        self.tell()
        process = self._process
        if process is not None:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._thread.is_alive():
            self._thread.join()

    def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while not self._ending.is_set():
            begun = time.monotonic()
            try:
                process = self._spawn()
            except OSError as error:  # the machine has no memory or no process left for it, for now
                _log.error(f"{self._name}_not_started", error=type(error).__name__)
            else:
                if process is None:
                    return
                status = process.wait()
                self._ended(process.pid)
                if self._ending.is_set():
                    return
                _log.error(f"{self._name}_ended", status=status)
            lasted = time.monotonic() - begun > _EARLY_SECONDS
            pause = _FIRST_PAUSE if lasted else min(pause * 2, _LONGEST_PAUSE)
            self._ending.wait(pause)

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._ending.is_set():
                return None
            # A group of its own: a terminal's Ctrl-C is the server's to judge, who then tells it.
            process = subprocess.Popen(
                [sys.executable, "-m", self._module],
                stdin=subprocess.PIPE,
                process_group=0,
                pass_fds=self._files,
            )
            self._process = process
        if process.stdin is not None:
            with suppress(OSError), process.stdin:  # it died at once
                process.stdin.write(pickle.dumps(self._launch))
        return process


def worker(launch: Launch) -> Beside:
    """Give what keeps a worker, of which metrics forget each that has ended."""

    def forget(pid: int) -> None:
        from rxdesk.web import metrics  # noqa: PLC0415 (only what serves pays for it)

        metrics.forget_process(launch.settings, pid)

    return Beside(launch, "rxdesk.working", "worker", ended=forget)
