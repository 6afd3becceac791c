"""One history after the other, each of a fresh organisation, judged as it comes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from tests.factories import Tenant
from tests.linear import history as histories
from tests.linear.calls import Known
from tests.linear.checker import check
from tests.linear.clients import Crew, Task, beginning
from tests.linear.history import History

SHOPS = 2
PATIENTS = 10  # a shop: fewer than would make duplicates rare
HISTORY_SECONDS = 180  # a history that is not whole by then ends as it is


@dataclass
class Judged:
    """What came of some histories: each counts as the worst of its shops' verdicts."""

    outcomes: Counter[str] = field(default_factory=Counter)
    operations: int = 0
    unknown: int = 0
    steps: int = 0  # the most that a shop's search took
    shown: list[str] = field(default_factory=list)  # what is wrong, and the file that holds the history

    def add(self, history: History, path: Path) -> str:
        verdicts = check(history)
        found = {verdict.outcome for verdict in verdicts.values()}
        worst = next((one for one in ("violation", "over budget") if one in found), "linearizable")
        self.outcomes[worst] += 1
        self.operations += len(history)
        self.unknown += sum(1 for one in history if one.answer is None)
        self.steps = max(self.steps, *(verdict.steps for verdict in verdicts.values()))
        if worst != "linearizable":
            histories.write(path, history)
            bad = [f"{shop}: {one}" for shop, one in verdicts.items() if one.outcome != "linearizable"]
            self.shown.append("\n".join([f"{path}:", *bad]))
        return worst

    @property
    def figures(self) -> dict[str, object]:
        return {
            "histories": self.outcomes.total(),
            "operations": self.operations,
            "of_unknown_outcome": self.unknown,
            "violations": self.outcomes["violation"],
            "over_budget": self.outcomes["over budget"],
            "most_steps_of_a_search": self.steps,
        }


async def record(crew: Crew, url: str, tenant: Tenant, operations: int, seed: int) -> History:
    """Let each client do so many operations in the tenant's shops."""
    shops = [await tenant.insert("shops") for _ in range(SHOPS)]
    patients = {shop: [await tenant.insert("patients") for _ in range(PATIENTS)] for shop in shops}
    doctors = [await tenant.insert("doctors") for _ in range(crew.size)]
    headers, at, begin = await tenant.headers(), httpx.URL(url), beginning()
    tasks = [
        Task(
            client=client,
            host=at.host,
            port=at.port or 80,
            headers=headers,
            shops=tuple(Known(shop, patients[shop], doctor) for shop in shops),
            operations=operations,
            seed=f"{seed}/{client}",
            begin=begin,
            deadline=begin + HISTORY_SECONDS,
        )
        for client, doctor in enumerate(doctors)
    ]
    return await asyncio.to_thread(crew.perform, tasks)


async def answering(url: str) -> None:
    """Wait until the server answers."""
    until = time.monotonic() + 30
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=5) as client:
        while True:
            try:
                await client.get("/livez")
            except httpx.TransportError:
                assert time.monotonic() < until, "the server does not start"
                await asyncio.sleep(0.02)
            else:
                return
