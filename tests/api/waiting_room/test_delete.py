"""DELETE /waiting-room/{queue_uid} (contract, section 2, route 11)."""

from __future__ import annotations

import httpx
from tests.api.waiting_room.room import Room
from tests.conftest import InProcess
from tests.factories import LONG_AGO, Tenant


async def visit(tenant: Tenant, turn: int = 1, shop: str | None = None, **columns: object) -> str:
    return await tenant.insert(
        "waiting_room_visits",
        shop_uid=shop or await tenant.insert("shops"),
        patient_uid=await tenant.insert("patients"),
        turn=turn,
        **columns,
    )


async def position(client: httpx.AsyncClient, headers: dict[str, str], uid: str) -> int | None:
    place: int | None = (await client.get(f"/waiting-room/{uid}/status", headers=headers)).json()["position"]
    return place


async def test_the_others_move_up_at_once(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    shop = await tenant.insert("shops")
    uids = [await visit(tenant, turn, shop) for turn in range(1, 5)]
    for path in (f"/waiting-room/{uids[1]}", f"/waiting-room/{uids[1]}/", f"/waiting-room/{uids[1]}"):
        answer = await client.delete(path, headers=headers)
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-type" not in answer.headers
        assert answer.headers["ratelimit"]
        assert [await position(client, headers, uid) for uid in uids] == [1, None, 2, 3]


async def test_what_is_stored(inside: InProcess, tenant: Tenant) -> None:
    made = await tenant.new_key("waiting_room:write")
    uid = await visit(tenant)
    for _ in range(2):
        answer = await inside.client.delete(f"/waiting-room/{uid}", headers={"X-API-Key": made.key})
        assert answer.status_code == 204
        [row] = await tenant.rows("SELECT * FROM waiting_room_visits WHERE organisation_id = $1")
        assert row["status"] == "cancelled"
        assert (row["ended_at"], row["updated_at"]) == (inside.clock.moment.replace(hour=10),) * 2
        assert (row["actor_kind"], row["actor_uid"]) == ("key", made.uid)
        assert row["deleted_at"] is None
        inside.clock.moment = inside.clock.moment.replace(hour=11)  # the second one changes nothing


async def test_it_is_in_the_history_with_who_did_it(room: Room) -> None:
    waiting = await room.patient(shop := await room.shop())
    made = await room.tenant.new_key("waiting_room:write")
    for _ in range(2):
        answer = await room.inside.client.delete(f"/waiting-room/{waiting}", headers={"X-API-Key": made.key})
        assert answer.status_code == 204
    [change] = (await room.get(f"/visits/{waiting}/history"))["data"]
    assert change.pop("uid").startswith("chg-")
    assert change == {
        "what": "status",
        "old": "waiting",
        "new": "cancelled",
        "reason": None,
        "at": int(room.inside.clock.moment.timestamp()),
        "actor": {"kind": "key", "uid": made.uid},
    }
    allocated = await room.patient(shop)
    doctor = await room.doctor(shop)
    assert await room.call(doctor) == allocated
    answer = await room.inside.client.delete(f"/waiting-room/{allocated}", headers=room.headers)
    assert answer.status_code == 204
    assert (await room.history(allocated))[1:] == [("status", "allocated", "cancelled", None)]


async def test_an_allocated_one(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    uid = await visit(tenant, status="allocated", video_room_id="vr-1", allocated_at=LONG_AGO)
    assert (await client.delete(f"/waiting-room/{uid}", headers=headers)).status_code == 204
    answer = await client.get(f"/waiting-room/{uid}/status", headers=headers)
    assert answer.json()["status"] == "cancelled"


async def test_a_completed_one(client: httpx.AsyncClient, tenant: Tenant) -> None:
    uid = await visit(tenant, status="completed", ended_at=LONG_AGO)
    headers = await tenant.headers("waiting_room:write")
    answer = await client.delete(f"/waiting-room/{uid}", headers=headers)
    assert answer.status_code == 409
    assert answer.json() == {"error": "The visit is completed and cannot be cancelled"}
    [row] = await tenant.rows("SELECT status FROM waiting_room_visits WHERE organisation_id = $1")
    assert row == {"status": "completed"}


async def test_deleted_unknown_foreign_and_malformed_are_the_same(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    headers = await tenant.headers("waiting_room:write")
    deleted = await visit(tenant, deleted_at=LONG_AGO)
    foreign = await visit(other)
    for uid in (deleted, foreign, "q-none", "%00", "a" * 2000, "%F0%9F%92%8A", "'--"):
        answer = await client.delete(f"/waiting-room/{uid}", headers=headers)
        assert (answer.status_code, answer.content) == (404, b'{"error":"Resource not found"}')
    [row] = await other.rows("SELECT status FROM waiting_room_visits WHERE organisation_id = $1")
    assert row == {"status": "waiting"}


async def test_the_permission_to_read_is_not_enough(client: httpx.AsyncClient, tenant: Tenant) -> None:
    uid = await visit(tenant)
    headers = await tenant.headers("waiting_room:read")
    assert (await client.delete(f"/waiting-room/{uid}", headers=headers)).status_code == 403
    assert await position(client, headers, uid) == 1


async def test_a_patient_comes_again(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    body = {"shop_uid": await tenant.insert("shops"), "patient_profile_uid": await tenant.insert("patients")}
    uids = []
    for _ in range(3):
        answer = await client.post("/waiting-room/register", json=body, headers=headers)
        assert (answer.status_code, answer.json()["position"]) == (201, 1)
        uids.append(answer.json()["queue_uid"])
        assert (await client.delete(f"/waiting-room/{uids[-1]}", headers=headers)).status_code == 204
    assert len(set(uids)) == 3
