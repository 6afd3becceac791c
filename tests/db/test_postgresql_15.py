"""An ordinary owner's PostgreSQL 15, Debian's: migrated, backfilled, dumped and restored with the second wall."""

# ruff: noqa: ASYNC221, PLW1510 (nothing else runs meanwhile; `check` is in `common`)

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.contract.worlds import two_worlds
from tests.db.tables import TENANT_TABLES

from rxdesk.db import migrate
from rxdesk.db.pool import Connection

DEBIAN = Path("/usr/lib/postgresql/15/bin")


def _unprivileged() -> dict[str, Any]:
    """How to run PostgreSQL's programs: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    pytest.skip("this is root, and there is no unprivileged user to run PostgreSQL as")


@pytest.fixture(scope="module")
def debian() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Debian's PostgreSQL 15 in a folder of its own: its socket folder, and how to run its programs."""
    if not (DEBIAN / "initdb").exists():
        pytest.skip(f"{DEBIAN} is not there: Debian's PostgreSQL 15 is not installed")
    who = _unprivileged()
    with tempfile.TemporaryDirectory(
        prefix="rxdesk-debian-", dir="/tmp"
    ) as name:  # a short path, for the socket
        folder = Path(name)
        if who:
            os.chown(folder, who["user"], who["group"])
        data = folder / "data"
        common: dict[str, Any] = {**who, "cwd": folder, "check": True, "capture_output": True, "timeout": 60}
        initdb: list[Any] = [
            DEBIAN / "initdb",
            "-D",
            data,
            "-U",
            "administrator",
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        subprocess.run([*initdb, "--locale", "C.UTF-8", "--no-sync"], **common)
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        server = subprocess.Popen(
            [DEBIAN / "postgres", "-D", data, *options],
            **who,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until = time.monotonic() + 30
            ready: list[Any] = [DEBIAN / "pg_isready", "-q", "-h", folder]
            while subprocess.run(ready, timeout=10, check=False).returncode:
                assert time.monotonic() < until, "PostgreSQL 15 does not start"
                assert server.poll() is None
                time.sleep(0.05)
            yield folder, common
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(30)
            shutil.rmtree(data, ignore_errors=True)


async def _digest(connection: Connection) -> dict[str, tuple[int, str | None]]:
    """Every tenant table's number of rows and a digest of them."""
    found = {}
    for (table,) in await connection.fetch(TENANT_TABLES):
        row = await connection.fetchrow(
            f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t"
        )
        assert row is not None
        found[table] = (row[0], row[1])
    return found


@pytest.fixture
async def owned(debian: tuple[Path, dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    """A fresh database of an ordinary owner; arguments of asyncpg.connect for it."""
    folder, _ = debian
    administrator = await asyncpg.connect(host=str(folder), user="administrator", database="postgres")
    for role in ("owner", "app"):
        await administrator.execute(f"CREATE ROLE shop_{role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE")
    for name in ("shop", "restored"):
        await administrator.execute(f"CREATE DATABASE {name} OWNER shop_owner")
    yield {"host": str(folder), "user": "shop_owner", "database": "shop"}
    await administrator.close()


async def test_an_ordinary_owner_migrates_backfills_dumps_and_restores(
    debian: tuple[Path, dict[str, Any]], owned: dict[str, Any]
) -> None:
    folder, common = debian
    await migrate.migrate(owned)
    owner = await asyncpg.connect(**owned)
    assert owner.get_server_version()[0] == 15
    assert await migrate.grant(owner, "shop_app")
    app = await asyncpg.connect(**{**owned, "user": "shop_app"})
    made = await two_worlds(app)
    # A backfill touches all rows: the policies are enabled, not forced.
    for table in ("patients", "orders", "notification_subscriptions"):
        rows = await owner.fetchval(f"SELECT count(*) FROM {table}")
        organisations = await owner.fetchval(f"SELECT count(DISTINCT organisation_id) FROM {table}")
        assert organisations == 2
        assert await owner.execute(f"UPDATE {table} SET actor_uid = actor_uid || '!'") == f"UPDATE {rows}"
    before = await _digest(owner)
    assert sum(count for count, _ in before.values()) > 100
    dump = folder / "dump"
    connect: list[Any] = ["-h", folder, "-U", "shop_owner"]
    subprocess.run([DEBIAN / "pg_dump", *connect, "-Fc", "-f", dump, "shop"], **common)
    restore: list[Any] = [DEBIAN / "pg_restore", *connect, "--exit-on-error", "-d", "restored", dump]
    subprocess.run(restore, **common)
    restored = await asyncpg.connect(**{**owned, "database": "restored"})
    assert await _digest(restored) == before
    assert await migrate.current_revision(restored) == migrate.HEAD
    # The wall came along.
    walled = await asyncpg.connect(**{**owned, "user": "shop_app", "database": "restored"})
    assert {count for count, _ in (await _digest(walled)).values()} == {0}
    for own, foreign in (made, made[::-1]):
        await walled.execute(f"SET rxdesk.organisation_id = '{own.tenant.id}'")
        text = await walled.fetchval("SELECT string_agg(t::text, '') FROM patients t")
        assert own.mark in text
        assert foreign.mark not in text
    for connection in (owner, app, restored, walled):
        await connection.close()
