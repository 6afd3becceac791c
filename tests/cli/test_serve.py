"""`rxdesk serve`: it refuses to start on whatever is not as it must be, and says what and why."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import cast

import asyncpg
import pytest
from tests.cli.conftest import First
from tests.cli.processes import Server, inside, refused, rxdesk, serving
from tests.ports import free_port

from rxdesk.db import embedded, location
from rxdesk.db.pool import Connection
from rxdesk.kit import sealing

KEYS = {"RXDESK_ENCRYPTION_KEYS": sealing.new_keys()}
NOWHERE = "postgresql://someone:hidden-word@127.0.0.1:1/nothing"


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"RXDESK_NONSENSE": "1"}, "unknown setting nonsense (from variable RXDESK_NONSENSE)"),
        ({"RXDESK_WORKER": "1"}, "did you mean workers?"),
        (
            {"RXDESK_WORKERS": "many"},
            "workers (from variable RXDESK_WORKERS) must be a whole number from 1 to 256",
        ),
        ({"RXDESK_PORT": "-1"}, "port (from variable RXDESK_PORT)"),
        (
            {"RXDESK_DATABASE_POOL_SIZE": "1"},
            "database_pool_size (from variable RXDESK_DATABASE_POOL_SIZE) must be 0, or 2 or more: of a",
        ),
        ({"RXDESK_STATEMENT_TIMEOUT_SECONDS": "nan"}, "statement_timeout_seconds"),
        ({"RXDESK_REQUEST_TIMEOUT_SECONDS": "soon"}, "request_timeout_seconds"),
        (
            {"RXDESK_LOG_LEVEL": "loud"},
            "log_level (from variable RXDESK_LOG_LEVEL) must be one of debug, info",
        ),
        ({"RXDESK_ADDRESS": "somewhere"}, "address is wrong"),
        ({"RXDESK_EGRESS_ALLOW": "10.0.0.0"}, "egress_allow is wrong: '10.0.0.0'"),
        ({"RXDESK_EGRESS_ALLOW": "169.254.169.254/32:80"}, "egress_allow is wrong"),
        ({"RXDESK_EGRESS_CA_FILE": "/nowhere.pem"}, "egress_ca_file is wrong: /nowhere.pem"),
        ({"RXDESK_TRUSTED_PROXIES": "proxy"}, "trusted_proxies is wrong"),
        ({"RXDESK_REDIS_URL": "http://:hidden-word@cache"}, "redis_url is wrong"),
        ({"RXDESK_REDIS_URL": "redis://:hidden-word@cache:port"}, "redis_url is wrong"),
        ({"RXDESK_ENCRYPTION_KEYS": "k1:hidden-word"}, "encryption_keys is wrong: encryption key 1"),
        ({"RXDESK_DATABASE_URL": NOWHERE}, "encryption_keys is not set"),
        ({"RXDESK_DATABASE_URL": NOWHERE, **KEYS}, "the database cannot be reached"),
        (
            {"RXDESK_DATABASE_URL": "mysql://someone:hidden-word@db/x", **KEYS},
            "database_url is not of the form",
        ),
        ({"RXDESK_CONFIG": "/nowhere.toml"}, "settings file /nowhere.toml cannot be read"),
        ({}, "there is no database in"),
    ],
)
def test_a_wrong_setting_is_refused(env: dict[str, str], said: str, first: First, tmp_path: Path) -> None:
    folder = first.folder if env else tmp_path / "empty"
    done = inside("serve", "--data-dir", folder, "--port", 0, **env)
    assert said in refused(done)
    assert "hidden-word" not in done.stderr + done.stdout
    assert env or not folder.exists()


def test_an_unknown_setting_in_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rxdesk.toml"
    file.write_text("adress = '127.0.0.1'\n")
    line = refused(inside("serve", "--config", file))
    assert f"unknown setting adress (from file {file}); did you mean address?" in line


def test_a_database_that_accepts_and_says_nothing_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://someone:hidden-word@127.0.0.1:{silent.getsockname()[1]}/x"
        line = refused(inside("serve", "--port", 0, RXDESK_DATABASE_URL=url, **KEYS))
    assert "cannot be reached: no answer within 5 s" in line


def test_a_port_in_use_is_refused(first: First) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refused(
            rxdesk("serve", "--data-dir", first.folder, "--port", port)
        )


def test_a_wrong_call_is_a_usage_error() -> None:
    done = rxdesk("serve", "--port", "http")
    assert done.returncode == 2
    assert done.stderr.startswith("rxdesk: ")
    assert done.stderr.count("\n") == 1
    assert "`rxdesk serve --help`" in done.stderr


@pytest.mark.parametrize(("revision", "said"), [("9999", "newer"), (None, "the database is empty")])
def test_another_schema_is_refused(copy: Path, revision: str | None, said: str) -> None:
    async def change(server: embedded.Server) -> None:
        owner = await asyncpg.connect(**server.address.connect_args(embedded.OWNER))
        if revision is None:
            await owner.execute("ALTER TABLE alembic_version RENAME TO kept")
        else:
            await owner.execute("UPDATE alembic_version SET version_num = $1", revision)
        await owner.close()

    with embedded.start(copy, purpose="tests") as server:
        asyncio.run(change(server))
    assert said in refused(inside("serve", "--data-dir", copy, "--port", 0))
    assert said in refused(inside("organisations", "list", "--data-dir", copy))
    if revision is not None:
        assert said in refused(inside("demo", "--data-dir", copy, "--port", 0))
        assert said in refused(inside("migrate", "--data-dir", copy))


def test_a_ring_that_lost_or_changed_a_key_is_refused(copy: Path) -> None:
    file = copy / "encryption.key"
    first = file.read_text()
    cases = {
        "": "the encryption key is missing",
        sealing.new_keys(): "'k1' is not the one that has sealed",
        sealing.new_keys().replace(
            "k1:", "k2:"
        ): "'k1' has sealed secrets in this database and is not configured",
    }
    for text, said in cases.items():
        file.write_text(text) if text else file.unlink()
        assert said in refused(inside("serve", "--data-dir", copy, "--port", 0))
        assert said in refused(inside("demo", "--data-dir", copy, "--port", 0))
        checked = inside("check", "--data-dir", copy, "--port", free_port())
        assert checked.returncode == 1
        assert "✗ sealed secrets" in checked.stdout
        # A key that is lost is no reason to be calm: not "none yet".
        assert text or f"✗ encryption key: {file} is not there" in checked.stdout
        assert file.exists() == bool(text)
    # A second key that seals from now on, and the first behind it.
    file.write_text(f"{sealing.new_keys().replace('k1:', 'k2:').strip()},{first}")
    with serving("demo", "--data-dir", copy, "--port", 0) as it:
        assert it.order() == 200
    file.write_text(first)
    assert "'k2' has sealed" in refused(inside("serve", "--data-dir", copy, "--port", 0))


class _Old:
    """Answers as a connection to a PostgreSQL of another version: none that old is at hand to be asked."""

    def __init__(self, number: str) -> None:
        self.number = number

    async def fetchval(self, _: str) -> str:
        return self.number


@pytest.mark.parametrize(
    ("number", "well"),
    [("150013", False), ("150014", True), ("140020", False), ("160000", True), ("180006", True)],
)
async def test_postgresql_before_15_14_is_refused(number: str, *, well: bool) -> None:
    finding = await location._version(cast("Connection", _Old(number)))  # noqa: SLF001 (see _Old)
    assert finding.well is well
    assert well or "RxDesk needs 15.14 or newer" in finding.message


def test_it_serves_what_the_demo_made_and_logs_json(copy: Path, demo: Server) -> None:
    port = free_port()
    with serving("serve", "--data-dir", copy, "--port", port, "--workers", 2) as it:
        assert it.ready == {"base_url": f"http://127.0.0.1:{port}/v1/management"}
        it.ready = {**demo.ready, **it.ready}
        assert it.order() == 200
        assert "in use by rxdesk serve" in refused(rxdesk("demo", "--data-dir", copy, "--port", 0))
        assert it.stop() == 0
        lines = it.errors.read_text().splitlines()
    assert lines
    assert all(line.startswith("{") for line in lines)
    assert demo.key() not in "\n".join(lines)
