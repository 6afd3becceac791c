"""What a read costs in databases of several sizes, and a doctor's statistics with many prescriptions and with few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import database, workloads
from bench.data import BUSY, QUIET, Filled
from bench.measuring import Plan, Ratio, interleaved, ratio
from bench.servers import Running, present, running

READS = ("order", "prescription", "patient_email", "statistics")
_FEW, _MANY = 1_000, 3_000_000  # orders

Fill = Callable[[str, Mapping[str, int]], list[Filled]]


class Growth:
    """Databases of several sizes on one server, each with a process of RxDesk's, that are asked in turn."""

    def __init__(
        self, plan: Plan, server: database.Cluster, folder: Path, *, tell: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._server = server
        self._folder = folder
        self._tell = tell
        self._sizes: dict[str, Filled] = {}

    def add(self, name: str, filled: Filled) -> None:
        """Take a database along, the smallest first."""
        self._sizes[name] = filled

    @property
    def orders(self) -> list[int]:
        """How many orders there are in each."""
        return [one.orders for one in self._sizes.values()]

    @contextmanager
    def servers(self) -> Iterator[dict[str, Running]]:
        """Serve all of them."""
        with ExitStack() as stack:
            yield {
                name: stack.enter_context(
                    running(
                        present()[0],
                        database.at(self._server.address, name),
                        cores=self._plan.servers,
                        log=self._folder / f"{name}.log",
                    )
                )
                for name in self._sizes
            }

    def of(self, servers: Mapping[str, Running], name: str, *, warm: bool = True) -> dict[str, Any]:
        """Give what a read takes in each, against the smallest.

        With `warm` the working set is asked for as often as there are connections before anything is measured: each is
        a process of the database's that maps a page of shared buffers when it first looks at it.
        """
        targets = {
            size: (servers[size], workloads.growing(filled, name)) for size, filled in self._sizes.items()
        }
        requests = workloads.WORKING_SET * self._plan.connections if warm and name != "statistics" else 0
        runs = interleaved(self._plan, targets, self._server.pid, tell=self._tell, warm_requests=requests)
        return self._compared(runs)

    def first_touch(self, servers: Mapping[str, Running], plan: Plan) -> dict[str, Any]:
        """Ask for each order once: but for a tenth, its pages come from the system's cache."""
        targets = {
            size: (servers[size], workloads.wide(filled, "order")) for size, filled in self._sizes.items()
        }
        return self._compared(interleaved(plan, targets, self._server.pid, tell=self._tell))

    def busy_doctor(self, servers: Mapping[str, Running], plan: Plan) -> Ratio:
        """Compare the statistics of the largest's busiest doctor with those of one who has done little."""
        size, filled = list(self._sizes.items())[-1]
        both = {uid: (servers[size], workloads.doctor_statistics(filled, uid)) for uid in ("doc-1", "doc-2")}
        runs = interleaved(plan, both, self._server.pid, tell=self._tell)
        return ratio(runs["doc-1"], runs["doc-2"])

    def _compared(self, runs: Mapping[str, Any]) -> dict[str, Any]:
        least, *others = self._sizes
        return {size: asdict(ratio(runs[size], runs[least])) for size in others}


def measure(
    plans: tuple[Plan, Plan],
    server: database.Cluster,
    folder: Path,
    main: tuple[str, Filled],
    *,
    fill: Fill,
    quick: bool,
    tell: Callable[[str], None],
    part: Callable[[str], None],
) -> dict[str, Any]:
    """Give the sections of the report, from the smallest database to the largest, `main` between them.

    The first of `plans` is that of growth, whose single rounds tell little, the second that of the rest.
    The server is started anew once the largest is made. Right after filling, an order of a large database takes some
    per cent more, and why is not known (docs/performance.md): so the order is measured then as well, before the rest.
    """
    often, plan = plans
    growth = Growth(often, server, folder, tell=tell)

    def make(orders: int) -> None:
        name = f"bench_{orders}"
        growth.add(name, fill(name, {"growth": orders})[0])

    after_filling: dict[str, Any] = {}
    make(_FEW)
    growth.add(*main)
    if not quick:
        part(f"making {_MANY:,} orders")
        make(_MANY)
        part("growth right after filling")
        with growth.servers() as servers:
            after_filling = {"order_after_filling": growth.of(servers, "order")}
        server.restart()
    part(f"growth from {growth.orders[0]:,} to {growth.orders[-1]:,} orders")
    with growth.servers() as servers:
        curve = {name: growth.of(servers, name, warm=not quick) for name in READS}
        found = {
            "growth": {name: list(ratios.values())[-1]["median"] for name, ratios in curve.items()},
            "growth_curve": {
                "orders": growth.orders,
                **curve,
                **after_filling,
                "order_first_touch": growth.first_touch(servers, plan),
            },
        }
        if not quick:
            ratios = growth.busy_doctor(servers, plan)
            found["busy_doctor"] = {"prescriptions": [BUSY, QUIET], **asdict(ratios)}
    return found
