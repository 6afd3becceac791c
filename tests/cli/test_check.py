"""`rxdesk check`: what it looks at, and what it says of what is wrong."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from tests.cli.processes import Server, inside
from tests.ports import free_port


def _checks(*arguments: object, **env: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = inside("check", "--json", *arguments, **env)
    return done.returncode, {one["name"]: one for one in json.loads(done.stdout)}


def test_check_beside_a_running_server(demo: Server) -> None:
    status, found = _checks("--data-dir", demo.ready["folder"], "--port", demo.port)
    assert status == 0, found
    assert found["database"]["message"] == "the folder's server runs"
    assert "a server runs on this folder" in found["port"]["message"]
    assert demo.order() == 200


def test_check_without_a_running_server(copy: Path) -> None:
    status, found = _checks("--data-dir", copy, "--port", free_port())
    assert status == 0, found
    assert "does not run" in found["database"]["message"]
    text = inside("check", "--data-dir", copy, "--port", free_port())
    assert text.returncode == 0
    assert all(line.startswith("✓ ") for line in text.stdout.splitlines())


def test_check_asks_redis_and_looks_at_every_port(copy: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        nobody = free_port()
        status, found = _checks(
            "--data-dir",
            copy,
            "--port",
            free_port(),
            RXDESK_REDIS_URL=f"redis://127.0.0.1:{nobody}/0",
            RXDESK_METRICS_PORT=str(taken),
        )
    assert status == 1
    assert not found["Redis"]["ok"]
    assert "does not answer" in found["Redis"]["message"]
    assert not found["metrics port"]["ok"]
    assert found["port"]["ok"]


def test_check_names_what_is_wrong(copy: Path, tmp_path: Path) -> None:
    (copy / "encryption.key").chmod(0o644)
    copy.chmod(0o777)
    status, found = _checks("--data-dir", copy)
    assert status == 1
    assert "chmod 600" in found["encryption key"]["message"]
    assert "chmod go-w" in found["data folder"]["message"]
    copy.chmod(0o755)  # its names may be listed, what it holds is for its owner alone
    _, found = _checks("--data-dir", copy)
    assert found["data folder"]["ok"]
    assert "others see the names in it, not what is in them" in found["data folder"]["message"]
    copy.chmod(0o711)
    (copy / "postgres" / "PG_VERSION").write_text("17\n")
    status, found = _checks("--data-dir", copy)
    assert status == 1
    assert "was made by PostgreSQL 17" in found["embedded PostgreSQL"]["message"]
    assert "pip install" in found["embedded PostgreSQL"]["message"]
    assert "database" not in found
    status, found = _checks("--data-dir", tmp_path / "typo")
    assert status == 1
    assert not (tmp_path / "typo").exists()
    status, found = _checks(RXDESK_WORKERS="0")
    assert status == 1
    assert not found["settings"]["ok"]
