"""One history after the other, each of a fresh organisation, judged as it comes."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from tests.factories import Tenant, make_tenant
from tests.linear import history as histories
from tests.linear.calls import USUAL, Known, Mix, go_on_duty
from tests.linear.checker import check
from tests.linear.clients import Crew, Task
from tests.linear.history import History

from rxdesk.db.pool import Connection

PATIENTS = 10  # a shop: fewer than would make duplicates rare
# Connections of each server, more than several have by themselves: some faults show only in who overtakes whom, so the
# more write at once the better.
MANY = 8


@dataclass
class Judged:
    """What came of some histories: each counts as the worst of its shops' verdicts."""

    outcomes: Counter[str] = field(default_factory=Counter)
    operations: int = 0
    unknown: int = 0
    steps: int = 0  # the most that a shop's search took
    shown: list[str] = field(default_factory=list)  # what is wrong, and the file that holds the history

    def add(self, history: History, path: Path) -> None:
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


async def arrange(
    clients: int, url: str, tenant: Tenant, operations: int, seed: int, mix: Mix = USUAL
) -> list[Task]:
    """Make shops and patients; gives what each client does there."""
    shops = [await tenant.insert("shops") for _ in range(mix.shops)]
    patients = {shop: [await tenant.insert("patients") for _ in range(PATIENTS)] for shop in shops}
    known = [
        tuple([Known(shop, patients[shop], await tenant.insert("doctors")) for shop in shops])
        for _ in range(clients)
    ]
    headers, at = await tenant.headers(), httpx.URL(url)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=15, headers=headers) as client:
        for one in itertools.chain(*known):
            duty = go_on_duty(one)
            answer = await client.request(duty.method, duty.path, json=duty.body)
            assert answer.status_code == 200, answer.text
    return [
        Task(
            client=number,
            host=at.host,
            port=at.port or 80,
            headers=headers,
            shops=known[number],
            operations=operations,
            seed=f"{seed}/{number}",
            weights=mix.weights,
        )
        for number in range(clients)
    ]


async def record(crew: Crew, tasks: list[Task]) -> History:
    """Have all of it done, by all clients at once."""
    history = await asyncio.to_thread(crew.perform, tasks)
    assert len(history) == sum(task.operations for task in tasks), "not done in time"
    return history


async def judged(
    crew: Crew,
    url: str,
    connection: Connection,
    folder: Path,
    *,
    operations: int,
    most: int,
    mix: Mix = USUAL,
) -> AsyncGenerator[Judged]:
    """Record and judge so many histories; gives what came of them so far, after each."""
    found = Judged()
    for number in range(most):
        tenant = await make_tenant(connection)
        tasks = await arrange(crew.size, url, tenant, operations, number, mix)
        found.add(await record(crew, tasks), folder / f"{number}.jsonl")
        await connection.execute("DELETE FROM jobs WHERE organisation_id = $1", tenant.id)
        yield found


async def follow(
    judgements: AsyncGenerator[Judged], enough: Callable[[Judged], object] = lambda _: False
) -> Judged:
    """Go on until there are no more, or it is enough; gives what came of all."""
    found = Judged()
    async with aclosing(judgements):
        async for found in judgements:
            if enough(found):
                break
    return found


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
