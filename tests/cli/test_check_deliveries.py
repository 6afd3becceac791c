"""`rxdesk check` says when deliveries wait and nobody delivers."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
from tests.cli.processes import rxdesk, serving

from rxdesk.db import embedded
from rxdesk.kit.clock import utc_now


def put(folder: Path, kind: str = "delivery") -> None:
    async def insert() -> None:
        address = embedded.running(folder)
        assert address is not None
        connection = await asyncpg.connect(**address.connect_args(embedded.APP))
        await connection.execute(
            "INSERT INTO jobs (organisation_id, uid, kind, lane, endpoint, due_at) "
            "VALUES (1, 'dlv-1', $2, 'first', 1, $1)",
            utc_now() - timedelta(minutes=6),
            kind,
        )
        await connection.close()

    asyncio.run(insert())


def look(folder: Path, name: str = "deliveries", **env: str) -> dict[str, Any]:
    done = rxdesk("check", "--data-dir", folder, "--port", 0, "--json", **env)
    return next(one for one in json.loads(done.stdout) if one["name"] == name)


def test_deliveries_that_nobody_makes(copy: Path) -> None:
    with serving("demo", "--data-dir", copy, "--port", 0, "--no-worker"):
        assert look(copy) == {"name": "deliveries", "ok": True, "message": "0 wait"}
        put(copy)
        found = look(copy)
        assert not found["ok"]
        assert found["message"].startswith("1 wait, and no worker is there")
    assert look(copy)["ok"], "nothing serves: no wonder that it waits"


def test_pushes_that_nobody_sends(copy: Path) -> None:
    with serving("demo", "--data-dir", copy, "--port", 0, "--no-worker"):
        nothing = "0 wait for Apple, 0 wait for Google"
        assert look(copy, "pushes") == {"name": "pushes", "ok": True, "message": nothing}
        put(copy, "wallet_push")
        found = look(copy, "pushes")
        assert not found["ok"]
        assert found["message"].startswith(
            "1 wait for Apple for more than 5 minutes: a worker needs apple_cert"
        )
    assert look(copy, "pushes")["ok"]
