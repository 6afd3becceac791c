"""Claims at a backlog of a million jobs against one of a thousand, in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench import database
from bench.deliveries import work
from bench.load import BenchError
from bench.measuring import Ratio, pairwise
from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.jobs import queue
from rxdesk.webhooks.outbox import KIND

LEAST = 1000
_NUMBER = 1  # the worker that claims
_ORGANISATION = 1

# $1 kind, $2 first, $3 last: in turn over the endpoints, due one after another, long ago.
_FILL = f"""
INSERT INTO jobs (organisation_id, uid, kind, lane, endpoint, due_at)
SELECT {_ORGANISATION}, 'dlv-' || lpad(i::text, 10, '0'), $1, 'first', i % {work.ENDPOINTS},
  timestamptz '2026-01-01' + i * interval '1 millisecond'
FROM generate_series($2::int, $3::int) i"""

# What recording does to the queue: those that were claimed are gone. As many new ones come to its end.
_DONE = "DELETE FROM jobs WHERE kind = $1 AND worker_id = $2"


@dataclass(slots=True)
class _Backlog:
    connection: Connection
    last: int
    cursor: tuple[int, int] = queue.BEFORE_ALL
    seconds: float = 0.0
    claimed: int = 0

    async def claim(self) -> None:
        """Claim once and note what it took; the backlog stays as long as it is."""
        now = datetime.now(UTC)
        began = time.perf_counter()
        found = await queue.claim(
            self.connection,
            KIND,
            "first",
            wanted=work.IN_FLIGHT,
            cursor=self.cursor,
            worker=_NUMBER,
            now=now,
            lease_until=now + timedelta(minutes=1),
        )
        self.seconds += time.perf_counter() - began
        # A walk that ended at the last place finds nothing, and the next one begins at the first.
        if not found.claims and self.cursor == queue.BEFORE_ALL:
            raise BenchError("a claim found nothing in a backlog")
        self.claimed += len(found.claims)
        self.cursor = found.cursor
        await self.connection.execute(_DONE, KIND, _NUMBER)
        await self.connection.execute(_FILL, KIND, self.last + 1, self.last + len(found.claims))
        self.last += len(found.claims)

    def rate(self) -> float:
        """Give the jobs a second of the claims alone since the last time."""
        rate = self.claimed / self.seconds
        self.seconds, self.claimed = 0.0, 0
        return rate


async def compare(
    address: embedded.Address, most: int, rounds: int, claims: int, tell: Callable[[str], None]
) -> tuple[Ratio, list[float]]:
    """Give the rate of claims at a backlog of `most` against one of 1,000, and the rates at both in the last round.

    A round is so many claims at each, in turn.
    """
    found: list[list[float]] = [[], []]
    async with AsyncExitStack() as stack:
        backlogs = []
        empty = await database.create(address, "bench_backlog")
        for jobs in (most, LEAST):
            tell(f"deliveries: a backlog of {jobs:,}")
            made = await database.create_empty(address, f"bench_backlog_{jobs}", template=empty.database)
            connection = await database.connect(made, embedded.APP)
            stack.push_async_callback(connection.close)
            await connection.execute("SET statement_timeout = 0; SET plan_cache_mode = force_generic_plan")
            await connection.execute("SET enable_seqscan = off")
            await connection.execute(_FILL, KIND, 1, jobs)
            owner = await database.connect(made)
            await owner.execute("VACUUM (ANALYZE) jobs")
            await owner.close()
            backlogs.append(_Backlog(connection, jobs))
        for number in range(rounds + 1):  # the first is to warm up
            tell(f"deliveries: claims, round {number} of {rounds}")
            for turn in range(claims):
                for backlog in backlogs[:: 1 if turn % 2 else -1]:
                    await backlog.claim()
            for backlog, rates in zip(backlogs, found, strict=True):
                rates.append(backlog.rate())
    big, small = found[0][1:], found[1][1:]
    return pairwise(big, small), [round(big[-1]), round(small[-1])]
