"""What was delivered long ago is pruned; what is still to be delivered is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from tests.conftest import FixedClock
from tests.factories import Tenant, make_tenant
from tests.webhooks.engine import (
    answering,
    command,
    eventually,
    happen,
    receiving,
    settled,
    subscribe,
    worker,
)

from rxdesk import working
from rxdesk.access import Transaction
from rxdesk.db import embedded
from rxdesk.webhooks import retention

pytestmark = pytest.mark.usefixtures("queue")


async def counts(tenant: Tenant) -> tuple[int, ...]:
    found = []
    for table in ("events", "deliveries", "delivery_attempts"):
        [row] = await tenant.rows(f"SELECT count(*) AS n FROM {table} WHERE organisation_id = $1")
        found.append(row["n"])
    return tuple(found)


async def test_what_is_old_and_over_goes(cluster: embedded.Address, tenant: Tenant) -> None:
    clock = FixedClock(datetime.now(UTC))
    begun = clock.moment
    async with receiving() as receiver, receiving(answering(500)) as failing:
        await subscribe(tenant, receiver.url())
        await subscribe(tenant, failing.url(), "order_created")
        async with worker(cluster, clock=clock, event_retention_days=30) as composed:
            await happen(tenant, 450, now=clock.moment)
            await settled(tenant)
            await happen(tenant, 1, "prescription_updated", now=clock.moment)
            await happen(tenant, 1, "order_created", now=clock.moment)
            await failing.got(1)

            async def recorded() -> bool:
                return (await counts(tenant))[2] == 451

            await eventually(recorded)
            await tenant.connection.execute("UPDATE jobs SET due_at = due_at + interval '90 days'")
            clock.moment = begun + timedelta(days=30)
            await working.tidy(composed)
            assert await counts(tenant) == (452, 451, 451)
            clock.moment += timedelta(seconds=1)
            await working.tidy(composed)
            assert await counts(tenant) == (1, 1, 1), "the one that is still to be delivered"


async def test_an_organisation_that_fails_does_not_keep_the_others_from_being_tidied(
    cluster: embedded.Address, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = await make_tenant(tenant.connection)
    now = datetime.now(UTC)
    for one in (tenant, after):
        await subscribe(one, "https://example.com/")
        await happen(one, 1, "order_created", now=now - timedelta(days=400))
    prune = retention.prune

    async def failing(tx: Transaction, before: datetime) -> bool:
        if tx.organisation_id == tenant.id:
            await tx.connection.execute("SELECT 1 / 0")
        return await prune(tx, before)

    monkeypatch.setattr(retention, "prune", failing)
    async with worker(cluster) as composed:
        with capture_logs() as logged:
            await working.tidy(composed)
    assert (await counts(tenant))[0] == 1
    assert (await counts(after))[0] == 0
    [line] = [line for line in logged if line["event"] == "not_tidied"]
    assert (line["organisation"], line["error"]) == (tenant.id, "DivisionByZeroError")


async def test_what_was_replayed_lately_stays(tenant: Tenant) -> None:
    now = datetime.now(UTC)
    await subscribe(tenant, "https://example.com/")
    await happen(tenant, 1, now=now - timedelta(days=40))
    await tenant.connection.execute("DELETE FROM jobs")
    for days, left in ((10, 1), (31, 0)):
        ended = now - timedelta(days=days)
        await tenant.rows(
            "UPDATE deliveries SET status = 'delivered', ended_at = $2 WHERE organisation_id = $1 RETURNING 1",
            ended,
        )
        await command(tenant, lambda tx: retention.prune(tx, now - timedelta(days=30)))
        assert (await counts(tenant))[0] == left


async def test_what_waits_for_a_subscription_that_has_ended_is_cancelled(
    cluster: embedded.Address, tenant: Tenant
) -> None:
    uid, _ = await subscribe(tenant, "https://example.com/")
    now = datetime.now(UTC)
    await happen(tenant, 1200, now=now + timedelta(days=1))
    await tenant.update("notification_subscriptions", uid, deactivated_at=now, deactivated_reason="removed")
    async with worker(cluster) as composed:
        await working.tidy(composed)
    rows = await tenant.rows(
        "SELECT status, count(*) AS n FROM deliveries WHERE organisation_id = $1 GROUP BY 1"
    )
    assert [(row["status"], row["n"]) for row in rows] == [("cancelled", 1200)]
    assert await tenant.rows("SELECT 1 FROM jobs WHERE organisation_id = $1") == []
