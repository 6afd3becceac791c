"""The race: rounds of the same number of deliveries, each contestant in turn, and what the rounds found."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import cpu
from bench.deliveries import contestants, processes, work
from bench.deliveries.contestants import Contestant, Site
from bench.deliveries.processes import Spoken
from bench.load import BenchError
from bench.measuring import Plan, pairwise
from bench.servers import RXDESK
from rxdesk.db import embedded

Tell = Callable[[str], None]
_ROUND_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found: `worker_us` (with Redis, where there is one) and `database_us` are a delivery's."""

    deliveries: int
    seconds: float
    worker_us: float
    database_us: float

    @property
    def per_second(self) -> float:
        """Deliveries a second, the first to be seen until the last is recorded."""
        return self.deliveries / self.seconds

    @property
    def cpu_us(self) -> float:
        """All together."""
        return self.worker_us + self.database_us


@asynccontextmanager
async def sited(
    address: embedded.Address, plan: Plan, postmaster: int, folder: Path, *, events: int, rounds: int
) -> AsyncIterator[tuple[Site, Spoken]]:
    """Start the receiver and say where the race takes place."""
    secrets = folder / "endpoints.json"
    log = folder / "receiver.log"
    async with processes.spoken("bench.deliveries.receiver", [str(secrets)], log, plan.client) as (
        receiver,
        first,
    ):
        endpoints = work.endpoints(first["port"])
        work.written(endpoints, secrets)
        yield (
            Site(address, postmaster, folder, endpoints, secrets, plan.servers, rounds, events),
            receiver,
        )


def _spent(one: Contestant, postmaster: int) -> tuple[float, float]:
    """Give the seconds of processor time of a contestant and of the database, but for our own connection's."""
    worker = {pid for first in one.pids for pid in cpu.tree(first)}
    return cpu.seconds(worker), cpu.seconds(set(cpu.tree(postmaster)) - {one.unseen})


async def deliver(
    name: str, one: Contestant, site: Site, receiver: Spoken, *, number: int, verify: bool = False
) -> Round:
    """Let a contestant do one round. Raises BenchError when anything is missing, doubled or not signed as it must."""
    wanted = site.events * work.ENDPOINTS
    await one.stage(number)
    await receiver.ask({"wanted": wanted, "verify": verify})
    before, began = _spent(one, site.postmaster), time.monotonic()
    await one.release()
    try:
        await receiver.hear(_ROUND_SECONDS)
    except BenchError as error:
        got = await receiver.ask({"tell": True})
        message = f"{name} delivered {got}, and not {wanted}; it said:\n{processes.said(one.log)}"
        raise BenchError(message) from error
    await processes.until(one.settled, f"{name}: recording", one.log)
    seconds, after = time.monotonic() - began, _spent(one, site.postmaster)
    check(name, wanted, await receiver.ask({"tell": True}), await one.recorded())
    return Round(
        wanted,
        seconds,
        1e6 * (after[0] - before[0]) / wanted,
        1e6 * (after[1] - before[1]) / wanted if one.unseen else 0.0,
    )


def check(name: str, wanted: int, told: Mapping[str, Any], recorded: int) -> None:
    """Compare what a round was to be with what the receiver got and what was recorded. Raises BenchError."""
    if told["fault"] is not None:
        message = f"{name} sends what does not verify: {told['fault']}"
    elif told["count"] != wanted or told["distinct"] != wanted:
        message = (
            f"{name} sent {told['count']} requests, {told['distinct']} of them different, and not {wanted}"
        )
    elif recorded != wanted:
        message = f"{name} recorded {recorded} deliveries and not {wanted}"
    else:
        return
    raise BenchError(message)


async def rounds(site: Site, receiver: Spoken, names: Sequence[str], tell: Tell) -> dict[str, list[Round]]:
    """Let all deliver, A B C B C A …; the first round of each warms up, and has both signatures verified."""
    found: dict[str, list[Round]] = {name: [] for name in names}
    async with AsyncExitStack() as stack:
        entered: dict[str, Contestant] = {}
        for name in names:
            tell(f"deliveries: starting {name}")
            start = contestants.STARTS[name]
            entered[name] = await stack.enter_async_context(start(site))
        for number in range(site.rounds):
            turn = number % len(names)
            for name in [*names[turn:], *names[:turn]]:
                tell(f"deliveries: {name}, round {number} of {site.rounds - 1}")
                run = await deliver(name, entered[name], site, receiver, number=number, verify=not number)
                if number:
                    found[name].append(run)
    return found


async def memory(site: Site, receiver: Spoken, tell: Tell) -> dict[str, float]:
    """Give MB of RxDesk's worker after half of the rounds, and after all of them."""
    found: dict[str, float] = {"deliveries": site.rounds * site.events * work.ENDPOINTS}
    async with contestants.rxdesk(site) as one:
        for number in range(site.rounds):
            tell(f"deliveries: memory, {number + 1} of {site.rounds}")
            await deliver(RXDESK, one, site, receiver, number=number)
            if number + 1 == max(1, site.rounds // 2):
                found["half"] = _memory_mb(one)
        found["mb"] = _memory_mb(one)
    return found


def _memory_mb(one: Contestant) -> float:
    return round(cpu.memory_mb({pid for first in one.pids for pid in cpu.tree(first)}), 1)


def summary(found: Mapping[str, Sequence[Round]]) -> dict[str, Any]:
    """Give medians, and RxDesk's deliveries a second against each other one's, round by round.

    `ratio_to_…` is the median, `ratio_to_…_rounds` has the least and the most besides, `cpu_ratio_to_…` is RxDesk's
    processor time a delivery against the other's.
    """
    told: dict[str, Any] = {
        name: {
            "per_second": _middle([one.per_second for one in of]),
            "cpu_us": _middle([one.cpu_us for one in of]),
            "worker_us": _middle([one.worker_us for one in of]),
            "database_us": _middle([one.database_us for one in of]),
            "deliveries": sum(one.deliveries for one in of),
        }
        for name, of in found.items()
    }
    ours = found[RXDESK]
    for name, of in found.items():
        if name == RXDESK:
            continue
        rate = pairwise([one.per_second for one in ours], [one.per_second for one in of])
        spent = pairwise([one.cpu_us for one in ours], [one.cpu_us for one in of])
        told[f"ratio_to_{name}"] = rate.median
        told[f"ratio_to_{name}_rounds"] = asdict(rate)
        told[f"cpu_ratio_to_{name}"] = asdict(spent)
    return told


def _middle(numbers: Sequence[float]) -> float:
    return round(statistics.median(numbers), 1)
