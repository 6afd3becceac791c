"""The whole section, as `make bench` runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.deliveries import backlog, contestants, race
from bench.measuring import Plan
from rxdesk.db import embedded

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done: events a round (each goes to every endpoint), rounds, jobs of the long backlog, claims."""

    events: int
    memory_events: int
    memory_rounds: int
    backlog: int
    claims: int


SMALL = Size(events=10, memory_events=50, memory_rounds=2, backlog=20_000, claims=15)
WHOLE = Size(events=250, memory_events=1000, memory_rounds=6, backlog=1_000_000, claims=100)


def measure(
    address: embedded.Address, plan: Plan, postmaster: int, folder: Path, *, quick: bool, tell: Tell
) -> dict[str, Any]:
    """Measure deliveries, claims and memory; gives members of the result."""
    return asyncio.run(_measure(address, plan, postmaster, folder, quick=quick, tell=tell))


async def _measure(
    address: embedded.Address, plan: Plan, postmaster: int, folder: Path, *, quick: bool, tell: Tell
) -> dict[str, Any]:
    lacking = contestants.lacking()
    names = [name for name in contestants.STARTS if name not in lacking]
    size = SMALL if quick else WHOLE
    async with race.sited(
        address, plan, postmaster, folder, events=size.events, rounds=plan.rounds + 1
    ) as site_of:
        found = await race.rounds(*site_of, names, tell)
    async with race.sited(
        address, plan, postmaster, folder, events=size.memory_events, rounds=size.memory_rounds
    ) as site_of:
        memory = await race.memory(*site_of, tell)
    claims, rates = await backlog.compare(address, size.backlog, plan.rounds, size.claims, tell)
    return {
        "deliveries": {**race.summary(found), **({"left_out": lacking} if lacking else {})},
        "claim_backlog_ratio": claims.median,
        "claim_backlog": {
            "jobs": [size.backlog, backlog.LEAST],
            "claims_per_second": rates,
            **asdict(claims),
        },
        "worker_memory_mb": memory["mb"],
        "worker_memory": memory,
    }
