"""How the embedded PostgreSQL's processes are started, recognised and ended.

Three dangers are met here. PostgreSQL refuses root (`choose_launch`). A process number may by now belong to a
stranger, so a process is known by its number *and* its start time (`started`, `send`). And whoever starts a
server may be killed at any moment, so nothing runs without a watchdog that outlives its parent (`Guarded`).
"""

import contextlib
import os
import pwd
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rxdesk.db import embedded_launch

# Fixed, so that no setting of a user's shell (PGOPTIONS, LD_PRELOAD, a locale) changes the server.
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "LC_ALL": "C",
    "TZ": "UTC",
    # glibc gives memory back to the system when a large answer is sent; a connection's process asks for it anew with
    # the next: half of the database's time for a page of 50 products, on one asked for nothing else. It keeps up to
    # 4 MB (mallopt(3)).
    "MALLOC_MMAP_THRESHOLD_": str(2 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 1024 * 1024),
}

# Where Linux shows processes; macOS has none, and `ps` is asked.
_PROC = Path("/proc")

# Reads one line, then becomes the program. If the parent dies before it has set up the watchdog, the line
# never comes.
_GATE = 'read -r go && exec "$@" </dev/null'

# $1 process number, $2 its start time, $3 _PROC. Ends the process when standard input closes: fast at first,
# then harder.
_WATCHDOG = r"""
started() {
  if [ -r "$2/self/stat" ]; then
    line=; { read -r line < "$2/$1/stat"; } 2>/dev/null
    line=${line##*)}; set -- $line
    case $1 in [ZX]) ;; *) echo "${20}" ;; esac
  else LC_ALL=C TZ=UTC ps -o lstart= -p "$1" | sed 's/^ *//; s/ *$//'
  fi
}
lives() { [ "$(started "$1" "$3")" = "$2" ]; }
read -r never
lives "$@" && kill -INT "$1"
waited=0
while sleep 1; lives "$@"; do
  waited=$((waited + 1))
  [ "$waited" -eq 60 ] && kill -QUIT "$1"
done
"""


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot be used. The message says what happened and what to do."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How PostgreSQL's programs are run: `prefix` goes before the command; files belong to `uid`, `gid`.

    `user` is the name by which the server knows a client of its own operating-system user.
    """

    prefix: tuple[str, ...]
    uid: int
    gid: int
    user: str | None


def started(pid: int) -> str | None:
    """A token of when the process was started, or None if there is none (a zombie counts as none)."""
    if not (_PROC / "self/stat").exists():
        found = subprocess.run(
            ["/bin/ps", "-o", "lstart=", "-p", str(pid)],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        return found.stdout.strip() or None
    try:
        # The program's name, in parentheses, may itself hold spaces and parentheses.
        fields = (
            (_PROC / str(pid) / "stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def send(pid: int, token: str, number: signal.Signals) -> None:
    """Signal the process if it is still the one that was started then."""
    if started(pid) == token:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def serves(pid: int, pgdata: Path) -> bool:
    """Whether the process is a PostgreSQL on this very folder, by its working folder or its command line."""
    proc = _PROC / str(pid)
    if (_PROC / "self/stat").exists():
        try:
            command = (proc / "cmdline").read_bytes().split(b"\0")
            name = (proc / "comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return False
        with contextlib.suppress(OSError):
            if name == "postgres" and (proc / "cwd").samefile(pgdata):
                return True
        return command[0].endswith(b"postgres") and os.fsencode(pgdata) in command
    found = subprocess.run(
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    return re.search(rf"postgres -D {re.escape(str(pgdata))}( |$)", found.stdout) is not None


def stragglers(pgdata: Path) -> dict[int, str]:
    """Processes of a server whose main process was killed and who have not noticed: number → start time.

    Empty where the system shows no working folders (macOS): the caller then waits until PostgreSQL itself is
    content.
    """
    try:
        numbers = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    except OSError:
        return {}
    return {pid: token for pid in numbers if serves(pid, pgdata) and (token := started(pid)) is not None}


# Descriptors which mean "rxdesk's main process lives". A forked worker without exec would hold them open.
_main_only: set[int] = set()


def keep_from_children(descriptor: int) -> None:
    """Close the descriptor in every process forked from this one (executed programs never see it)."""
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - takes it by position only
    _main_only.add(descriptor)


def close_kept(descriptor: int) -> None:
    """Close a descriptor given to `keep_from_children`. Idempotent, and without effect in a forked child."""
    if descriptor in _main_only:
        _main_only.discard(descriptor)
        os.close(descriptor)


def _close_in_child() -> None:
    while _main_only:
        with contextlib.suppress(OSError):
            os.close(_main_only.pop())


os.register_at_fork(after_in_child=_close_in_child)


class Guarded:
    """A process that ends when its parent does, however that ends, and that no terminal key reaches."""

    def __init__(self, command: Sequence[str], *, output: IO[bytes] | int) -> None:
        gate = subprocess.Popen(
            ["/bin/sh", "-c", _GATE, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
        )
        assert gate.stdin is not None  # noqa: S101 - for the type checker
        self.process = gate
        self.pid = gate.pid
        reading, self._writing = os.pipe()
        keep_from_children(self._writing)
        try:
            with os.fdopen(reading, "rb") as end:
                self._watchdog = subprocess.Popen(
                    [
                        *("/bin/sh", "-c", _WATCHDOG, "rxdesk-watchdog"),
                        *(str(gate.pid), started(gate.pid) or "", str(_PROC)),
                    ],
                    stdin=end,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=ENVIRONMENT,
                    start_new_session=True,
                )
            gate.stdin.write(b"go\n")
            gate.stdin.close()
        except BaseException:
            gate.kill()
            with contextlib.suppress(BrokenPipeError):
                gate.stdin.close()
            gate.wait()
            close_kept(self._writing)
            raise

    def poll(self) -> int | None:
        """The exit status, negative for a signal, or None while it runs."""
        status = self.process.poll()
        if status is not None:
            self._dismiss()
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        self.process.send_signal(number)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for its end, at most so long. Returns whether it has ended."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._dismiss()
        return True

    def _dismiss(self) -> None:
        # In this order: a watchdog that still lives takes the closing of the pipe for our death.
        self._watchdog.kill()
        self._watchdog.wait()
        close_kept(self._writing)


def _server_user(owner: tuple[int, int] | None) -> tuple[int, int, str | None]:
    """The unprivileged user for a server started by root: the data's owner, else the best that exists."""
    if owner is not None and owner[0] != 0:
        try:
            return (*owner, pwd.getpwuid(owner[0]).pw_name)
        except KeyError:
            return (*owner, None)
    for name in ("rxdesk", "postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                return entry.pw_uid, entry.pw_gid, name
    raise EmbeddedError(
        "PostgreSQL does not run as root, and this system has none of the users rxdesk, postgres and nobody. "
        "Create one (useradd --system rxdesk) or run rxdesk as an ordinary user."
    )


def _namesake() -> tuple[int, int, str]:
    """A named user to pass for in a user namespace. Not the overflow user, as which strangers are shown."""
    overflow = Path("/proc/sys/kernel/overflowuid")
    unwanted = {0, 65534, int(overflow.read_text(encoding="ascii")) if overflow.exists() else 65534}
    for entry in sorted(
        pwd.getpwall(), key=lambda entry: entry.pw_name not in {"rxdesk", "postgres", "daemon"}
    ):
        if entry.pw_uid not in unwanted:
            return entry.pw_uid, entry.pw_gid, entry.pw_name
    raise EmbeddedError("No user but root is known to this system. Create one: useradd --system rxdesk.")


def _own(folder: Path, uid: int, gid: int) -> None:
    """Give a folder of ours, with all in it, to the user (no effect, and fast, if it belongs to it)."""
    if folder.lstat().st_uid == uid:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent, name), uid, gid, follow_symlinks=False)
    os.chown(folder, uid, gid, follow_symlinks=False)


def _barrier(paths: Sequence[Path], uid: int, gid: int) -> str:
    """The first folder on the way to the paths which the user cannot enter, with its mode, for a message."""
    for path in paths:
        for folder in (*reversed(path.parents), path):
            with contextlib.suppress(OSError):
                status = folder.stat()
                mode = status.st_mode
                shift = 6 if status.st_uid == uid else 3 if status.st_gid == gid else 0
                if not mode >> shift & 1:
                    return f"{folder} (mode {mode & 0o7777:04o})"
    return "the data folder or PostgreSQL's programs"


def choose_launch(folder: Path, programs: Path, owner: tuple[int, int] | None) -> Launch:
    """Find how PostgreSQL can be run here on the private folder `folder`, and give that folder to its user.

    `programs` is the folder of PostgreSQL's programs; `owner` (uid, gid) the user to whom the data belongs
    already. An ordinary user runs it as himself. Root tries, in this order, the ways of `embedded_launch`
    until one can enter the folder and run the programs: so the server has no privilege unless it cannot do
    without.
    """
    if os.geteuid() != 0:
        uid = os.geteuid()
        try:
            return Launch((), uid, os.getegid(), pwd.getpwuid(uid).pw_name)
        except KeyError:
            raise EmbeddedError(
                f"The user {uid} has no name on this system, and PostgreSQL needs one. Add the user to "
                "/etc/passwd, run rxdesk as another, or set RXDESK_DATABASE_URL to a PostgreSQL of your own."
            ) from None
    share = next((programs.parent / "share").glob("**/postgres.bki"), programs / "postgres")
    # pg_config looks for itself as all the programs do, and fails where they would.
    trial = 'cd "$1" && [ -w . ] && [ -r "$3" ] && "$2/postgres" -V && "$2/pg_config" --bindir'
    user = _server_user(owner)
    said = ""
    for way in embedded_launch.WAYS:
        if way == "namespace" and owner is not None and owner[0] != 0:
            continue  # the files are another's, who does not exist in a namespace
        uid, gid, name = _namesake() if way == "namespace" else user
        belongs = (0, 0) if way == "namespace" else (uid, gid)
        prefix = (
            sys.executable, "-I", "-S", str(Path(embedded_launch.__file__).resolve()), way, str(uid), str(gid)
        )  # fmt: skip
        try:
            _own(folder, *belongs)
        except OSError as error:
            said = str(error)
            continue
        tried = subprocess.run(
            [*prefix, "/bin/sh", "-c", trial, "sh", str(folder), str(programs), str(share)],
            env=ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if tried.returncode == 0:
            return Launch(prefix, *belongs, name)
        said = tried.stderr.strip().rpartition("\n")[2]
    raise EmbeddedError(
        f"PostgreSQL does not run as root, and as user {user[2] or user[0]} it cannot use "
        f"{_barrier((folder, programs / 'postgres'), user[0], user[1])}. Run rxdesk as an "
        "ordinary user, choose a --data-dir (and a virtual environment) below folders that everybody may "
        f"enter, or allow this process the capability DAC_READ_SEARCH. The last attempt said: {said}"
    )
