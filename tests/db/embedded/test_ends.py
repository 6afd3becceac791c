"""The supervisor of the embedded PostgreSQL beside others, and when it, its server or its parent ends."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.db.embedded.supervised import (
    LINUX,
    PARENT,
    PARENT_WITHOUT_PROC,
    ROOT,
    alive,
    children,
    deaf_backend,
    kill_in_order,
    parent,
    python,
    sql,
    start,
    tree,
    until,
)

from rxdesk.db import embedded, embedded_process


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


def test_without_proc_a_kill_of_the_parent_ends_the_server(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_process, "_PROC", Path("/none"))
    assert embedded_process.started(os.getpid()) == embedded_process.started(os.getpid())
    with parent(data_dir, script=PARENT_WITHOUT_PROC) as (process, pid):
        assert embedded_process.serves(pid, data_dir / "postgres")
        assert not embedded_process.serves(pid, data_dir)
        process.kill()
        until(lambda: not alive(pid))
    with parent(data_dir, script=PARENT_WITHOUT_PROC) as (process, pid):
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
    with parent(data_dir, script=PARENT.replace("\n        print(server.pid", begin)) as (process, pid):
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
    with python(PARENT, data_dir) as process:
        # Its lock comes first, its server later: between the two there is nothing to reach yet.
        until(lambda: (data_dir / "rxdesk.lock").stat().st_size > 0)
        with embedded.use(data_dir, purpose="keys") as address:
            assert sql(address, "SELECT 1") == 1
        assert process.poll() is None
        process.kill()


def test_interrupt_while_the_database_is_made(folder: Path) -> None:
    with python(PARENT, folder / "data") as process:
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
    with python(PARENT, data_dir) as process:
        until(lambda: bool(list(data_dir.glob("postgres.new-*/PG_VERSION"))))
        process.kill()
    assert not (data_dir / "postgres").exists()
    with start(data_dir) as server:
        assert sql(server.address, "SELECT 1", embedded.APP) == 1
    until(lambda: not list(data_dir.glob("postgres.new-*/base")))
