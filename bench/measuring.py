"""Rounds: every contestant is measured in turn, again and again, so that all meet the same noise."""

from __future__ import annotations

import os
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench import cpu, load
from bench.load import Run, Workload
from bench.servers import Running


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: rounds of so many seconds, longer where fewer than `least` requests would be answered.

    `tail_seconds` is a round of the comparison with the limit, where p99 is judged. For `check_seconds` the answers of
    a contestant are compared under load. wrk holds so many `connections`.
    `servers` and `client` are the cores on which servers and wrk run (None: on any).
    """

    rounds: int
    seconds: float
    tail_seconds: float
    warm_up: float
    check_seconds: float
    least: int
    connections: int
    servers: set[int] | None
    client: set[int] | None


def interleaved(
    plan: Plan,
    targets: Mapping[str, tuple[Running, Workload]],
    database: int,
    *,
    tell: Callable[[str], None] = lambda _: None,
    before: Callable[[], None] = lambda: None,
    warm_requests: int = 0,
) -> dict[str, list[Run]]:
    """Measure all targets in every round, each round in an order of its own, so that nobody has a steady neighbour.

    On a core of their own servers and database are batch processes to the scheduler: who wakes up waits for its turn.
    As others, the server takes the core from connections' processes amid their statements: that costs up to a third
    more, and hundreds of milliseconds of some requests, by chance.

    The orders are the same in every run of the benchmark. `before` is called before each run. Nobody is measured before
    `warm_requests` were sent.
    """
    runs: dict[str, list[Run]] = {name: [] for name in targets}
    orders = random.Random(1)
    names = list(targets)
    sent = dict.fromkeys(names, 0)
    seconds = dict.fromkeys(names, plan.warm_up)
    everyone = [database, *(server.pid for server, _ in targets.values())]

    def once(name: str, seconds: float) -> Run:
        server, workload = targets[name]
        with load.prepared(workload, plan.connections, start=sent[name]) as arguments:
            return load.run(
                arguments,
                server.url,
                seconds=seconds,
                server=server.pid,
                database=database,
                cores=plan.client,
                name=f"{name}, {workload.name},",
                again=before,
            )

    try:
        for number in range(-1, plan.rounds):  # the first is to warm up
            for name in orders.sample(names, len(names)):
                tell(f"{targets[name][1].name}: {name}")
                pids = [pid for tree in cpu.trees(*everyone) for pid in tree]
                if plan.servers:
                    cpu.schedule(pids, os.SCHED_BATCH)
                load.settled(pids)  # a write that was still under way would come after what `before` clears
                before()
                run = once(name, seconds[name])
                sent[name] += run.requests
                if number < 0:
                    while sent[name] < warm_requests:
                        sent[name] += once(name, (warm_requests - sent[name]) / run.rps).requests
                    seconds[name] = max(plan.seconds, plan.least / run.rps)
                else:
                    runs[name].append(run)
    finally:
        if plan.servers:
            cpu.schedule((pid for tree in cpu.trees(*everyone) for pid in tree), os.SCHED_OTHER)
    return runs


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds."""

    cpu_us: float
    server_us: float
    database_us: float
    rps: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    requests: int


def figures(runs: Sequence[Run]) -> Figures:
    """Give the medians of the rounds, and the count of all requests."""

    def middle(of: Callable[[Run], float], digits: int = 1) -> float:
        return round(statistics.median(of(run) for run in runs), digits)

    return Figures(
        cpu_us=middle(lambda run: run.cpu_us),
        server_us=middle(lambda run: run.server_us),
        database_us=middle(lambda run: run.database_us),
        rps=middle(lambda run: run.rps),
        p50_ms=middle(lambda run: run.p50_us / 1000, 3),
        p99_ms=middle(lambda run: run.p99_us / 1000, 3),
        p999_ms=middle(lambda run: run.p999_us / 1000, 3),
        requests=sum(run.requests for run in runs),
    )


@dataclass(frozen=True, slots=True)
class Ratio:
    """Of two contestants, round by round: the median, the least and the most."""

    median: float
    least: float
    most: float


def ratio(
    upper: Sequence[Run], lower: Sequence[Run], of: Callable[[Run], float] = lambda run: run.cpu_us
) -> Ratio:
    """Divide what the rounds found pair by pair."""
    return pairwise([of(one) for one in upper], [of(one) for one in lower])


def pairwise(upper: Sequence[float], lower: Sequence[float]) -> Ratio:
    """Divide numbers of the same rounds."""
    pairs = [one / max(other, 1e-9) for one, other in zip(upper, lower, strict=True)]
    return Ratio(*(round(of(pairs), 4) for of in (statistics.median, min, max)))


def compared(runs: Mapping[str, Mapping[str, Sequence[Run]]], base: str) -> dict[str, Any]:
    """Give figures of every route and contestant, and the ratios of `base` to each other one, for the report."""

    def ratios(of: Callable[[Run], float]) -> dict[str, Any]:
        return {
            route: {
                name: asdict(ratio(by_name[base], theirs, of))
                for name, theirs in by_name.items()
                if name != base
            }
            for route, by_name in runs.items()
        }

    return {
        "routes": {
            route: {name: asdict(figures(found)) for name, found in by_name.items()}
            for route, by_name in runs.items()
        },
        "ratios": ratios(lambda run: run.cpu_us),
        "p99_ratios": ratios(lambda run: run.p99_us),
    }
