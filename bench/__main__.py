"""`make bench`: measure RxDesk beside what people would otherwise write, and beside the limit."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import (
    arguments,
    checks,
    database,
    extras,
    growth,
    report,
    streams,
    waiting_room,
    wallet,
    workloads,
)
from bench.arguments import DELIVERIES, STREAMS, WAITING, WALLET
from bench.data import Filled
from bench.deliveries import section
from bench.load import BenchError, Request, Run, wrk
from bench.measuring import Plan, compared, figures, interleaved, ratio
from bench.servers import RXDESK, Contestant, Running, all_running, present
from rxdesk.db import embedded

MAIN = "bench_main"
ORGANISATIONS = 200
BARE = "bare"
LIMIT = "order against bare"
_BUSY_LOAD = 0.5  # the load average above which somebody else is at work


class Bench:
    """One run of everything, with its progress shown."""

    def __init__(
        self,
        plan: Plan,
        server: database.Cluster,
        folder: Path,
        *,
        quick: bool,
        contestants: tuple[Contestant, ...],
    ) -> None:
        self.plan = plan
        self.contestants = contestants
        self.server = server
        self.folder = folder
        self.quick = quick
        # Where single rounds tell little, there are three times as many, but not in three minutes.
        self.often = plan if quick else replace(plan, rounds=3 * plan.rounds)
        self.today = datetime.now(UTC)
        self.began = time.monotonic()
        self.console = Console(stderr=True, highlight=False)
        self.status = self.console.status("")

    @property
    def address(self) -> embedded.Address:
        """Where PostgreSQL answers."""
        return self.server.address

    def tell(self, line: str) -> None:
        """Show what is being done; without a terminal, only what begins."""
        self.status.update(f"{line} ({time.monotonic() - self.began:.0f} s)")

    def part(self, line: str) -> None:
        """Say that a part begins."""
        self.tell(line)
        if not self.console.is_terminal:
            self.console.print(f"{time.monotonic() - self.began:6.0f} s  {line}")

    def fill(self, name: str, organisations: Mapping[str, int]) -> list[Filled]:
        """Make a database of data."""
        return asyncio.run(database.fill(self.address, name, organisations, today=self.today, tell=self.tell))

    def compare(self, filled: Filled, chosen: list[str]) -> dict[str, dict[str, list[Run]]]:
        """Let all contestants do all work, after their answers were found equal."""
        address = database.at(self.address, MAIN)
        with all_running(self.contestants, address, cores=self.plan.servers, logs=self.folder) as servers:
            self.part("comparing the answers of all contestants")
            self._check(servers, filled, address)
            wanted = [name for name in chosen if name in workloads.READS]
            found = {}
            for name in chosen:
                self.part(name)
                work = workloads.workload(filled, name)
                targets = {one: (running, work) for one, running in servers.items()}
                writes = name in workloads.WRITES
                before = (lambda: database.settle(address)) if writes else (lambda: None)
                found[name] = interleaved(
                    self.plan,
                    targets,
                    self.server.pid,
                    tell=self.tell,
                    before=before,
                )
                self.tell(f"{name}: comparing answers under load")
                requests = self._some(work.requests)
                checks.same_under_load(
                    servers,
                    work,
                    requests,
                    self.plan,
                    key=filled.key,
                    database=self.server.pid,
                    before=before,
                )
            if {RXDESK, BARE} <= servers.keys() and "order" in chosen:
                found[LIMIT] = self._against_the_limit(servers, filled)
            # And since then nobody has begun to answer otherwise.
            self.part("comparing the answers once more")
            checks.same_bodies(servers, self._asked(filled, wanted))
        return found

    def _against_the_limit(self, servers: Mapping[str, Running], filled: Filled) -> dict[str, list[Run]]:
        """Compare with bare in many short rounds: on one core a process waits for it for long now and then.

        wrk counts what that connection would have sent meanwhile, so one such pause is the p99 of its round, by
        chance; most rounds have none.
        """
        self.part("order, against the limit")
        plan = replace(self.often, seconds=self.plan.tail_seconds)
        work = workloads.workload(filled, "order")
        targets = {name: (servers[name], work) for name in (RXDESK, BARE)}
        return interleaved(plan, targets, self.server.pid, tell=self.tell)

    def _check(self, servers: Mapping[str, Running], filled: Filled, address: embedded.Address) -> None:
        checks.same_bodies(servers, [*self._asked(filled, workloads.READS), workloads.push(filled)])
        checks.refusals(servers, workloads.reads(filled, "order")[0], database.poor_key(address, filled))
        checks.waiting_room(servers, filled.key, lambda: database.events(address, filled.organisation_id))

    def _asked(self, filled: Filled, names: Iterable[str]) -> Iterator[Request]:
        """Give what is asked for under load: all of it, or some of each read in a quick run."""
        for name in names:
            yield from self._some(workloads.reads(filled, name))

    def _some(self, requests: Sequence[Request]) -> Sequence[Request]:
        return requests[:: max(1, len(requests) // 10) if self.quick else 1]

    def growth(self, main: Filled) -> dict[str, Any]:
        """Ask databases of several sizes in turn."""
        return growth.measure(
            (self.often, self.plan),
            self.server,
            self.folder,
            (MAIN, main),
            fill=self.fill,
            quick=self.quick,
            tell=self.tell,
            part=self.part,
        )

    def organisations(self) -> dict[str, Any]:
        """Ask one organisation, and 200 in turn, on the same database; and the bare limit, who sets none, in turn."""
        count, orders = (10, 200) if self.quick else (ORGANISATIONS, 500)
        self.part(f"{count} organisations")
        filled = self.fill("bench_many", {f"many-{number}": orders for number in range(count)})
        one = workloads.workload(filled[0], "order")
        many = workloads.many_organisations(filled, "order")
        pair = tuple(contestant for contestant in present() if contestant.name in (RXDESK, BARE))
        with all_running(
            pair, database.at(self.address, "bench_many"), cores=self.plan.servers, logs=self.folder
        ) as servers:
            targets = {
                "one": (servers[RXDESK], one),
                "many": (servers[RXDESK], many),
                BARE: (servers[BARE], many),
            }
            runs = interleaved(self.plan, targets, self.server.pid, tell=self.tell)
        return {
            "count": count,
            **asdict(ratio(runs["many"], runs["one"])),
            "against_bare": asdict(ratio(runs["many"], runs[BARE])),
        }

    def deliveries(self) -> dict[str, Any]:
        """Deliver beside Celery and a bare loop."""
        self.part("deliveries")
        return section.measure(
            self.address, self.plan, self.server.pid, self.folder, quick=self.quick, tell=self.tell
        )

    def streams(self) -> dict[str, Any]:
        """Follow many visits on one process, and see how soon a change reaches all."""
        self.part("live streams")
        return streams.measure(self.address, self.plan, self.folder, quick=self.quick, tell=self.tell)

    def wallet(self) -> dict[str, Any]:
        """Sign passes, and push over one connection beside a bare loop."""
        self.part("wallet")
        return wallet.measure(self.plan, quick=self.quick, tell=self.tell)

    def waiting(self) -> dict[str, Any]:
        """Let doctors call and patients come, where few wait and where many do."""
        self.part("waiting room")
        return asyncio.run(
            waiting_room.measure(
                self.address,
                self.plan,
                self.server.pid,
                self.folder,
                today=self.today,
                quick=self.quick,
                tell=self.tell,
            )
        )


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)  # so that all that was started is ended


def main() -> int:
    """Run the benchmark; write and print its report."""
    options = arguments.options()
    wrk()
    if not Path("/proc/self/schedstat").exists():
        raise BenchError("the benchmark reads processor times from /proc, which only Linux has")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    cores = sorted(os.sched_getaffinity(0))
    plan = options.plan(cores)
    if len(cores) < 2:
        print(
            "bench: there is one core only: servers and wrk share it, and nothing is bound", file=sys.stderr
        )
    machine = report.machine()
    if machine["load_before"] > _BUSY_LOAD:
        print(
            f"bench: the load is {machine['load_before']} before anything runs: others are at work here, "
            "and times, p99 above all, will show it",
            file=sys.stderr,
        )
    with tempfile.TemporaryDirectory(prefix="rxdesk-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with database.cluster(folder / "data", plan.servers) as server:
            wanted = {RXDESK, *options.contestants} if options.contestants else None
            contestants = tuple(one for one in present() if wanted is None or one.name in wanted)
            bench = Bench(plan, server, folder, quick=options.quick, contestants=contestants)
            with bench.status:
                found = _measure(bench, options.chosen, whole=options.whole)
    result: dict[str, Any] = {
        "quick": options.quick,
        "commit": report.commit(),
        "machine": machine,
        "versions": report.versions(),
        "plan": {
            "rounds": plan.rounds,
            "seconds_a_run": plan.seconds,
            "tail_seconds": plan.tail_seconds,
            "quick": options.quick,
            "cores": len(cores),
        },
        "errors": 0,  # one would have ended the run
        **found,
    }
    result["seconds"] = round(time.monotonic() - bench.began)
    report.write(result, options.results if options.whole else None)
    return 0


def _measure(bench: Bench, chosen: list[str], *, whole: bool) -> dict[str, Any]:
    apart = {
        WAITING: bench.waiting,
        STREAMS: bench.streams,
        WALLET: bench.wallet,
        DELIVERIES: bench.deliveries,
    }
    result = _compared(bench, [name for name in chosen if name not in apart], whole=whole)
    for name, measure in apart.items():
        if whole or name in chosen:
            result |= measure()
    return result


def _compared(bench: Bench, chosen: list[str], *, whole: bool) -> dict[str, Any]:
    if not chosen:
        return {"routes": {}, "ratios": {}, "p99_ratios": {}}
    orders = 10_000 if bench.quick else 100_000
    bench.part(f"making {orders:,} orders")
    [main_data] = bench.fill(MAIN, {"main": orders})
    address = database.at(bench.address, MAIN)
    runs = bench.compare(main_data, chosen)
    limit = runs.pop(LIMIT, None)
    # How much of a contestant's processor time RxDesk takes.
    result = compared(runs, RXDESK)
    if limit is not None:
        result["order_against_limit"] = {name: asdict(figures(of)) for name, of in limit.items()}
        result["ratios"]["order"][BARE] = asdict(ratio(limit[RXDESK], limit[BARE]))
        result["p99_ratios"]["order"][BARE] = asdict(
            ratio(limit[RXDESK], limit[BARE], lambda run: run.p99_us)
        )
    if {"products", "order"} <= runs.keys():
        result["products_vs_order"] = asdict(ratio(runs["products"][RXDESK], runs["order"][RXDESK]))
    if not whole:
        return result
    bench.part("pgbench")
    result["pgbench_order_us"] = extras.pgbench(
        address, main_data, bench.folder, bench.plan, bench.server.pid
    )
    result |= bench.growth(main_data)
    result["organisations"] = bench.organisations()
    bench.part("memory")
    found = extras.memory(
        address, main_data, bench.plan, bench.server.pid, bench.folder, 5_000 if bench.quick else 100_000
    )
    result["memory_mb"], result["memory"] = found["mb"], found
    imported = 1_000 if bench.quick else 20_000
    bench.part("import against COPY")
    copied = extras.import_vs_copy(bench.address, bench.folder, imported, bench.plan.rounds, bench.tell)
    result["import_vs_copy"], result["import_vs_copy_rounds"] = copied.median, asdict(copied)
    bench.part("two workers")
    result["two_workers_rps"] = asdict(
        extras.two_workers(address, main_data, bench.often, bench.server.pid, bench.folder)
    )
    bench.part("start")
    result["start_s"] = extras.start(bench.folder / "demo", 1 if bench.quick else 3)
    return result


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("bench: ended", file=sys.stderr)
        sys.exit(130)
