"""Many live streams on one process: the part of the benchmark, small, and whole as a proof."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bench import streams
from bench.measuring import Plan

from rxdesk.db import embedded

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="only Linux tells the memory of processes in /proc"
)


def plan(rounds: int) -> Plan:
    return Plan(
        rounds=rounds,
        seconds=0.1,
        tail_seconds=0.1,
        warm_up=0.1,
        check_seconds=0.1,
        least=1,
        connections=1,
        servers=None,
        client=None,
    )


def measure(cluster: embedded.Address, folder: Path, *, quick: bool, rounds: int) -> dict[str, float]:
    found: dict[str, float] = streams.measure(
        cluster, plan(rounds), folder, quick=quick, tell=lambda _: None
    )["streams"]
    return found


def test_a_change_reaches_hundreds(cluster: embedded.Address, tmp_path: Path) -> None:
    found = measure(cluster, tmp_path, quick=True, rounds=2)
    assert (found["count"], found["changes"]) == (streams.QUICK, 4)
    assert found["kb_each"] < 400  # of a few hundred the process's own growth is a part


@pytest.mark.proof
def test_a_change_reaches_two_thousand(
    cluster: embedded.Address, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    found = measure(cluster, tmp_path, quick=False, rounds=5)
    for name in ("count", "kb_each", "kb_each_after", "ms", "ms_most"):
        record_property(name, found[name])
    assert found["count"] == 2000
    assert found["kb_each"] <= streams.GOAL_KB
