"""The bench's waiting room: that its steps are what they say, and its arithmetic."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bench import database, report, waiting_room
from bench.measuring import Plan
from bench.waiting_room import STEPS, Cost

from rxdesk.db import embedded
from rxdesk.db.pool import Connection

PLAN = Plan(
    rounds=2,
    seconds=0,
    tail_seconds=0,
    warm_up=0,
    check_seconds=0,
    least=0,
    connections=0,
    servers=None,
    client=None,
)
WHO = {
    "quick": True,
    "commit": {"hash": "abc1234", "clean": True},
    "machine": {"processor": "P", "cores": 2, "memory_gb": 8.0, "system": "Linux 6", "load_before": 0.1},
    "versions": {},
    "plan": {"rounds": 2, "seconds_a_run": 2.0, "tail_seconds": 6.0, "quick": True},
    "routes": {},
    "ratios": {},
    "p99_ratios": {},
    "seconds": 3,
}


def test_growth_is_taken_round_by_round(tmp_path: Path) -> None:
    few = [Cost(100, 100), Cost(1000, 1000), Cost(150, 150)]
    many = [Cost(150, 100), Cost(1000, 1600), Cost(150, 225)]
    found = waiting_room.summary({step: {10: few, 10_000: many} for step in STEPS})
    assert found["waiting"] == [10, 10_000]
    assert found["cpu_us"]["status"]["10"] == {"cpu_us": 300, "server_us": 150, "database_us": 150}
    assert found["ratios"]["status"] == {"10000": {"median": 1.25, "least": 1.25, "most": 1.3}}
    report.write({**WHO, "waiting": found}, tmp_path)
    text = (tmp_path / "latest.md").read_text("utf-8")
    assert "| call next with so many who wait, CPU | 10: 300 µs, 10,000: 375 µs |" in text
    assert (
        "| complete, CPU against 10 who wait; the goal is at most 1.3 with 10,000 "
        "| 10,000: 1.25 (1.25 – 1.30) |" in text
    )


@pytest.fixture
def idle() -> Iterator[int]:
    """A process that has nothing to do: a measurement waits until all have done what they had."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells processor times in /proc")
async def test_as_many_wait_afterwards_as_before(
    cluster: embedded.Address, idle: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a PostgreSQL that is there; whose processor time the database's is, is not looked at here."""
    monkeypatch.setattr(waiting_room, "WAITING", (3, 30))
    found: dict[str, Any] = await waiting_room.measure(
        cluster, PLAN, idle, tmp_path, today=datetime.now(UTC), quick=True, tell=lambda _: None
    )
    connection: Connection = await database.connect(database.at(cluster, waiting_room.NAME))
    rows = await connection.fetch(
        "SELECT split_part(shop_uid, '-', 2)::int AS size, status, count(*) AS visits FROM waiting_room_visits "
        "GROUP BY 1, 2 ORDER BY 1, 2"
    )
    await connection.close()
    done = (PLAN.rounds + 1) * waiting_room.AT_ONCE * waiting_room.SHOPS
    assert [tuple(row) for row in rows] == [
        (size, status, visits)
        for size in (3, 30)
        for status, visits in (("completed", done), ("waiting", size * waiting_room.SHOPS))
    ]
    assert found["waiting"]["waiting"] == [3, 30]
    for step in STEPS:
        assert found["waiting"]["cpu_us"][step]["30"]["server_us"] > 0
        assert found["waiting"]["ratios"][step]["30"]["median"] > 0
