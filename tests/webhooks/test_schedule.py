"""The retry schedule as it comes out, on a clock that is moved: ten attempts, spread over three days."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from tests.conftest import FixedClock
from tests.factories import Tenant
from tests.webhooks.engine import answering, eventually, happen, receiving, subscribe, worker

from rxdesk.db import embedded
from rxdesk.webhooks.policy import STEPS

pytestmark = pytest.mark.usefixtures("queue")


def stride(elapsed: float) -> float:
    """How far the clock is moved at once: little against the spread of what is due then."""
    return next(part for limit, part in ((10, 0.2), (450, 1), (2500, 15), (1e9, 240)) if elapsed < limit)


async def fail_always(cluster: embedded.Address, tenant: Tenant, messages: int) -> dict[str, list[datetime]]:
    """Let every attempt fail until there is none left; gives the times of each delivery's attempts."""
    clock = FixedClock(datetime(2026, 3, 4, 10, 0, tzinfo=UTC))
    begun = clock.moment
    chance = random.Random(1)
    async with receiving(answering(500)) as receiver:
        for number in range(20):
            await subscribe(tenant, receiver.url(f"/{number}"))
        await happen(tenant, messages // 20, now=clock.moment)
        async with worker(cluster, clock=clock, chance=chance.random):

            async def done() -> bool:
                return not await tenant.rows(
                    "SELECT 1 FROM jobs WHERE organisation_id = $1 AND (worker_id IS NOT NULL OR due_at <= $2) LIMIT 1",
                    clock.moment,
                )

            while True:
                await eventually(done, 30)
                [row] = await tenant.rows("SELECT min(due_at) AS due FROM jobs WHERE organisation_id = $1")
                if row["due"] is None:
                    break
                step = timedelta(seconds=stride((clock.moment - begun).total_seconds()))
                clock.moment = max(row["due"], clock.moment + step)
                await tenant.connection.execute("SELECT pg_notify('rxdesk_jobs', '')")
    times: dict[str, list[datetime]] = defaultdict(list)
    for row in await tenant.rows(
        "SELECT delivery_uid, started_at FROM delivery_attempts WHERE organisation_id = $1 ORDER BY number"
    ):
        times[row["delivery_uid"]].append(row["started_at"])
    statuses = await tenant.rows("SELECT DISTINCT status FROM deliveries WHERE organisation_id = $1")
    assert [row["status"] for row in statuses] == ["failed"]
    return times


def judge(times: dict[str, list[datetime]], messages: int) -> None:
    assert len(times) == messages
    begun = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
    for moments in times.values():
        assert len(moments) == 10
        for before, after, step in zip(moments, moments[1:], STEPS, strict=False):
            slack = 2 * stride((after - begun).total_seconds())
            assert 0.8 * step <= (after - before).total_seconds() <= 1.2 * step + slack
    seconds = Counter(int((moments[2] - begun).total_seconds()) for moments in times.values())
    assert max(seconds.values()) <= max(0.05 * messages, 5), seconds.most_common(3)
    hours = [(moments[-1] - moments[0]).total_seconds() / 3600 for moments in times.values()]
    assert min(hours) >= 75 * 0.8
    assert max(hours) <= 76 * 1.25


async def test_the_schedule(cluster: embedded.Address, tenant: Tenant) -> None:
    judge(await fail_always(cluster, tenant, 100), 100)


@pytest.mark.proof
async def test_the_schedule_of_a_thousand(cluster: embedded.Address, tenant: Tenant) -> None:
    judge(await fail_always(cluster, tenant, 1000), 1000)
