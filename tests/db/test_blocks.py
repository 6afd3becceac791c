"""How many wait is kept by blocks of turns, whatever becomes of visits and however it is written."""

from __future__ import annotations

import random

from tests.factories import LONG_AGO, Tenant

COUNTED = """
SELECT shop_uid, turn >> 8 AS block, count(*) AS waiting FROM waiting_room_visits
WHERE organisation_id = $1 AND status = 'waiting' AND deleted_at IS NULL GROUP BY 1, 2 ORDER BY 1, 2"""
KEPT = "SELECT shop_uid, block, waiting FROM waiting_room_blocks WHERE organisation_id = $1 ORDER BY 1, 2"
MANY = """
INSERT INTO waiting_room_visits (organisation_id, uid, shop_uid, patient_uid, status, turn, created_at, updated_at,
  actor_kind, actor_uid)
SELECT $1, 'q-' || n, $2, 'pp-' || n, CASE WHEN n % 7 = 0 THEN 'waiting' ELSE 'completed' END,
  n, now(), now(), 'operator', 'test'
FROM generate_series(1, 2000) n"""


async def same(tenant: Tenant) -> bool:
    return await tenant.rows(COUNTED) == await tenant.rows(KEPT)


async def test_one_by_one(tenant: Tenant) -> None:
    """Turns about the seams of blocks; each change is one that some part of the program makes, or an import."""
    chance = random.Random(3)
    shops = [await tenant.insert("shops") for _ in range(2)]
    patients = [await tenant.insert("patients") for _ in range(40)]
    uids: list[str] = []
    turns = iter(range(200, 10_000, 9))
    for patient in patients:
        shop = chance.choice(shops)
        uid = await tenant.insert("waiting_room_visits", shop_uid=shop, patient_uid=patient, turn=next(turns))
        uids.append(uid)
        assert await same(tenant)
    for _ in range(200):
        change = chance.choice(
            (
                {"status": "waiting"},
                {"status": "waiting", "turn": next(turns)},
                {"turn": next(turns)},
                {"status": "allocated"},
                {"status": "completed", "turn": next(turns)},
                {"deleted_at": LONG_AGO},
                {"deleted_at": None},
                {"shop_uid": chance.choice(shops)},
            )
        )
        await tenant.update("waiting_room_visits", chance.choice(uids), **change)
        assert await same(tenant)
    assert len(await tenant.rows(KEPT)) > 4


async def test_many_at_once(tenant: Tenant) -> None:
    shop = await tenant.insert("shops")
    await tenant.connection.execute(
        "INSERT INTO patients (organisation_id, uid, created_at, updated_at, actor_kind, actor_uid) "
        "SELECT $1, 'pp-' || n, now(), now(), 'operator', 'test' FROM generate_series(1, 2000) n",
        tenant.id,
    )
    await tenant.connection.execute(MANY, tenant.id, shop)
    assert await same(tenant)
    for change in (
        "UPDATE waiting_room_visits SET status = 'waiting' WHERE organisation_id = $1 AND turn % 5 = 0",
        "UPDATE waiting_room_visits SET turn = turn + 100000 WHERE organisation_id = $1 AND turn < 700",
        "UPDATE waiting_room_visits SET status = 'cancelled' WHERE organisation_id = $1 AND turn % 2 = 0",
    ):
        await tenant.connection.execute(change, tenant.id)
        assert await same(tenant)
    assert await tenant.rows(KEPT)
    await tenant.connection.execute(
        "UPDATE waiting_room_visits SET status = 'completed' WHERE organisation_id = $1", tenant.id
    )
    assert await tenant.rows(KEPT) == [], "where nobody waits there is nothing"
