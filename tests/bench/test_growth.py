"""The bench's databases of several sizes: what lies in them, and when the server is started anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from bench import database, growth
from bench.data import Filled
from bench.load import Run, Workload
from bench.measuring import Plan
from bench.servers import Running

from rxdesk.db import embedded

PLAN = Plan(
    rounds=1,
    seconds=0,
    tail_seconds=0,
    warm_up=0,
    check_seconds=0,
    least=0,
    connections=1,
    servers=None,
    client=None,
)
_APART = """
SELECT max(apart) FROM (
  SELECT max((ctid::text::point)[0]) - min((ctid::text::point)[0]) AS apart FROM {table} GROUP BY order_uid) x"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[database.Cluster]:
    with database.cluster(tmp_path / "data", None) as made:
        yield made


async def _filled(server: database.Cluster, name: str, orders: int) -> Filled:
    [found] = await database.fill(
        server.address, name, {"growth": orders}, today=datetime.now(UTC), tell=lambda _: None
    )
    return found


async def test_the_items_of_an_order_lie_together_and_outlive_a_restart(server: database.Cluster) -> None:
    await _filled(server, "bench_1000", 1000)
    before = server.pid
    server.restart()
    assert server.pid != before
    connection = await database.connect(database.at(server.address, "bench_1000"))
    assert await connection.fetchval("SELECT count(*) FROM orders") == 1000
    for table in ("order_items", "fulfillment_order_items"):
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 2000
        assert await connection.fetchval(_APART.format(table=table)) <= 1
    await connection.close()


class Recorded:
    """A server that is filled and started anew, and is asked: what is done to it, in order."""

    address = embedded.Address(Path("/nowhere"), 1)

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.pid = 1

    def restart(self) -> None:
        self.steps.append("restart")
        self.pid += 1

    def fill(self, name: str, organisations: Mapping[str, int]) -> list[Filled]:
        self.steps.append(f"fill {name}")
        [orders] = organisations.values()
        return [Filled("key", 1, orders, orders, datetime.now(UTC))]

    @contextmanager
    def running(self, _: object, address: embedded.Address, **__: object) -> Iterator[Running]:
        yield Running(address.database, "http://nowhere", 1)

    def interleaved(
        self,
        plan: Plan,
        targets: Mapping[str, tuple[Running, Workload]],
        pid: int,
        *,
        tell: Callable[[str], None],
        warm_requests: int = 0,
    ) -> dict[str, list[Run]]:
        """The larger the costlier, and once started anew all cost half."""
        tell("asking")
        assert pid == self.pid, "whose processor time would be read has ended"
        names = {workload.name for _, workload in targets.values()}
        asked = f"ask {' '.join(targets)} for {' '.join(sorted(names))}"
        self.steps.append(f"{asked}, rounds {plan.rounds}, warm {warm_requests}")
        more = 100.0 if "restart" in self.steps else 200.0
        return {
            target: [Run(1000, 1.0, 1, 1, 1, 1000, more * number)] for number, target in enumerate(targets)
        }


def test_the_largest_is_asked_before_and_after_the_server_is_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is measured here: what rounds would have found is given."""
    recorded = Recorded()
    monkeypatch.setattr(growth, "_FEW", 10)
    monkeypatch.setattr(growth, "_MANY", 1000)
    monkeypatch.setattr(growth, "running", recorded.running)
    monkeypatch.setattr(growth, "interleaved", recorded.interleaved)
    main = ("main", recorded.fill("main", {"main": 100})[0])

    def measure(*, quick: bool) -> dict[str, Any]:
        recorded.steps.clear()
        server = cast("database.Cluster", recorded)
        ignore: Callable[[str], None] = lambda _: None  # noqa: E731 (said twice below)
        return growth.measure(
            (replace(PLAN, rounds=3), PLAN),
            server,
            tmp_path,
            main,
            fill=recorded.fill,
            quick=quick,
            tell=ignore,
            part=ignore,
        )

    found = measure(quick=False)
    assert recorded.steps[:5] == [
        "fill bench_10",
        "fill bench_1000",
        "ask bench_10 main bench_1000 for order, rounds 3, warm 5000",
        "restart",
        "ask bench_10 main bench_1000 for order, rounds 3, warm 5000",
    ]
    last = "ask doc-1 doc-2 for statistics of doc-1 statistics of doc-2, rounds 1, warm 0"
    assert recorded.steps[-1] == last
    assert found["growth"] == dict.fromkeys(growth.READS, 1.2)
    assert found["growth_curve"]["orders"] == [10, 100, 1000]
    assert found["growth_curve"]["order_after_filling"]["bench_1000"]["median"] == 1.4
    assert found["growth_curve"]["order"]["main"]["median"] == 1.1
    assert measure(quick=True)["growth_curve"].keys() == {*growth.READS, "orders", "order_first_touch"}
    assert not any("bench_1000" in step or step == "restart" for step in recorded.steps)
