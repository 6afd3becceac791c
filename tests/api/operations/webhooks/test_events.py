"""GET /v1/operations/events and /events/{event_uid}."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest
from tests.api.operations.webhooks.conftest import Operations
from tests.conftest import ENCRYPTION_KEYS
from tests.db.test_reads import Plan, explain
from tests.factories import Tenant

from rxdesk.access import Transaction, run_command
from rxdesk.db import embedded
from rxdesk.kit.sealing import Sealer, read_keys
from rxdesk.webhooks.events import EVENT_TYPES
from rxdesk.webhooks.outbox import emit

NOT_FOUND = {"error": "Resource not found"}
CUT = {"uid", "status", "created_at", "updated_at", "deleted_at"}


async def test_polled_in_order_from_where_one_was(operations: Operations, tenant: Tenant) -> None:
    headers = await tenant.headers("event:read")
    assert await operations.get("/events", headers) == {"data": [], "next": None}
    made = []
    for number in range(5):
        operations.clock.moment += timedelta(seconds=1)
        kind = "order_updated" if number % 2 else "waiting_room_updated"
        made.append(await operations.happen(tenant, kind, f"x-{number}"))
    first = await operations.get("/events", headers, limit=2)
    assert [event["uid"] for event in first["data"]] == made[:2]
    assert first["next"] == made[1]
    moment = int(operations.clock().timestamp()) - 4
    assert first["data"][0] == {
        "uid": made[0],
        "event_type": "waiting_room_updated",
        "subject_uid": "x-0",
        "occurred_at": moment,
        "body": {
            "event_type": "waiting_room_updated",
            "timestamp": moment,
            "payload_version": "1",
            "data": {"uid": "x-0", "status": "waiting", "created_at": moment, "updated_at": moment},
        },
    }
    rest = await operations.get("/events", headers, after=first["next"])
    assert [event["uid"] for event in rest["data"]] == made[2:]
    # At the end `next` stays: what comes then is after it.
    nothing = await operations.get("/events", headers, after=rest["next"])
    assert nothing == {"data": [], "next": made[4]}
    some = await operations.get("/events", headers, type="order_updated")
    assert [event["uid"] for event in some["data"]] == [made[1], made[3]]
    assert await operations.get(f"/events/{made[3]}", headers) == some["data"][1]
    operations.inside.statements.clear()
    await operations.get("/events", headers, limit=2)
    assert len(operations.inside.statements) == 1


async def test_what_is_not_there(operations: Operations, tenant: Tenant, other: Tenant) -> None:
    headers = await tenant.headers()
    theirs = await operations.happen(other, "order_updated")
    for after in ("evt-none", theirs, "ord-1"):
        answer = await operations.get("/events", headers, 404, after=after)
        assert answer == {**NOT_FOUND, "field": "after"}
        assert await operations.get(f"/events/{after}", headers, 404) == NOT_FOUND
    assert await operations.get("/events", headers) == {"data": [], "next": None}
    for query in ({"limit": 0}, {"limit": "x"}, {"type": "no_such_type"}, {"after": "e" * 65}):
        answer = await operations.get("/events", headers, 400, **query)
        assert [fault["field"] for fault in answer["details"]] == list(query)


@pytest.mark.parametrize("kind", EVENT_TYPES)
async def test_the_data_is_whole_for_who_may_read_it(
    operations: Operations, tenant: Tenant, kind: str
) -> None:
    event = EVENT_TYPES[kind]
    sample = event.sample(int(operations.clock().timestamp()))
    uid = await operations.happen(tenant, kind, sample["uid"])
    whole = await tenant.headers("event:read", *event.needs)
    lacking = [await tenant.headers("event:read", *(set(event.needs) - {one})) for one in event.needs]
    for headers, expected in [(whole, sample), *((one, None) for one in lacking)]:
        for found in (
            await operations.get(f"/events/{uid}", headers),
            (await operations.get("/events", headers))["data"][0],
        ):
            data = found["body"]["data"]
            if expected is not None:
                assert data == expected
            else:
                assert data == {name: value for name, value in sample.items() if name in CUT}
    if not event.thin:
        assert "Mustermann" not in str(await operations.get("/events", lacking[0]))


async def test_a_type_that_is_no_more_is_seen_cut(operations: Operations, tenant: Tenant) -> None:
    uid = await operations.happen(tenant, "pharmacy_order_created")
    await tenant.update("events", uid, event_type="of_another_time")
    found = await operations.get(f"/events/{uid}", await tenant.headers())
    assert set(found["body"]["data"]) <= CUT


async def test_none_is_missed_while_many_write(
    operations: Operations, tenant: Tenant, cluster: embedded.Address
) -> None:
    """Writers in transactions of all lengths, and a reader that only ever goes forward."""
    headers = await tenant.headers("event:read")
    writers, each = 8, 25
    committed: list[str] = []

    async def writer(number: int) -> None:
        connection = await asyncpg.connect(**cluster.connect_args(embedded.APP))
        await connection.execute(f"SET rxdesk.organisation_id = '{tenant.id}'")
        for step in range(each):
            subject = f"x-{number}-{step}"
            async with connection.transaction():
                sealer = Sealer(read_keys(ENCRYPTION_KEYS))
                tx = Transaction(connection, tenant.id, "operator", "test", operations.clock(), sealer)

                async def command(tx: Transaction, subject: str = subject) -> None:
                    emit(tx, "order_updated", {"uid": subject})
                    tx.before_commit.append(lambda: asyncio.sleep(0.001 * (step % 3)))  # noqa: B023 - at once

                await run_command(tx, command)
            committed.append(subject)
        await connection.close()

    seen: list[str] = []

    async def reader(done: asyncio.Event) -> None:
        after = ""
        while True:
            last = done.is_set()
            page = await operations.get("/events", headers, after=after, limit=7)
            seen.extend(event["subject_uid"] for event in page["data"])
            after = page["next"] or ""
            if last and not page["data"]:
                return
            await asyncio.sleep(0)

    done = asyncio.Event()
    reading = asyncio.create_task(reader(done))
    await asyncio.gather(*(writer(number) for number in range(writers)))
    done.set()
    await reading
    assert len(committed) == writers * each
    assert sorted(seen) == sorted(committed)
    assert len(set(seen)) == len(seen)


_MANY = """
INSERT INTO events (organisation_id, uid, position, event_type, subject_uid, occurred_at, body, actor_kind, actor_uid)
SELECT $1, 'evt-' || i, i, CASE WHEN i % 1000 = 0 THEN 'appointment_reminder_due' ELSE 'order_updated' END, 'x-1',
  '2026-01-05', '{}', 'operator', 'test'
FROM generate_series(1, 5000) i"""
_LOOK_UPS = 1  # where `after` stands is looked up by its uid


# Made for an organisation of which statistics say nothing, a plan for these very arguments takes any of the indexes,
# whichever by what others have; the one for all arguments, which our connections ask for, does not.
@pytest.mark.parametrize(
    ("mode", "analysed"),
    [
        ("force_generic_plan", "when the organisation had none"),
        ("force_generic_plan", "afterwards"),
        ("force_custom_plan", "afterwards"),
    ],
)
async def test_a_rare_type_is_found_without_a_walk_through_the_others(
    operations: Operations, tenant: Tenant, other: Tenant, cluster: embedded.Address, mode: str, analysed: str
) -> None:
    owner = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    await other.enter()
    await other.connection.execute(_MANY, other.id)
    await owner.execute("ANALYZE events")
    await tenant.enter()
    await tenant.connection.execute(_MANY, tenant.id)
    if analysed == "afterwards":
        await owner.execute("ANALYZE events")
    await owner.close()
    headers = await tenant.headers()
    for after, found in (("", 5), ("evt-1500", 4), ("evt-4999", 1), ("evt-5000", 0)):
        page = await operations.get("/events", headers, type="appointment_reminder_due", after=after)
        assert len(page["data"]) == found
        plan = await explain(tenant, *operations.inside.calls[-1], mode)
        assert _read(plan) <= found + _LOOK_UPS, plan.root
    # A page of all types is cut by position, and reads no more than it shows.
    await operations.get("/events", headers, after="evt-1500", limit=10)
    assert _read(await explain(tenant, *operations.inside.calls[-1], mode)) <= 10 + _LOOK_UPS


def _read(plan: Plan) -> int:
    """How many events a plan read, those that it threw away included."""
    nodes = [node for node in plan.nodes() if node.get("Relation Name") == "events"]
    thrown: float = sum(node.get("Rows Removed by Filter", 0) * node["Actual Loops"] for node in nodes)
    given: float = sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes)
    return round(given + thrown)
