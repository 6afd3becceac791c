"""Routes of deliveries below /v1/operations: the log, retry and replay."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from tests.api.operations.webhooks.conftest import Operations, end, queue, subscription
from tests.factories import Tenant

from rxdesk.access import Read
from rxdesk.webhooks import log, redelivery

NOT_FOUND = {"error": "Resource not found"}
KIND = "order_updated"


def of(event: str, of_subscription: str) -> str:
    return f"dlv-{event[4:]}.{of_subscription[3:]}"


async def attempt(tenant: Tenant, delivery: str, number: int, **more: Any) -> None:
    await tenant.enter()
    columns = {
        "delivery_uid": delivery,
        "number": number,
        "started_at": more.pop("at"),
        "duration_ms": 87,
        "answer": b"",
        **more,
    }
    places = ", ".join(f"${position}" for position in range(2, len(columns) + 2))
    await tenant.connection.execute(
        f"INSERT INTO delivery_attempts (organisation_id, {', '.join(columns)}) VALUES ($1, {places})",
        tenant.id,
        *columns.values(),
    )
    await tenant.update("deliveries", delivery, attempted=number, attempts=number)


async def test_a_delivery_and_its_attempts(operations: Operations, tenant: Tenant, other: Tenant) -> None:
    now = operations.clock()
    moment = int(now.timestamp())
    ns = await subscription(tenant, "ns-1", KIND, now)
    event = await operations.happen(tenant, KIND, "ord-1")
    uid = of(event, ns)
    headers = await tenant.headers("delivery:read")
    row = {
        "uid": uid,
        "status": "pending",
        "event_uid": event,
        "event_type": KIND,
        "subject_uid": "ord-1",
        "subscription_uid": ns,
        "target": "https://example.com/",
        "attempt_count": 0,
        "created_at": moment,
        "next_attempt_at": moment,
        "ended_at": None,
        "last_status_code": None,
        "last_error": None,
    }
    page = {"data": [row], "totalRegistries": 1, "totalPages": 1}
    assert await operations.get("/deliveries", headers) == page
    assert await operations.get(f"/deliveries/{uid}", headers) == {**row, "attempts": []}
    answers = ["später, ä".encode(), "ab€".encode()[:-1], b"\x00\xff\xfe", b""]
    for number, answer in enumerate(answers, start=1):
        await attempt(
            tenant,
            uid,
            number,
            at=now,
            status_code=503,
            error="status" if number < 4 else "tls",
            answer=answer,
        )
    found = await operations.get(f"/deliveries/{uid}", headers)
    assert (found["attempt_count"], found["last_status_code"], found["last_error"]) == (4, 503, "tls")
    assert [one["number"] for one in found["attempts"]] == [1, 2, 3, 4]
    assert [one["answer"] for one in found["attempts"]] == ["später, ä", "ab", "\\000\\377\\376", ""]
    assert found["attempts"][0] == {
        "number": 1,
        "started_at": moment,
        "duration_ms": 87,
        "status_code": 503,
        "error": "status",
        "answer": "später, ä",
    }
    elsewhere = await other.headers()
    assert await operations.get(f"/deliveries/{uid}", elsewhere, 404) == NOT_FOUND
    assert (await operations.get("/deliveries", elsewhere))["data"] == []
    await operations.post(f"/deliveries/{uid}/retry", elsewhere, 404)
    for path in (f"/deliveries/{uid}", "/deliveries"):
        operations.inside.statements.clear()
        await operations.get(path, headers)
        assert len([one for one in operations.inside.statements if "SELECT" in one]) <= 2


async def test_filters(operations: Operations, tenant: Tenant) -> None:
    now = operations.clock()
    one = await subscription(tenant, "ns-1", KIND, now)
    two = await subscription(tenant, "ns-2", KIND, now, "https://example.com/2")
    rest = await subscription(tenant, "ns-3", "order_created", now)
    first = await operations.happen(tenant, KIND)
    operations.clock.moment += timedelta(seconds=10)
    second = await operations.happen(tenant, KIND)
    third = await operations.happen(tenant, "order_created")
    await end(tenant, of(first, one), "failed", at=now)
    headers = await tenant.headers()
    moment = int(now.timestamp())

    async def found(**query: Any) -> set[str]:
        page = await operations.get("/deliveries", headers, **query)
        assert page["totalRegistries"] == len(page["data"])
        return {row["uid"] for row in page["data"]}

    everything = {of(first, one), of(first, two), of(second, one), of(second, two), of(third, rest)}
    assert await found() == everything
    assert await found(subscription=one) == {of(first, one), of(second, one)}
    assert await found(event=first) == {of(first, one), of(first, two)}
    assert await found(event=first, subscription=two) == {of(first, two)}
    assert await found(status="failed") == {of(first, one)}
    assert await found(status="failed", subscription=two) == set()
    assert await found(type="order_created") == {of(third, rest)}
    assert await found(since=moment + 10) == {of(second, one), of(second, two), of(third, rest)}
    assert await found(since=moment, until=moment + 10) == {of(first, one), of(first, two)}
    pages = [await operations.get("/deliveries", headers, page=n, limit=2) for n in range(4)]
    assert [len(page["data"]) for page in pages] == [2, 2, 1, 0]
    assert {row["uid"] for page in pages for row in page["data"]} == everything
    assert {(page["totalRegistries"], page["totalPages"]) for page in pages} == {(5, 3)}
    times = [row["created_at"] for page in pages for row in page["data"]]
    assert times == sorted(times, reverse=True)
    for query in ({"status": "lost"}, {"type": "x"}, {"since": "-1"}, {"limit": "0"}):
        answer = await operations.get("/deliveries", headers, 400, **query)
        assert [fault["field"] for fault in answer["details"]] == list(query)


@pytest.mark.parametrize(
    ("read", "index"),
    [
        (log.DELIVERIES, "deliveries_newest"),
        (log.DELIVERIES_OF_SUBSCRIPTION, "deliveries_of_subscription"),
        (log.DELIVERIES_OF_EVENT, "deliveries_of_event"),
    ],
)
async def test_each_page_has_its_index(tenant: Tenant, read: Read, index: str) -> None:
    """As the pool has it: one plan for all arguments."""
    connection = tenant.connection
    await tenant.enter()
    async with connection.transaction():
        await connection.execute(
            # What few rows there are at the moment could as well be sorted.
            "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off;"
            "SET LOCAL enable_sort = off;"
            "PREPARE page (int, text, text, bigint, bigint, text, text, text, text, bigint, bigint) AS "
            + read.query
        )
        rows = await connection.fetch(
            "EXPLAIN EXECUTE page (1, '', '', 50, 0, NULL, NULL, NULL, NULL, NULL, NULL)"
        )
        await connection.execute("DEALLOCATE page")
    used = {match[1] for row in rows if (match := re.search(r"Scan.* (deliveries_\w+)", row[0]))}
    # All of them are counted by any index that has all, whichever is the smallest at the moment.
    assert used == {index} or (read is log.DELIVERIES and used == {index, "deliveries_pkey"})


async def test_retry(operations: Operations, tenant: Tenant) -> None:
    now = operations.clock()
    ns = await subscription(tenant, "ns-1", KIND, now)
    event = await operations.happen(tenant, KIND)
    uid = of(event, ns)
    headers = await tenant.headers("delivery:write")
    await operations.post(f"/deliveries/{uid}/retry", await tenant.headers("delivery:read"), 403)
    for status in ("failed", "delivered", "cancelled", "pending"):
        await end(tenant, uid, status, at=now)
        operations.clock.moment += timedelta(hours=1)
        armed = await operations.post(f"/deliveries/{uid}/retry", headers, 202)
        moment = int(operations.clock().timestamp())
        assert armed == {"uid": uid, "status": "pending", "next_attempt_at": moment}
        [row] = await tenant.rows("SELECT * FROM deliveries WHERE organisation_id = $1")
        assert (row["status"], row["attempts"], row["ended_at"]) == ("pending", 0, None)
        assert row["next_attempt_at"] == operations.clock()
        assert await queue(tenant) == [{"uid": uid, "lane": "first", "due_at": operations.clock()}]
    # One that waits in the lane of retries comes at once, one that is in flight stays its worker's.
    for worker, due in ((None, operations.clock()), (7, operations.clock() + timedelta(hours=5))):
        await tenant.connection.execute(
            "UPDATE jobs SET lane = 'retry', due_at = $2, worker_id = $3 WHERE organisation_id = $1",
            tenant.id,
            operations.clock() + timedelta(hours=5),
            worker,
        )
        await operations.post(f"/deliveries/{uid}/retry", headers, 202)
        assert [row["due_at"] for row in await queue(tenant)] == [due]
    await operations.post("/deliveries/none-1/retry", headers, 404)


async def test_nothing_is_sent_to_a_subscription_that_ended(operations: Operations, tenant: Tenant) -> None:
    now = operations.clock()
    ns = await subscription(tenant, "ns-1", KIND, now)
    event = await operations.happen(tenant, KIND)
    await end(tenant, of(event, ns), "cancelled", at=now)
    await tenant.update("notification_subscriptions", ns, deactivated_at=now, deactivated_reason="gone")
    headers = await tenant.headers()
    error = {"error": "The subscription is not active: enable it first, then replay"}
    assert await operations.post(f"/deliveries/{of(event, ns)}/retry", headers, 409) == error
    moment = int(now.timestamp())
    body = {"since": moment, "subscription_uid": ns}
    assert await operations.post("/deliveries/replay", headers, 409, body) == error
    assert await operations.post("/deliveries/replay", headers, 202, {"since": moment}) == {
        "armed": 0,
        "next": None,
    }
    assert await queue(tenant) == []
    missing = await operations.post("/deliveries/replay", headers, 404, {**body, "subscription_uid": "ns-9"})
    assert missing == {**NOT_FOUND, "field": "subscription_uid"}


async def test_replay_after_an_event_that_is_not_kept(
    operations: Operations, tenant: Tenant, other: Tenant
) -> None:
    """As GET /events says it: to begin anew unasked would send again what was sent."""
    now = operations.clock()
    await subscription(tenant, "ns-1", KIND, now)
    await operations.happen(tenant, KIND)
    theirs = await operations.happen(other, KIND)
    headers = await tenant.headers()
    for after in ("evt-none", theirs):
        body = {"since": int(now.timestamp()), "all": True, "after": after}
        missing = await operations.post("/deliveries/replay", headers, 404, body)
        assert missing == {**NOT_FOUND, "field": "after"}


async def test_replay_brings_what_is_missing_and_once(operations: Operations, tenant: Tenant) -> None:
    start = operations.clock()
    ns = await subscription(tenant, "ns-1", KIND, start)
    events = []
    for number in range(6):
        operations.clock.moment += timedelta(seconds=10)
        if number == 4:  # from here on it was not active
            await tenant.update(
                "notification_subscriptions",
                ns,
                deactivated_at=operations.clock(),
                deactivated_reason="failing",
            )
        events.append(await operations.happen(tenant, KIND, f"ord-{number}"))
    await tenant.update("notification_subscriptions", ns, deactivated_at=None, deactivated_reason=None)
    for event, status in zip(events, ("failed", "delivered", "cancelled"), strict=False):
        await end(tenant, of(event, ns), status, at=start)
    await tenant.update(
        "deliveries", of(events[3], ns), attempts=3, next_attempt_at=start + timedelta(hours=9)
    )
    headers = await tenant.headers("delivery:write")
    moment = int(start.timestamp())
    body: dict[str, Any] = {"since": moment, "subscription_uid": ns}
    assert await operations.post("/deliveries/replay", headers, 202, body) == {"armed": 5, "next": None}
    rows = await tenant.rows("SELECT uid, status, attempts FROM deliveries WHERE organisation_id = $1")
    assert {row["uid"]: (row["status"], row["attempts"]) for row in rows} == {
        of(event, ns): ("delivered", 10) if number == 1 else ("pending", 0)
        for number, event in enumerate(events)
    }
    jobs = await queue(tenant)
    assert {row["uid"] for row in jobs} == {of(event, ns) for event in events} - {of(events[1], ns)}
    assert {(row["lane"], row["due_at"]) for row in jobs} == {("first", operations.clock())}
    # Again: there is nothing more to arm.
    assert await operations.post("/deliveries/replay", headers, 202, body) == {"armed": 0, "next": None}
    assert await queue(tenant) == jobs
    # `all` brings also what was delivered; the time bounds hold.
    for more, armed in (
        ({"all": True, "since": moment + 20, "until": moment + 30}, 1),
        ({"all": True, "type": "order_created"}, 0),
    ):
        answer = await operations.post("/deliveries/replay", headers, 202, {**body, **more})
        assert answer["armed"] == armed, more
    faulty = await operations.post("/deliveries/replay", headers, 400, {"since": moment, "until": moment})
    assert faulty["details"][0]["field"] == "until"


async def test_replay_shows_nobody_what_is_not_theirs(
    operations: Operations, tenant: Tenant, other: Tenant
) -> None:
    start = operations.clock()
    kind = "pharmacy_order_updated"
    for uid in ("ph-1", "ph-2"):
        await tenant.insert("pharmacies", uid=uid)
    mine = await operations.happen(tenant, kind, pharmacy_uid="ph-1")
    theirs = await operations.happen(tenant, kind, pharmacy_uid="ph-2")
    nobodys = await operations.happen(tenant, kind)
    await operations.happen(other, kind, pharmacy_uid="ph-1")
    operations.clock.moment += timedelta(seconds=60)
    pharmacy = await subscription(tenant, "ns-1", kind, operations.clock(), pharmacy_uid="ph-1")
    whole = await subscription(tenant, "ns-2", kind, operations.clock())
    headers = await tenant.headers()
    moment = int(start.timestamp())

    async def made() -> set[str]:
        rows = await tenant.rows("SELECT uid FROM deliveries WHERE organisation_id = $1")
        return {row["uid"] for row in rows}

    # For all subscriptions: none of them was there when it happened.
    assert (await operations.post("/deliveries/replay", headers, 202, {"since": moment}))["armed"] == 0
    await operations.post(
        "/deliveries/replay", headers, 202, {"since": moment, "subscription_uid": pharmacy, "all": True}
    )
    assert await made() == {of(mine, pharmacy)}
    await operations.post("/deliveries/replay", headers, 202, {"since": moment, "subscription_uid": whole})
    assert await made() == {of(mine, pharmacy), *(of(event, whole) for event in (mine, theirs, nobodys))}


async def test_a_long_replay_goes_on_where_it_ended(
    operations: Operations, tenant: Tenant, monkeypatch: Any
) -> None:
    start = operations.clock()
    events = [await operations.happen(tenant, KIND) for _ in range(5)]
    ns = await subscription(tenant, "ns-1", KIND, start)
    monkeypatch.setitem(redelivery.replay.__kwdefaults__, "at_once", 2)
    body: dict[str, Any] = {"since": int(start.timestamp()), "subscription_uid": ns, "all": True}
    found = []
    while True:
        answer = await operations.post("/deliveries/replay", await tenant.headers(), 202, body)
        found.append(answer["armed"])
        if answer["next"] is None:
            break
        body["after"] = answer["next"]
    assert found == [2, 2, 1]
    assert {row["uid"] for row in await queue(tenant)} == {of(event, ns) for event in events}


async def test_a_repeated_post_is_one(operations: Operations, tenant: Tenant) -> None:
    ns = await subscription(tenant, "ns-1", KIND, operations.clock())
    event = await operations.happen(tenant, KIND)
    headers = {**await tenant.headers(), "Idempotency-Key": "once"}
    first = await operations.post(f"/deliveries/{of(event, ns)}/retry", headers, 202)
    operations.clock.moment += timedelta(seconds=60)
    assert await operations.post(f"/deliveries/{of(event, ns)}/retry", headers, 202) == first
    [row] = await queue(tenant)
    assert int(row["due_at"].timestamp()) == first["next_attempt_at"]
