"""Passes and pushes as the benchmark measures them, small: that it measures, not how fast."""

from __future__ import annotations

from bench import report, wallet
from bench.measuring import Plan

PLAN = Plan(
    rounds=2,
    seconds=0.1,
    tail_seconds=0.1,
    warm_up=0.1,
    check_seconds=0.1,
    least=1,
    connections=1,
    servers=None,
    client=None,
)


def test_passes_and_pushes_are_measured_and_told() -> None:
    found = wallet.measure(PLAN, quick=True, tell=lambda _: None)
    assert found["wallet_passes"]["count"] == 100
    assert found["wallet_passes"]["bytes"] > 80_000
    assert found["wallet_links"]["count"] == 60
    assert found["wallet_pushes"]["count"] == 1000
    ratio = found["wallet_pushes"]["against_bare"]
    assert 0 < ratio["least"] <= ratio["median"] <= ratio["most"]
    told = report.told_besides({"p99_ratios": {}, **found})
    assert [what for what, _ in told] == [
        "a signed Apple pass",
        "a link that saves to Google Wallet",
        "pushes over one connection",
    ]
