"""Serving: one port, N worker processes, and an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from rxdesk import beside
from rxdesk.kit import logs
from rxdesk.kit.parents import END_STREAMS, end_with_parent
from rxdesk.kit.ports import PortInUseError, base_url, bracketed
from rxdesk.settings import Settings

# Connections a worker, idle ones too (Granian counts those, whatever it calls them); the next ones wait in
# the socket's backlog until one is closed.
_CONNECTIONS = 8192
_OTHER_FILES = 256  # that a worker has open besides
_HEADER_SECONDS = 10
_HEADER_BYTES = 64 * 1024
_STOP_SECONDS = 10
# A worker that ends sooner than this after its start counts as one that could not start; so many in a row are
# enough.
_EARLY_SECONDS = 5.0
_MOST_EARLY_ENDS = 4
_PROBE_SECONDS = 0.02
_SIGNAL_SECONDS = 0.5

_log = structlog.get_logger("rxdesk.serving")


class ServingError(Exception):
    """The server cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Launch:
    """All that a worker process needs to make its application."""

    settings: Settings
    connect: Mapping[str, Any]
    encryption_keys: str


# ---------------------------------------------------------------------------------------------------- workers
def load_worker(launch: Launch, parent: int) -> Callable[..., Any]:
    """Make the application inside a worker process."""
    # A terminal's Ctrl-C is the parent's to judge, who then sends SIGTERM, once: a worker told twice hangs. A session
    # and not a group alone: Linux shares the processor among sessions (autogroup), each of PostgreSQL's processes
    # is one, and workers in one together were taken off the processor amid requests.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(END_STREAMS, signal.SIG_IGN)  # until there are any
    end_with_parent(parent)
    logs.configure(launch.settings.log_level)
    try:
        from rxdesk.app import create_app  # noqa: PLC0415 (the verbs that do not serve need none of it)
        from rxdesk.db.pool import connector  # noqa: PLC0415

        connect = connector(
            dict(launch.connect),
            statement_seconds=launch.settings.statement_timeout_seconds,
            name="rxdesk serve",
        )
        app = create_app(launch.settings, connect, launch.encryption_keys)
        # What lives as long as the process is not looked at again by each collection of garbage.
        gc.collect()
        gc.freeze()
        return app  # noqa: TRY300 (an error of the two lines above is one of the start as well)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is said in the log's form and not as a trace)
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        place = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at is not None else "-"
        _log.error("worker_cannot_start", error=type(error).__name__, at=place)
        sys.exit(1)


def _load_on_a_core(index: int, workers: int, load: Callable[[], Any]) -> Any:  # noqa: ANN401 (an application)
    """Bind this worker to a core, where there are as many of them as cores, and load.

    Its two threads, of Python and of the network, then wake each other on one core: that takes an eighth less of it
    than across cores, and nobody waits long for a turn (docs/performance.md). macOS binds nothing.
    """
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) == workers > 1:
            with contextlib.suppress(OSError):  # a sandbox may forbid it
                os.sched_setaffinity(0, {cores[index]})
    return load()


def forks() -> bool:
    """Tell whether workers are forked from this process (Linux before Python 3.14) or started afresh."""
    return multiprocessing.get_start_method() == "fork"


def serve(
    launch: Launch,
    port: int,
    *,
    ready: Callable[[], None] = lambda: None,
    probe: tuple[str, Mapping[str, str]] = ("/livez", {}),
    started: Sequence[Callable[[], None]] = (),
    worker: bool = False,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. The caller holds the port.

    `ready` is called in a thread once a request (`probe`: path and headers) is answered; `started` are called
    when the workers have been forked, and may start threads. With `worker` a process beside delivers. Raises
    ServingError when workers cannot start.
    """
    logs.configure(launch.settings.log_level)
    # Workers tell addresses of their own, and 0 is none.
    launch = replace(launch, settings=replace(launch.settings, port=port))
    if forks():
        import rxdesk.app  # noqa: F401, PLC0415 (the workers then have it at once, and share its memory)
    ending = threading.Event()
    url = base_url(launch.settings.address, port)
    prober = threading.Thread(target=_probe, args=(url, probe, ready, ending), name="probe", daemon=True)
    deliverer = beside.worker(
        beside.Launch(launch.settings, dict(launch.connect), launch.encryption_keys, os.getpid())
    )
    server = _make_server(
        launch.settings,
        port,
        (*started, prober.start, *((deliverer.start,) if worker else ())),
        deliverer.tell,
    )
    try:
        with metrics_shown(launch.settings):
            workers = launch.settings.workers
            _log.info(
                "serving",
                address=launch.settings.address,
                port=port,
                workers=workers,
                connections=launch.settings.pool_size(workers),
            )
            server.serve(target_loader=partial(load_worker, launch, os.getpid()), wrap_loader=False)
    finally:
        ending.set()
        deliverer.stop()
    if prober.is_alive():
        prober.join()
    if server.gave_up:
        message = "the server ends: its workers end as soon as they start. The log lines above say why"
        raise ServingError(message)
    _log.info("ended")
    sys.stdout.flush()


@contextlib.contextmanager
def metrics_shown(settings: Settings) -> Iterator[None]:
    """Show metrics while a process serves or works; PortInUseError when their port cannot be had."""
    from rxdesk.web import metrics  # noqa: PLC0415 (likewise)

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(metrics.shown(settings))
        except OSError as error:
            where = f"{bracketed(settings.metrics_address)}:{settings.metrics_port}"
            message = (
                f"cannot show metrics on {where}: {error.strerror or error}. Choose another metrics_port"
            )
            raise PortInUseError(message) from error
        yield


def _most_connections() -> int:
    """Let workers, who inherit it, open as many files as the system allows; give the connections in them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _CONNECTIONS
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(_CONNECTIONS, soft - _OTHER_FILES))


def _supervisor(started: Sequence[Callable[[], None]], ending: Callable[[], None]) -> Any:  # noqa: ANN401 (Granian's class is untyped)
    from granian.server.mp import MPServer  # noqa: PLC0415 (only what serves pays for it)

    class Supervisor(MPServer):
        """Granian's, with our judgement on workers that end.

        Its own ends all when a worker ends twice within seconds, exits with 1 when workers obeyed the
        terminal's Ctrl-C before it told them to, and takes SIGHUP, a closed terminal, for a wish to reload.
        """

        gave_up = False

        def signal_handler_reload(self, *_: object, **__: object) -> None:
            self.signal_handler_interrupt()  # type: ignore[no-untyped-call]

        def _spawn_workers(self, spawn_target: object, target_loader: object) -> None:
            super()._spawn_workers(spawn_target, target_loader)  # type: ignore[no-untyped-call]
            _start_all(started)

        # Granian's own two classes differ in its arguments.
        def _spawn_worker(self, idx: int, target: object, callback_loader: Callable[[], Any]) -> Any:  # type: ignore[override]  # noqa: ANN401 (Granian's)
            load = partial(_load_on_a_core, idx, self.workers, callback_loader)
            return super()._spawn_worker(idx, target, load)

        def _serve_loop(self, spawn_target: object, target_loader: object) -> None:
            early = 0
            while True:
                _await(self.main_loop_interrupt)
                self.main_loop_interrupt.clear()
                if self.interrupt_signal:
                    return
                while self.interrupt_children:
                    index = self.interrupt_children.pop(0)
                    worker = self.wrks[index]
                    # One that was killed says nothing about the others.
                    killed = worker.inner.exitcode in {-signal.SIGKILL, -signal.SIGTERM}
                    soon = time.monotonic() - worker.birth < _EARLY_SECONDS
                    early = early + 1 if soon and not killed else 0
                    _log.error("worker_ended", worker=index + 1, status=worker.inner.exitcode)
                    if early >= _MOST_EARLY_ENDS:
                        self.gave_up = True
                        return
                    self._respawn_workers([index], spawn_target, target_loader)

        def shutdown(self, exit_code: int = 0) -> None:  # noqa: ARG002 (Granian's)
            ending()
            _end_streams(worker.inner.pid for worker in self.wrks)
            self._drop_shared_socket()  # type: ignore[no-untyped-call]
            self._stop_workers()  # type: ignore[no-untyped-call]
            self._stop_ipc()  # type: ignore[no-untyped-call]

    return Supervisor


def _start_all(started: Iterable[Callable[[], None]]) -> None:
    for start in started:
        start()


def _await(event: threading.Event) -> None:
    """Wait in the first thread for what a signal sets too.

    One that another thread takes, or this one just before it waits, is handled when the wait ends, and does not end it.
    """
    while not event.wait(_SIGNAL_SECONDS):
        pass


def _end_streams(workers: Iterable[int]) -> None:
    """End the streams of workers that will be told to stop: they wait for open answers, and streams have no end."""
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, END_STREAMS)


def _make_server(
    settings: Settings, port: int, started: Sequence[Callable[[], None]], ending: Callable[[], None]
) -> Any:  # noqa: ANN401 (as above)
    from granian.constants import HTTPModes, Interfaces, Loops  # noqa: PLC0415 (only what serves pays for it)
    from granian.http import HTTP1Settings  # noqa: PLC0415

    hangup = signal.getsignal(signal.SIGHUP)
    server = _supervisor(started, ending)(
        "rxdesk",
        address=settings.address,
        port=port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        http=HTTPModes.http1,
        websockets=False,
        loop=Loops.uvloop,
        backpressure=_most_connections(),
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEADER_SECONDS * 1000, max_buffer_size=_HEADER_BYTES
        ),
        log_enabled=False,
        workers_kill_timeout=_STOP_SECONDS,
    )
    if hangup is signal.SIG_IGN:  # nohup stays nohup
        server.on_startup(lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    return server


# ------------------------------------------------------------------------------------------------------ ready
def _probe(
    url: str, probe: tuple[str, Mapping[str, str]], ready: Callable[[], None], ending: threading.Event
) -> None:
    host, _, port = url.removeprefix("http://").rpartition(":")
    path, headers = probe
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
    while not ending.is_set():
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host.strip("[]"), int(port)), 5) as client,
        ):
            client.sendall(request)
            if client.recv(16).startswith(b"HTTP/1.1 "):
                break
        ending.wait(_PROBE_SECONDS)
    if not ending.is_set():
        tell_ready(ready)


def tell_ready(ready: Callable[[], None]) -> None:
    """Say that requests are answered; a full disk, or nobody who reads what is said, is no reason to stop serving."""
    try:
        ready()
    except OSError as error:
        _log.error("ready_not_told", error=error.strerror)
