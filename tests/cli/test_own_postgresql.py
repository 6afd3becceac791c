"""A PostgreSQL of the operator's own: migrate as an ordinary owner, serve as the role that it made."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest
from tests.cli.processes import answer, inside, refused, rxdesk, serving, until
from tests.ports import free_port

from rxdesk.kit import sealing

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
KEYS = {"RXDESK_ENCRYPTION_KEYS": sealing.new_keys()}

pytestmark = pytest.mark.skipif(
    not (PROGRAMS / "initdb").exists(), reason=f"Debian's PostgreSQL 15 is not here ({PROGRAMS})"
)


@dataclass(frozen=True)
class Database:
    """A fresh database of an ordinary owner, who may make roles."""

    port: int
    name: str

    def url(self, role: str, password: str = "none") -> str:  # noqa: S107 (made up)
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{self.name}"

    def execute(self, statement: str, role: str = "admin", name: str | None = None) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(
                host="127.0.0.1", port=self.port, user=role, password="none", database=name or self.name
            )
            await connection.execute(statement)
            await connection.close()

        asyncio.run(run())


def _answers(port: int) -> bool:
    done = subprocess.run(
        [PROGRAMS / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False, timeout=10
    )
    return done.returncode == 0


@pytest.fixture(scope="module")
def cluster() -> Iterator[int]:
    """PostgreSQL 15 on a port of its own, which asks its users for passwords but for the administrator."""
    folder = Path(tempfile.mkdtemp(prefix="rxdesk-pg15-"))
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses root
        user = "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
        shutil.chown(folder, user)
    port = free_port()
    data = folder / "data"
    subprocess.run(
        [PROGRAMS / "initdb", "-D", data, "-U", "admin", "--auth=trust", "-N", "-E", "UTF8", "--locale=C"],
        check=True,
        user=user,
        cwd="/",
        capture_output=True,
        timeout=60,
    )
    rules = (
        "host all admin,owner,plain,bypasses 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    (data / "pg_hba.conf").write_text(rules)
    server = subprocess.Popen(
        [PROGRAMS / "postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
         "-c", "unix_socket_directories=", "-c", "fsync=off"],
        user=user,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: _answers(port), 30, "PostgreSQL 15")
        Database(port, "postgres").execute(
            "CREATE ROLE owner LOGIN CREATEROLE; CREATE ROLE plain LOGIN;CREATE ROLE bypasses LOGIN BYPASSRLS"
        )
        yield port
    finally:
        server.send_signal(2)
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(cluster: int, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A fresh database of the owner, and afterwards none, nor the role that a test made."""
    name = f"d{time.monotonic_ns()}"
    admin = Database(cluster, "postgres")
    admin.execute(f"CREATE DATABASE {name} OWNER owner")
    yield Database(cluster, name)
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    admin.execute("DROP ROLE IF EXISTS rxdesk_app")


def _migrate(database: Database, *arguments: str, role: str = "owner") -> subprocess.CompletedProcess[str]:
    return inside("migrate", "--json", *arguments, RXDESK_DATABASE_URL=database.url(role))


def test_owner_and_serving_role(database: Database) -> None:
    checked = _migrate(database, "--check")
    assert checked.returncode == 1
    owner = {"RXDESK_DATABASE_URL": database.url("owner"), **KEYS}
    assert "the database is empty" in refused(inside("organisations", "list", **owner))

    # Without the role, it says what is missing and how to make it.
    done = inside("migrate", RXDESK_DATABASE_URL=database.url("owner"))
    assert done.returncode == 0
    assert "There is no role rxdesk_app yet" in done.stdout
    assert "--create-app-role" in done.stdout

    made = answer(_migrate(database, "--create-app-role"))
    assert made["role_created"]
    assert made["granted"]
    assert made["from"] == made["to"]
    again = answer(_migrate(database, "--create-app-role"))
    assert not again["role_created"]
    assert "database_url" not in again
    assert _migrate(database, "--check").returncode == 0

    # Serving: not as the owner, nor as whoever passes row security, but as the role that was made.
    line = refused(inside("serve", "--port", 0, **owner))
    assert "owner owns the tables" in line
    assert "--create-app-role" in line
    assert "admin is a superuser" in refused(
        inside("serve", "--port", 0, RXDESK_DATABASE_URL=database.url("admin"), **KEYS)
    )
    assert "bypasses bypasses row security" in refused(
        inside("serve", "--port", 0, RXDESK_DATABASE_URL=database.url("bypasses"), **KEYS)
    )
    assert "the role may not read it" in refused(
        inside("serve", "--port", 0, RXDESK_DATABASE_URL=database.url("plain"), **KEYS)
    )
    wrong = inside(
        "serve", "--port", 0, RXDESK_DATABASE_URL=database.url("rxdesk_app", "hidden-word"), **KEYS
    )
    assert "cannot be reached: password authentication failed" in refused(wrong)
    assert "hidden-word" not in wrong.stderr

    serve = {"RXDESK_DATABASE_URL": made["database_url"], **KEYS}
    answer(inside("organisations", "create", "mine", "--json", **serve))
    key = answer(
        inside(
            "keys", "create", "--organisation", "mine", "--name", "x", "--all-permissions", "--json", **serve
        )
    )
    with serving("serve", "--port", 0, **serve) as it:
        assert it.get("/notification-subscriptions", key["api_key"]) == 200
        password = httpx.URL(made["database_url"]).password
        assert password
        # A database that goes away later does not end the server, and it recovers by itself.
        admin = Database(database.port, "postgres")
        admin.execute(
            f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false;"
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
        )
        assert it.get("/notification-subscriptions", key["api_key"]) in {500, 503}
        assert it.process.poll() is None
        admin.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
        until(lambda: it.get("/notification-subscriptions", key["api_key"]) == 200, what="recovery")
        assert it.stop() == 0
        log = it.errors.read_text()
    assert password not in log
    assert key["api_key"] not in log
    findings = answer(inside("check", "--json", "--port", free_port(), **serve))
    assert all(finding["ok"] for finding in findings)


def test_migrations_at_once_wait_for_each_other(database: Database) -> None:
    with ThreadPoolExecutor(2) as threads:
        runs = [
            threads.submit(rxdesk, "migrate", "--json", RXDESK_DATABASE_URL=database.url("owner"))
            for _ in range(2)
        ]
        done = [answer(run.result()) for run in runs]
    assert {one["to"] for one in done} == {done[0]["to"]}


def test_who_may_not_make_roles_is_told_so(database: Database) -> None:
    database.execute(f"ALTER DATABASE {database.name} OWNER TO plain")
    database.execute("GRANT ALL ON SCHEMA public TO plain")
    done = inside("migrate", "--create-app-role", RXDESK_DATABASE_URL=database.url("plain"))
    assert "may not create roles" in refused(done)


def test_who_may_not_make_tables_is_told_so(database: Database) -> None:
    assert "permission denied" in refused(inside("migrate", RXDESK_DATABASE_URL=database.url("plain")))


def test_tables_in_another_schema_are_refused(database: Database) -> None:
    """The search path of a role or a database would lead them past the schema that is granted and judged."""
    database.execute("CREATE SCHEMA app AUTHORIZATION owner")
    database.execute(f"ALTER DATABASE {database.name} SET search_path = app, public")
    line = refused(inside("migrate", RXDESK_DATABASE_URL=database.url("owner")))
    assert "app" in line
    assert "search_path" in line
    owner = {"RXDESK_DATABASE_URL": database.url("owner"), **KEYS}
    assert "search_path" in refused(inside("serve", "--port", 0, **owner))


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_is_not_in_utf_8_is_refused(database: Database, encoding: str) -> None:
    name = f"{database.name}_x"
    admin = Database(database.port, "postgres")
    admin.execute(f"CREATE DATABASE {name} OWNER owner ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    try:
        other = Database(database.port, name)
        line = refused(inside("migrate", RXDESK_DATABASE_URL=other.url("owner")))
        assert encoding in line
        assert "UTF8" in line
        assert encoding in refused(
            inside("serve", "--port", 0, RXDESK_DATABASE_URL=other.url("owner"), **KEYS)
        )
    finally:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_database_with_habits_of_its_own_gives_the_same_answers(database: Database, tmp_path: Path) -> None:
    made = answer(_migrate(database, "--create-app-role"))
    database.execute(
        f"ALTER DATABASE {database.name} SET datestyle = 'German, DMY';"
        f"ALTER DATABASE {database.name} SET default_transaction_isolation = 'repeatable read'"
    )
    serve = {"RXDESK_DATABASE_URL": made["database_url"], **KEYS}
    answer(inside("organisations", "create", "mine", "--json", **serve))
    key = answer(
        inside("keys", "create", "--organisation", "mine", "--name", "x", "--all-permissions", "--json",
               "--rate-limit-per-second", 0, "--rate-limit-per-minute", 0, **serve)
    )["api_key"]  # fmt: skip
    (tmp_path / "shops.ndjson").write_text('{"uid":"shop","identifier":"s","display_name":"S"}\n')
    (tmp_path / "patients.ndjson").write_text(
        "".join(f'{{"uid":"p{number}","date_of_birth":"1990-01-15"}}\n' for number in range(30))
    )
    assert inside("import", "--organisation", "mine", tmp_path, **serve).returncode == 0
    with serving("serve", "--port", 0, **serve) as it:
        base, headers = it.ready["base_url"], {"X-API-Key": key}
        with httpx.Client(base_url=base, headers=headers, trust_env=False, timeout=20) as client:
            assert client.get("/patients/p0").json()["data"]["date_of_birth"] == "1990-01-15"

            def register(number: int) -> int:
                body = {"shop_uid": "shop", "patient_profile_uid": f"p{number}"}
                return client.post("/waiting-room/register", json=body).status_code

            with ThreadPoolExecutor(12) as threads:
                assert set(threads.map(register, range(30))) == {201}
        assert it.stop() == 0
