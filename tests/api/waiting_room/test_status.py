"""GET /waiting-room/{queue_uid}/status (contract, section 2, route 10)."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
from tests.conftest import InProcess
from tests.factories import LONG_AGO, Tenant

ALLOCATED = datetime(2026, 3, 4, 10, 30, 15, 999_000, tzinfo=UTC)


async def visit(tenant: Tenant, turn: int = 1, shop: str | None = None, **columns: object) -> str:
    return await tenant.insert(
        "waiting_room_visits",
        shop_uid=shop or await tenant.insert("shops"),
        patient_uid=await tenant.insert("patients"),
        turn=turn,
        **columns,
    )


async def test_waiting(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers("waiting_room:read")
    shop = await tenant.insert("shops")
    uids = [await visit(tenant, turn, shop) for turn in (10, 20, 30)]
    for position, uid in enumerate(uids, start=1):
        for path in (f"/waiting-room/{uid}/status", f"/waiting-room/{uid}/status/"):
            answer = await client.get(path, headers=headers)
            assert answer.status_code == 200
            body = answer.json()
            low, high = body["estimated_wait_range"]
            assert 0 <= low <= body["estimated_wait_minutes"] <= high
            assert body == {
                "queue_uid": uid,
                "status": "waiting",
                "position": position,
                "estimated_wait_minutes": body["estimated_wait_minutes"],
                "video_room_id": None,
                "allocated_at": None,
                "estimated_wait_range": [low, high],
                "estimate_reason": "no_doctor_on_duty",
            }


async def test_no_longer_waiting(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers("waiting_room:read")
    shop = await tenant.insert("shops")
    given = {"video_room_id": "vr-1", "allocated_at": ALLOCATED}
    allocated = await visit(tenant, 1, shop, status="allocated", **given)
    completed = await visit(tenant, 2, shop, status="completed", ended_at=ALLOCATED, **given)
    cancelled = await visit(tenant, 3, shop, status="cancelled", ended_at=ALLOCATED)
    waiting = await visit(tenant, 4, shop)
    for uid, status, room, seconds in (
        (allocated, "allocated", "vr-1", 1772620215),
        (completed, "completed", "vr-1", 1772620215),
        (cancelled, "cancelled", None, None),
    ):
        answer = await client.get(f"/waiting-room/{uid}/status", headers=headers)
        assert answer.json() == {
            "queue_uid": uid,
            "status": status,
            "position": None,
            "estimated_wait_minutes": None,
            "video_room_id": room,
            "allocated_at": seconds,
            "estimated_wait_range": None,
            "estimate_reason": None,
        }
    answer = await client.get(f"/waiting-room/{waiting}/status", headers=headers)
    assert answer.json()["position"] == 1


async def test_deleted_unknown_foreign_and_malformed_are_the_same(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    headers = await tenant.headers("waiting_room:read")
    deleted = await visit(tenant, deleted_at=LONG_AGO)
    foreign = await visit(other)
    for uid in (deleted, foreign, "q-none", "%00", "a" * 2000, "%F0%9F%92%8A", "'--", "%ff"):
        answer = await client.get(f"/waiting-room/{uid}/status", headers=headers)
        assert (answer.status_code, answer.content) == (404, b'{"error":"Resource not found"}')


async def test_deleted_visits_stand_in_nobodys_way(client: httpx.AsyncClient, tenant: Tenant) -> None:
    shop = await tenant.insert("shops")
    await visit(tenant, 1, shop, deleted_at=LONG_AGO)
    uid = await visit(tenant, 2, shop)
    answer = await client.get(f"/waiting-room/{uid}/status", headers=await tenant.headers())
    assert answer.json()["position"] == 1


async def test_the_permission_to_write_is_not_the_one_to_read(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    uid = await visit(tenant)
    answer = await client.get(
        f"/waiting-room/{uid}/status", headers=await tenant.headers("waiting_room:write")
    )
    assert answer.status_code == 403


async def test_one_statement(inside: InProcess, tenant: Tenant) -> None:
    uid = await visit(tenant)
    headers = await tenant.headers("waiting_room:read")
    await inside.client.get(f"/waiting-room/{uid}/status", headers=headers)
    inside.statements.clear()
    assert (await inside.client.get(f"/waiting-room/{uid}/status", headers=headers)).status_code == 200
    assert len(inside.statements) == 1
