"""An event reaches its subscribers, signed, and what became of it is recorded."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from standardwebhooks.webhooks import Webhook
from tests.conftest import FixedClock
from tests.factories import Tenant
from tests.webhooks.engine import (
    EVENT,
    Post,
    answering,
    command,
    eventually,
    happen,
    receiving,
    settled,
    subscribe,
    worker,
)

from rxdesk.access import Transaction
from rxdesk.db import embedded
from rxdesk.jobs.queue import LOCK_CLASS
from rxdesk.jobs.worker import POLL_SECONDS
from rxdesk.kit.signing import standard_signature, vendor_signature
from rxdesk.webhooks import rotation
from rxdesk.webhooks.outbox import emit

pytestmark = pytest.mark.usefixtures("queue")


async def deliveries(tenant: Tenant) -> list[dict[str, Any]]:
    return await tenant.rows("SELECT * FROM deliveries WHERE organisation_id = $1 ORDER BY uid")


async def attempts(tenant: Tenant) -> list[dict[str, Any]]:
    return await tenant.rows(
        "SELECT * FROM delivery_attempts WHERE organisation_id = $1 ORDER BY delivery_uid, number"
    )


async def test_an_event_is_delivered_and_recorded(cluster: embedded.Address, tenant: Tenant) -> None:
    async with receiving(answering(202, body=b"thanks")) as receiver:
        uid, secret = await subscribe(tenant, receiver.url("/a?b=c"), header=("X-Token", "t-1"))
        async with worker(cluster):
            [event] = await happen(tenant)
            await receiver.got(1)
            await settled(tenant)
    [post] = receiver.posts
    assert post.path == "/a?b=c"
    [stored] = await tenant.rows("SELECT body FROM events WHERE organisation_id = $1")
    assert post.body == stored["body"]
    assert json.loads(post.body)["event_type"] == EVENT
    assert post.headers["x-token"] == "t-1"
    assert post.headers["x-webhook-event"] == EVENT
    assert "x-webhook-test" not in post.headers
    assert post.id == event
    assert post.headers["x-webhook-signature"] == vendor_signature(secret, post.body)
    Webhook(secret).verify(post.body, post.headers)
    [delivery] = await deliveries(tenant)
    assert (delivery["status"], delivery["attempts"], delivery["attempted"]) == ("delivered", 1, 1)
    assert delivery["subscription_uid"] == uid
    assert delivery["next_attempt_at"] is None
    assert delivery["ended_at"] is not None
    [attempt] = await attempts(tenant)
    assert (attempt["delivery_uid"], attempt["number"]) == (delivery["uid"], 1)
    assert (attempt["status_code"], attempt["error"], attempt["answer"]) == (202, None, b"thanks")


async def test_a_subscription_that_may_not_read_the_data_gets_it_cut(
    cluster: embedded.Address, tenant: Tenant
) -> None:
    async with receiving() as receiver:
        _, secret = await subscribe(tenant, receiver.url(), full_data=False)
        async with worker(cluster):
            await happen(tenant)
            await receiver.got(1)
    [post] = receiver.posts
    assert json.loads(post.body)["data"] == {"uid": "ord-0", "status": "started"}
    Webhook(secret).verify(post.body, post.headers)


async def test_from_event_to_attempt_in_an_instant(
    cluster: embedded.Address, tenant: Tenant, record_property: Callable[[str, object], None]
) -> None:
    took = []
    async with receiving() as receiver:
        await subscribe(tenant, receiver.url())
        async with worker(cluster):
            await happen(tenant)
            await receiver.got(1)
            for number in range(2, 22):
                await settled(tenant)
                await asyncio.sleep(0.01)
                begun = time.monotonic()
                await happen(tenant)
                await receiver.got(number)
                took.append(receiver.posts[-1].at - begun)
    took.sort()
    record_property("median_ms", round(took[10] * 1000, 1))
    record_property("longest_ms", round(took[-1] * 1000, 1))
    assert took[10] < POLL_SECONDS / 3, "it is told, and does not come by looking for it now and then"
    assert receiver.accepted == 1, "the connection is kept"


async def test_a_failure_is_tried_again_and_then_delivered(cluster: embedded.Address, tenant: Tenant) -> None:
    clock = FixedClock(datetime.now(UTC))
    statuses = iter([500, 200])

    async def answer(post: Post) -> bytes:
        return await answering(next(statuses), body=b"why")(post)

    async with receiving(answer) as receiver:
        uid, _ = await subscribe(tenant, receiver.url())
        async with worker(cluster, clock=clock):
            await happen(tenant, now=clock.moment)
            await eventually(lambda: attempts(tenant))
            [delivery] = await deliveries(tenant)
            assert (delivery["status"], delivery["attempts"]) == ("pending", 1)
            wait = (delivery["next_attempt_at"] - clock.moment).total_seconds()
            assert 4 <= wait <= 6
            [job] = await tenant.rows("SELECT * FROM jobs WHERE organisation_id = $1")
            assert (job["lane"], job["due_at"], job["worker_id"]) == (
                "retry",
                delivery["next_attempt_at"],
                None,
            )
            [row] = await tenant.rows(
                "SELECT failing_since FROM notification_subscriptions WHERE organisation_id = $1"
            )
            assert row["failing_since"] == clock.moment
            clock.moment = delivery["next_attempt_at"]
            await settled(tenant)
    first, second = receiver.posts
    assert (first.id, first.body) == (second.id, second.body)
    assert [(row["number"], row["status_code"], row["error"]) for row in await attempts(tenant)] == [
        (1, 500, "status"),
        (2, 200, None),
    ]
    [row] = await tenant.rows(
        "SELECT failing_since FROM notification_subscriptions WHERE organisation_id = $1"
    )
    assert row["failing_since"] is None
    assert uid


async def test_retry_after_is_honoured(cluster: embedded.Address, tenant: Tenant) -> None:
    clock = FixedClock(datetime.now(UTC))
    async with receiving(answering(503, "Retry-After: 7")) as receiver:
        await subscribe(tenant, receiver.url())
        async with worker(cluster, clock=clock):
            await happen(tenant, now=clock.moment)
            await eventually(lambda: attempts(tenant))
    [delivery] = await deliveries(tenant)
    assert 7 <= (delivery["next_attempt_at"] - clock.moment).total_seconds() <= 8.4


async def disabled(tenant: Tenant) -> dict[str, Any]:
    [row] = await tenant.rows(
        "SELECT uid, deactivated_at, deactivated_reason FROM notification_subscriptions "
        "WHERE organisation_id = $1 AND notification_type = 'order_updated'"
    )
    return row


async def test_410_ends_the_subscription(cluster: embedded.Address, tenant: Tenant) -> None:
    async with receiving(answering(410, seconds=0.02)) as receiver, receiving() as operator:
        await subscribe(tenant, operator.url(), "notification_subscription_disabled")
        uid, _ = await subscribe(tenant, receiver.url())
        async with worker(cluster):
            await happen(tenant, 40)
            await operator.got(1)
            await settled(tenant)
    assert len(receiver.posts) <= 4, "those that were in flight"
    assert (await disabled(tenant))["deactivated_reason"] == "gone"
    ours = [row for row in await deliveries(tenant) if row["subscription_uid"] == uid]
    assert {row["status"] for row in ours} == {"cancelled"}
    assert all(row["ended_at"] and row["next_attempt_at"] is None for row in ours)
    [told] = operator.posts
    data = json.loads(told.body)["data"]
    assert (data["uid"], data["status"]) == (uid, "gone")
    assert set(data) == {"uid", "status", "created_at", "updated_at"}


@pytest.mark.parametrize(("days", "reason"), [(4.99, None), (5.0, "failing")])
async def test_five_days_of_failures(
    cluster: embedded.Address, tenant: Tenant, days: float, reason: str | None
) -> None:
    clock = FixedClock(datetime.now(UTC))
    async with receiving(answering(500)) as receiver:
        await subscribe(tenant, receiver.url(), failing_since=clock.moment - timedelta(days=days))
        async with worker(cluster, clock=clock):
            await happen(tenant, now=clock.moment)
            await eventually(lambda: attempts(tenant))
    assert (await disabled(tenant))["deactivated_reason"] == reason
    events = await tenant.rows(
        "SELECT 1 FROM events WHERE organisation_id = $1 AND event_type = 'notification_subscription_disabled'"
    )
    assert len(events) == (1 if reason else 0)


async def test_after_deactivation_no_attempt_starts(cluster: embedded.Address, tenant: Tenant) -> None:
    async with receiving(answering(seconds=0.05)) as receiver:
        uid, _ = await subscribe(tenant, receiver.url())
        async with worker(cluster):
            await happen(tenant, 400)
            await receiver.got(20)
            await tenant.update(
                "notification_subscriptions",
                uid,
                deactivated_at=datetime.now(UTC),
                deactivated_reason="removed",
            )
            begun = len(receiver.posts)
            await settled(tenant)
    assert len(receiver.posts) - begun <= 4, "those that had been prepared"
    rows = await deliveries(tenant)
    assert {row["status"] for row in rows} == {"delivered", "cancelled"}
    assert sum(row["status"] == "delivered" for row in rows) == len(receiver.posts)


async def test_what_waits_for_a_deleted_pharmacy_is_not_sent(
    cluster: embedded.Address, tenant: Tenant
) -> None:
    pharmacy = await tenant.insert("pharmacies")
    kind = "pharmacy_order_created"

    async def tell(tx: Transaction) -> None:
        emit(tx, kind, {"uid": "po-1", "status": "init"}, pharmacy_uid=pharmacy)

    async with receiving() as receiver:
        await subscribe(tenant, receiver.url(), kind, pharmacy_uid=pharmacy)
        await command(tenant, tell)
        await tenant.update("pharmacies", pharmacy, deleted_at=datetime.now(UTC))
        async with worker(cluster):
            await settled(tenant)
    assert receiver.posts == []
    [delivery] = await deliveries(tenant)
    assert delivery["status"] == "cancelled"


async def test_rotation_signs_with_both_secrets(cluster: embedded.Address, tenant: Tenant) -> None:
    clock = FixedClock(datetime.now(UTC))
    async with receiving() as receiver:
        uid, old = await subscribe(tenant, receiver.url())
        async with worker(cluster, clock=clock):
            new = await command(
                tenant,
                lambda tx: rotation.rotate_secret(tx, uid, overlap=timedelta(hours=1)),
                clock.moment,
            )
            await happen(tenant, now=clock.moment)
            await receiver.got(1)
            await command(tenant, lambda tx: rotation.switch_now(tx, uid), clock.moment)
            await happen(tenant, now=clock.moment)
            await receiver.got(2)
            clock.moment += timedelta(hours=1)
            await happen(tenant, now=clock.moment)
            await receiver.got(3)
    during, switched, after = receiver.posts
    for post, vendor in ((during, old), (switched, new), (after, new)):
        assert post.headers["x-webhook-signature"] == vendor_signature(vendor, post.body)
    for post in (during, switched):
        assert len(post.headers["webhook-signature"].split(" ")) == 2
        for secret in (old, new):
            Webhook(secret).verify(post.body, post.headers)
    assert after.headers["webhook-signature"] == standard_signature(
        new, after.id, int(after.headers["webhook-timestamp"]), after.body
    )


async def test_a_secret_that_does_not_open_is_a_failure_of_that_delivery(
    cluster: embedded.Address, tenant: Tenant
) -> None:
    async with receiving() as receiver:
        uid, _ = await subscribe(tenant, receiver.url("/a"), sealed_signing_secret=b"broken")
        await subscribe(tenant, receiver.url("/b"))
        async with worker(cluster):
            await happen(tenant)
            await eventually(lambda: count_attempts(tenant, 2))
    assert [post.path for post in receiver.posts] == ["/b"]
    errors = {row["error"] for row in await attempts(tenant)}
    assert errors == {None, "unsigned"}
    assert uid


async def count_attempts(tenant: Tenant, count: int) -> bool:
    return len(await attempts(tenant)) == count


async def test_who_lost_a_job_meanwhile_records_nothing(cluster: embedded.Address, tenant: Tenant) -> None:
    """It was freed and is another worker's by now, whose record alone counts."""
    lost = asyncio.Event()
    async with receiving(answering(once=lost)) as receiver:
        await subscribe(tenant, receiver.url())
        async with worker(cluster):
            await happen(tenant)
            await receiver.got(1)
            # Another that lives: the number is that of a lock which this connection holds.
            await tenant.connection.execute("SELECT pg_advisory_lock($1, 2000000000)", LOCK_CLASS)
            await tenant.rows("UPDATE jobs SET worker_id = 2000000000 WHERE organisation_id = $1 RETURNING 1")
            lost.set()
        [delivery] = await deliveries(tenant)
        assert (delivery["status"], delivery["attempts"]) == ("pending", 0)
        assert await attempts(tenant) == []
        [job] = await tenant.rows("SELECT worker_id FROM jobs WHERE organisation_id = $1")
        assert job["worker_id"] == 2000000000
        await tenant.connection.execute("SELECT pg_advisory_unlock($1, 2000000000)", LOCK_CLASS)


async def test_a_forbidden_target_is_a_failure(cluster: embedded.Address, tenant: Tenant) -> None:
    async with receiving() as receiver:
        await subscribe(tenant, receiver.url())
        async with worker(cluster, egress_allow=""):
            await happen(tenant)
            await eventually(lambda: attempts(tenant))
    assert receiver.accepted == 0
    assert [row["error"] for row in await attempts(tenant)] == ["forbidden"]


async def test_what_is_in_flight_is_finished_at_the_end(cluster: embedded.Address, tenant: Tenant) -> None:
    told = asyncio.Event()
    async with receiving(answering(once=told)) as receiver:
        await subscribe(tenant, receiver.url())
        async with worker(cluster):
            await happen(tenant, 8)
            await receiver.got(4)
            asyncio.get_running_loop().call_later(0.3, told.set)
        assert len(receiver.posts) == 4, "nothing was begun after it was told to end"
    rows = await deliveries(tenant)
    assert sorted(row["status"] for row in rows) == ["delivered"] * 4 + ["pending"] * 4


async def test_what_takes_too_long_is_given_back(cluster: embedded.Address, tenant: Tenant) -> None:
    async with receiving(answering(seconds=30)) as receiver:
        await subscribe(tenant, receiver.url())
        async with worker(cluster, stop_seconds=0.1, delivery_timeout_seconds=20.0):
            await happen(tenant)
            await receiver.got(1)
        [job] = await tenant.rows("SELECT lane, worker_id FROM jobs WHERE organisation_id = $1")
        assert (job["lane"], job["worker_id"]) == ("first", None)


async def test_the_time_of_an_attempt_is_signed(cluster: embedded.Address, tenant: Tenant) -> None:
    clock = FixedClock(datetime(2026, 3, 4, 10, 0, tzinfo=UTC))
    async with receiving() as receiver:
        await subscribe(tenant, receiver.url())
        async with worker(cluster, clock=clock):
            await happen(tenant, now=clock.moment - timedelta(hours=1))
            await receiver.got(1)
    [post] = receiver.posts
    assert post.headers["webhook-timestamp"] == str(int(clock.moment.timestamp()))
    assert json.loads(post.body)["timestamp"] == int(clock.moment.timestamp()) - 3600


async def test_a_delivery_reads_its_own_rows_and_not_the_queue(
    cluster: embedded.Address, tenant: Tenant
) -> None:
    """Statistics of an empty queue, which most are, lead no plan to read a full one."""
    events, places = 51, 16

    async def counted() -> dict[str, tuple[int, int]]:
        # What this connection has read, in tests before as well, is counted with what was before.
        await tenant.rows("SELECT pg_stat_force_next_flush() WHERE $1 > 0")
        rows = await tenant.rows(
            "SELECT relname, seq_tup_read + idx_tup_fetch AS read, n_tup_del + n_tup_upd AS changed "
            "FROM pg_stat_user_tables WHERE relname IN ('jobs', 'deliveries', 'events') AND $1 > 0"
        )
        return {row["relname"]: (row["read"], row["changed"]) for row in rows}

    async def all_counted() -> bool:  # a connection of the worker tells its counts when it has ended
        return (await counted())["deliveries"][1] - before["deliveries"][1] >= events * places

    owner = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    async with receiving() as receiver:
        for place in range(places):
            await subscribe(tenant, receiver.url(f"/{place}"))
        await owner.execute("VACUUM ANALYZE jobs")
        before = await counted()
        async with worker(cluster):
            await happen(tenant)  # plans are made
            await receiver.got(places)
            await happen(tenant, events - 1)
            await receiver.got(events * places)
        await eventually(all_counted)
        after = await counted()
    await owner.close()
    read = {table: after[table][0] - before[table][0] for table in after}
    assert {
        table: rows // (events * places) for table, rows in read.items() if rows > 10 * events * places
    } == {}
