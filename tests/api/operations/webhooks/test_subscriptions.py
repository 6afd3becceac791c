"""Routes of subscriptions below /v1/operations: all of them, enable, rotate-secret."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.api.operations.webhooks.conftest import SECRET, Operations, end, queue, subscription
from tests.conftest import ENCRYPTION_KEYS
from tests.factories import Tenant

from rxdesk.kit.sealing import Place, Sealer, read_keys

KIND = "order_updated"


async def test_all_are_listed(operations: Operations, tenant: Tenant, other: Tenant) -> None:
    now = operations.clock()
    moment = int(now.timestamp())
    await tenant.insert("pharmacies", uid="ph-1")
    await subscription(tenant, "ns-1", KIND, now)
    await subscription(
        tenant,
        "ns-2",
        "pharmacy_order_created",
        now + timedelta(seconds=1),
        pharmacy_uid="ph-1",
        full_data=False,
        deactivated_at=now + timedelta(seconds=9),
        deactivated_reason="failing",
        failing_since=now + timedelta(seconds=5),
    )
    await subscription(other, "ns-3", KIND, now)
    page = await operations.get("/subscriptions", await tenant.headers("delivery:read"))
    plain = {
        "uid": "ns-1",
        "notification_type": KIND,
        "target": "https://example.com/",
        "payload_version": "1",
        "pharmacy_uid": None,
        "full_data": True,
        "created_at": moment,
        "deactivated_at": None,
        "deactivated_reason": None,
        "failing_since": None,
        "previous_secret_until": None,
    }
    ended = {
        **plain,
        "uid": "ns-2",
        "notification_type": "pharmacy_order_created",
        "pharmacy_uid": "ph-1",
        "full_data": False,
        "created_at": moment + 1,
        "deactivated_at": moment + 9,
        "deactivated_reason": "failing",
        "failing_since": moment + 5,
    }
    assert page == {"data": [ended, plain], "totalRegistries": 2, "totalPages": 1}
    assert "whsec_" not in str(page)


async def test_enable_and_then_replay(operations: Operations, tenant: Tenant, other: Tenant) -> None:
    start = operations.clock()
    ns = await subscription(tenant, "ns-1", KIND, start)
    event = await operations.happen(tenant, KIND)
    await end(tenant, f"dlv-{event[4:]}.1", "cancelled", at=start)
    operations.clock.moment += timedelta(days=5)
    await tenant.update(
        "notification_subscriptions",
        ns,
        deactivated_at=operations.clock(),
        deactivated_reason="failing",
        failing_since=start + timedelta(seconds=60),
    )
    await operations.happen(tenant, KIND)
    headers = await tenant.headers("delivery:write")
    await operations.post("/subscriptions/ns-1/enable", await tenant.headers("delivery:read"), 403)
    await operations.post("/subscriptions/ns-1/enable", await other.headers(), 404)
    enabled = await operations.post("/subscriptions/ns-1/enable", headers, 200)
    assert enabled == {
        "uid": ns,
        "notification_type": KIND,
        "target": "https://example.com/",
        "replay": {"subscription_uid": ns, "since": int(start.timestamp())},
    }
    [row] = await tenant.rows("SELECT * FROM notification_subscriptions WHERE organisation_id = $1")
    assert (row["deactivated_at"], row["deactivated_reason"], row["failing_since"]) == (None, None, None)
    # What it says is what brings all that was missed.
    replayed = await operations.post("/deliveries/replay", headers, 202, enabled["replay"])
    assert replayed == {"armed": 2, "next": None}
    assert (await operations.post("/subscriptions/ns-1/enable", headers, 200))["replay"] is None


async def test_what_began_before_it_ended_and_was_stored_after_is_brought(
    operations: Operations, tenant: Tenant
) -> None:
    start = operations.clock()
    ns = await subscription(tenant, "ns-1", KIND, start)
    began = start + timedelta(minutes=1)
    operations.clock.moment = began + timedelta(seconds=8)
    event = await operations.happen(tenant, KIND)
    await end(tenant, f"dlv-{event[4:]}.1", "cancelled", at=operations.clock())
    ended = {"deactivated_at": operations.clock(), "deactivated_reason": "gone"}
    await tenant.update("notification_subscriptions", ns, **ended)
    operations.clock.moment = began
    await operations.happen(tenant, KIND)
    headers = await tenant.headers("delivery:write")
    enabled = await operations.post("/subscriptions/ns-1/enable", headers, 200)
    replayed = await operations.post("/deliveries/replay", headers, 202, enabled["replay"])
    assert replayed == {"armed": 2, "next": None}


async def test_nothing_from_before_it_was_made_is_brought(operations: Operations, tenant: Tenant) -> None:
    await operations.happen(tenant, KIND)
    operations.clock.moment += timedelta(seconds=9)
    now = operations.clock()
    ended: dict[str, Any] = {"deactivated_at": now + timedelta(seconds=1), "deactivated_reason": "gone"}
    await subscription(tenant, "ns-1", KIND, now, **ended)
    enabled = await operations.post("/subscriptions/ns-1/enable", await tenant.headers(), 200)
    assert enabled["replay"]["since"] == int(now.timestamp())


async def test_what_cannot_be_enabled(operations: Operations, tenant: Tenant) -> None:
    now = operations.clock()
    ended: dict[str, Any] = {"deactivated_at": now, "deactivated_reason": "gone"}
    await subscription(tenant, "ns-1", KIND, now, **ended)
    await subscription(tenant, "ns-2", KIND, now)
    removed: dict[str, Any] = {"deactivated_at": now, "deactivated_reason": "removed"}
    await subscription(tenant, "ns-3", "order_created", now, **removed)
    headers = await tenant.headers()
    assert await operations.post("/subscriptions/ns-1/enable", headers, 409) == {
        "error": "There is an active subscription of this type for this target"
    }
    assert "removed" in (await operations.post("/subscriptions/ns-3/enable", headers, 409))["error"]
    await operations.post("/subscriptions/ns-9/enable", headers, 404)


async def test_rotate_with_an_overlap(operations: Operations, tenant: Tenant, other: Tenant) -> None:
    now = operations.clock()
    ns = await subscription(tenant, "ns-1", KIND, now)
    headers = await tenant.headers("delivery:write")
    await operations.post("/subscriptions/ns-1/rotate-secret", await other.headers(), 404, {})
    sealer = Sealer(read_keys(ENCRYPTION_KEYS))

    async def kept() -> tuple[str, str | None, object, bool]:
        [row] = await tenant.rows("SELECT * FROM notification_subscriptions WHERE organisation_id = $1")
        names = ("sealed_signing_secret", "sealed_previous_secret")
        new, old = (
            row[name] and sealer.open(row[name], Place(tenant.id, ns, f"notification_subscriptions.{name}"))
            for name in names
        )
        return new, old, row["previous_secret_until"], row["switched"]

    first = await operations.post("/subscriptions/ns-1/rotate-secret", headers, 200, {})
    until = now + timedelta(days=1)
    assert first["uid"] == ns
    assert first["previous_secret_until"] == int(until.timestamp())
    assert await kept() == (first["signing_secret"], SECRET, until, False)
    second = await operations.post(
        "/subscriptions/ns-1/rotate-secret", headers, 200, {"overlap_seconds": 60, "switch_now": True}
    )
    assert await kept() == (
        second["signing_secret"],
        first["signing_secret"],
        now + timedelta(seconds=60),
        True,
    )
    third = await operations.post("/subscriptions/ns-1/rotate-secret", headers, 200, {})
    assert not (await kept())[3]
    await operations.post("/subscriptions/ns-1/switch-secret", await other.headers(), 404)
    await operations.post("/subscriptions/ns-1/switch-secret", headers, 204)
    assert await kept() == (third["signing_secret"], second["signing_secret"], until, True)
    last = await operations.post("/subscriptions/ns-1/rotate-secret", headers, 200, {"overlap_seconds": 0})
    assert last["previous_secret_until"] is None
    assert await kept() == (last["signing_secret"], None, None, False)
    assert len({SECRET, *(one["signing_secret"] for one in (first, second, last))}) == 4
    await operations.post("/subscriptions/ns-1/switch-secret", headers, 409)
    for wrong in ({"overlap_seconds": -1}, {"overlap_seconds": 604801}, {"overlap_seconds": "1"}):
        await operations.post("/subscriptions/ns-1/rotate-secret", headers, 400, wrong)
    await tenant.update("notification_subscriptions", ns, deactivated_at=now, deactivated_reason="gone")
    for reason, status in (("gone", 409), ("failing", 409), ("removed", 404)):
        await tenant.update("notification_subscriptions", ns, deactivated_reason=reason)
        rotated = await operations.post("/subscriptions/ns-1/rotate-secret", headers, status, {})
        switched = await operations.post("/subscriptions/ns-1/switch-secret", headers, status)
        assert rotated == switched
        assert ("enable it first" in rotated["error"]) == (status == 409)
    await operations.post("/subscriptions/ns-9/rotate-secret", headers, 404, {})


async def test_the_organisation_ends_any(operations: Operations, tenant: Tenant, other: Tenant) -> None:
    now = operations.clock()
    await tenant.insert("pharmacies", uid="ph-1")
    kind = "pharmacy_order_created"
    ns = await subscription(tenant, "ns-1", kind, now, pharmacy_uid="ph-1")
    event = await operations.happen(tenant, kind, pharmacy_uid="ph-1")
    assert len(await queue(tenant)) == 1
    headers, path = await tenant.headers("delivery:write"), f"/subscriptions/{ns}/disable"
    await operations.post(path, await tenant.headers("delivery:read"), 403)
    await operations.post(path, await other.headers(), 404)
    await operations.post("/subscriptions/ns-9/disable", headers, 404)
    await operations.post(path, headers, 204)

    async def kept() -> dict[str, Any]:
        [row] = await tenant.rows("SELECT * FROM notification_subscriptions WHERE organisation_id = $1")
        return row

    row = await kept()
    assert (row["deactivated_at"], row["deactivated_reason"]) == (now, "removed")
    assert await queue(tenant) == []
    shown = await operations.get(f"/deliveries/dlv-{event[4:]}.1", await tenant.headers())
    assert shown["status"] == "cancelled"
    operations.clock.moment += timedelta(days=1)
    await operations.post(path, headers, 204)
    assert await kept() == row
    await operations.happen(tenant, kind, pharmacy_uid="ph-1")
    assert await queue(tenant) == []
    await operations.post("/subscriptions/ns-1/enable", headers, 409)


async def test_one_that_ended_by_itself_is_ended_for_good(operations: Operations, tenant: Tenant) -> None:
    now = operations.clock()
    await subscription(tenant, "ns-1", KIND, now, deactivated_at=now, deactivated_reason="gone")
    headers = await tenant.headers()
    await operations.post("/subscriptions/ns-1/disable", headers, 204)
    await operations.post("/subscriptions/ns-1/enable", headers, 409)


async def test_a_deleted_pharmacy_hears_nothing(operations: Operations, tenant: Tenant) -> None:
    now = operations.clock()
    kind = "pharmacy_order_created"
    for number in (1, 2):
        await tenant.insert("pharmacies", uid=f"ph-{number}")
        await subscription(tenant, f"ns-{number}", kind, now, pharmacy_uid=f"ph-{number}")
    await tenant.update("pharmacies", "ph-1", deleted_at=now)
    events = [await operations.happen(tenant, kind, pharmacy_uid=f"ph-{number}") for number in (1, 2)]
    assert [row["uid"] for row in await queue(tenant)] == [f"dlv-{events[1][4:]}.2"]
    headers = await tenant.headers()
    since = {"since": int(now.timestamp()), "all": True}
    for more in ({}, {"subscription_uid": "ns-1"}):
        assert (await operations.post("/deliveries/replay", headers, 202, {**since, **more}))["armed"] == 0
    assert len(await queue(tenant)) == 1
