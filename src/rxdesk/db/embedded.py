"""RxDesk's own PostgreSQL, in its data folder: start, stop, and find it.

The server is a child of the process that calls `start`, listens on a Unix socket in a private folder and
nowhere else, and ends with that process, however it ends. One process at a time runs a server on a folder;
others reach it by `running`.
"""

import contextlib
import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import quote

from rxdesk.db import embedded_lock
from rxdesk.db.embedded_cluster import (
    APP,
    DATABASE,
    OWNER,
    PORT,
    ROLES,
    SUPERUSER,
    binary_version,
    data_version,
    fixed_settings,
    pgdata_of,
    prepare,
    programs,
    room_for,
)
from rxdesk.db.embedded_lock import InUseError
from rxdesk.db.embedded_process import (
    EmbeddedError,
    Guarded,
    send,
    serves,
    started,
    stragglers,
)

__all__ = [
    "APP",
    "DATABASE",
    "OWNER",
    "ROLES",
    "SUPERUSER",
    "Address",
    "EmbeddedError",
    "InUseError",
    "Server",
    "binary_version",
    "data_version",
    "running",
    "start",
    "use",
]

_LOG = "postgres.log"
_LOG_KEPT_BYTES = 1 << 20
_SAY_EVERY = 5.0  # seconds
_FAST = 60.0  # seconds for a fast shutdown before an immediate one
_LAST_USER = 60.0  # seconds for them where the system does not show which processes these are
_AGAIN = 0.05  # seconds between two looks at a folder that another process holds
_GRACE = 2.0  # seconds for processes that lost their server to notice
# Lines of postmaster.pid (PostgreSQL's miscadmin.h), counted from 0.
_PID_LINE, _STATUS_LINE = 0, 7
_LARGEST_PID = 2**31 - 1


class _NotYetFreeError(EmbeddedError):
    """Processes of a killed server still have its memory."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a running embedded server is reached. `role` below is one of `ROLES`."""

    socket_dir: Path
    port: int = PORT
    database: str = DATABASE

    def connect_args(self, role: str) -> dict[str, Any]:
        """Arguments for `asyncpg.connect` and `asyncpg.create_pool`."""
        return {"host": str(self.socket_dir), "port": self.port, "user": role, "database": self.database}

    def url(self, role: str) -> str:
        """A `postgresql://` URL, for libpq's programs, asyncpg and Alembic."""
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{role}@/{self.database}?host={host}&port={self.port}"


def _silent(line: str) -> None:
    """Say nothing."""


class Server:
    """A running server of this process. As a context manager it stops at the end."""

    def __init__(self, address: Address, process: Guarded, lock: int) -> None:
        self.address = address
        self.pid = process.pid
        self._process = process
        self._lock = lock
        self._starter = os.getpid()
        self._stopping = threading.Lock()
        self._stopped = False

    def poll(self) -> int | None:
        """The exit status of PostgreSQL if it has ended, negative for a signal; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Stop the server: clients are cut off, transactions roll back, all is written to disk. Idempotent.

        In a forked child it does nothing: the server is the parent's.
        """
        if os.getpid() != self._starter:
            return
        with self._stopping:
            if self._stopped:  # the lock's descriptor may be another file's by now
                return
            if self._process.poll() is None:
                _stop(self._process)
            self._stopped = True
            embedded_lock.release(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(
    data_dir: Path,
    *,
    purpose: str,
    say: Callable[[str], None] = _silent,
    wait_seconds: float = 10,
    settings: Mapping[str, str] | None = None,
    connections: int = 0,
) -> Server:
    """Start the server on the data folder and wait until it answers; at first, make folder and database.

    `purpose` names the caller to others who want the folder ("serve"). `say` is given lines for a waiting
    person. `wait_seconds` is how long another owner of the folder is waited for; recovery after a crash has
    no time limit. `settings` are PostgreSQL settings over all others; `connections` is how many there must be
    room for where that is more than the usual 100. Raises EmbeddedError.
    """
    try:
        return _start(data_dir, purpose, say, wait_seconds, settings or {}, connections)
    except OSError as error:
        raise EmbeddedError(
            f"The data folder {data_dir} cannot be used: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}. Check its path, rights and free space, "
            "or use another --data-dir."
        ) from error


def running(data_dir: Path) -> Address | None:
    """The server that another rxdesk process runs on the folder, if one does and it answers."""
    try:
        descriptor = os.open(data_dir / embedded_lock.NAME, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise EmbeddedError(f"The data folder {data_dir} cannot be read: {error.strerror}.") from error
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        folder = embedded_lock.holder(descriptor).get("socket_dir")
    finally:
        os.close(descriptor)
    if folder is None:
        return None
    address = Address(Path(folder))
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(address.socket_dir / f".s.PGSQL.{address.port}"))
        return address
    return None


@contextlib.contextmanager
def use(
    data_dir: Path, *, purpose: str, say: Callable[[str], None] = _silent, wait_seconds: float = 10
) -> Iterator[Address]:
    """The folder's server for a short piece of work: the running one, else one of our own for that time.

    Another process that is just starting or stopping its server is waited for, up to `wait_seconds`; then
    InUseError.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        address = running(data_dir)
        if address is not None:
            yield address
            return
        try:
            server = start(data_dir, purpose=purpose, say=say, wait_seconds=0)
        except InUseError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN)
            continue
        with server:
            yield server.address
        return


def _start(
    data_dir: Path,
    purpose: str,
    say: Callable[[str], None],
    wait_seconds: float,
    settings: Mapping[str, str],
    connections: int,
) -> Server:
    # Root's server runs as another user, who must be able to pass through; the files in it are private each.
    data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    lock = embedded_lock.acquire(data_dir, purpose, say, wait_seconds)
    try:
        pgdata = pgdata_of(data_dir)
        _clear(pgdata, say)
        launch, socket_dir = prepare(data_dir, settings, say)
        every = {**fixed_settings(socket_dir), **room_for(connections, launch, pgdata), **settings}
        options = [word for name, value in every.items() for word in ("-c", f"{name}={value}")]
        command = [*launch.prefix, str(programs() / "postgres"), "-D", str(pgdata), *options]
        log = data_dir / _LOG
        _rotate(log)
        process = _served(command, pgdata, log, say)
        try:
            embedded_lock.note(lock, purpose, socket_dir)
        except BaseException:
            _stop(process)
            raise
    except BaseException:
        embedded_lock.release(lock)
        raise
    return Server(Address(socket_dir), process, lock)


def _served(command: list[str], pgdata: Path, log: Path, say: Callable[[str], None]) -> Guarded:
    """Run the server and wait until it answers."""
    deadline = time.monotonic() + _LAST_USER
    while True:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as output:
            since = output.seek(0, os.SEEK_END)
            process = Guarded(command, output=output)
        try:
            _wait_until_ready(process, pgdata, log, since, say)
        except _NotYetFreeError:
            if time.monotonic() > deadline:
                raise
            say("waiting for processes of a killed server to end")
            time.sleep(1)
            continue
        except BaseException:
            _stop(process)
            raise
        return process


def _postmaster_lines(pgdata: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return (pgdata / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    return []


def _clear(pgdata: Path, say: Callable[[str], None]) -> None:
    """End what an earlier server may have left: itself, its children, and its stale postmaster.pid.

    We hold the folder's lock, so no rxdesk process wants it any more. A stranger with that process number is
    left alone: only what serves this very folder is touched.
    """
    if not (pgdata / "postmaster.pid").exists():
        return
    first = "".join(_postmaster_lines(pgdata)[: _PID_LINE + 1])
    pid = int(first) if first.isdecimal() else 0
    token = started(pid) if 1 < pid <= _LARGEST_PID else None
    if token is not None and serves(pid, pgdata):
        send(pid, token, signal.SIGINT)
        _wait_for(lambda: started(pid) != token, say, "the earlier server to write all to disk")
    begun = time.monotonic()

    def gone() -> bool:
        left = stragglers(pgdata)
        if time.monotonic() - begun > _GRACE:
            for number, its_token in left.items():
                send(number, its_token, signal.SIGKILL)  # without a server it has nothing left to lose
        return not left

    _wait_for(gone, say, "processes of a killed server to end")
    (pgdata / "postmaster.pid").unlink(missing_ok=True)


def _wait_for(done: Callable[[], bool], say: Callable[[str], None], what: str) -> None:
    spoken = begun = time.monotonic()
    while not done():
        now = time.monotonic()
        if now - spoken >= _SAY_EVERY:
            spoken = now
            say(f"waiting for {what} ({now - begun:.0f} s)")
        time.sleep(0.02)


def _wait_until_ready(
    process: Guarded, pgdata: Path, log: Path, since: int, say: Callable[[str], None]
) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            _died(process, log, since)
        # PostgreSQL keeps its state in this file, as pg_ctl reads it.
        lines = _postmaster_lines(pgdata)
        return (
            len(lines) > _STATUS_LINE
            and lines[_PID_LINE] == str(process.pid)
            and lines[_STATUS_LINE].strip() == "ready"
        )

    _wait_for(answers, say, "PostgreSQL, which brings the database up to date after an unclean end")


def _died(process: Guarded, log: Path, since: int) -> NoReturn:
    with log.open("rb") as file:
        file.seek(since)
        last = file.read().decode(errors="replace").strip().splitlines()[-8:]
    # PostgreSQL's own wall against two servers on one folder; it falls when the last process has gone.
    kind = _NotYetFreeError if any("shared memory block" in line for line in last) else EmbeddedError
    raise kind(
        f"PostgreSQL ended at its start (exit status {process.poll()}). The last lines of {log}:\n"
        + "\n".join(last)
    )


def _rotate(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_KEPT_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))


def _stop(process: Guarded) -> None:
    process.signal(signal.SIGINT)
    if not process.wait(_FAST):
        process.signal(signal.SIGQUIT)  # no loss: the next start replays the log
        process.wait()
