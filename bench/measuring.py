"""Rounds: every contestant is measured in turn, again and again, so that all meet the same noise."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench import load
from bench.load import Run, Workload
from bench.servers import Running


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: rounds of so many seconds, longer where fewer than `least` requests would be answered.

    wrk holds so many `connections`. `servers` and `client` are the cores on which servers and wrk run (None: on any).
    """

    rounds: int
    seconds: float
    warm_up: float
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
) -> dict[str, list[Run]]:
    """Measure all targets A B C A B C …; a round's order turns, so that nobody always follows the same one.

    `before` is called before each run.
    """
    runs: dict[str, list[Run]] = {name: [] for name in targets}
    names = list(targets)
    seconds = dict.fromkeys(names, plan.warm_up)
    for number in range(-1, plan.rounds):  # the first is to warm up
        turned = names[number % len(names) :] + names[: number % len(names)]
        for name in turned:
            server, workload = targets[name]
            tell(f"{workload.name}: {name}")
            before()
            with load.prepared(workload, plan.connections) as arguments:
                run = load.run(
                    arguments,
                    server.url,
                    seconds=seconds[name],
                    server=server.pid,
                    database=database,
                    cores=plan.client,
                )
            if number < 0:
                seconds[name] = max(plan.seconds, plan.least / run.rps)
            else:
                runs[name].append(run)
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
    return Ratio(round(statistics.median(pairs), 3), round(min(pairs), 3), round(max(pairs), 3))
