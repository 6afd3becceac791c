"""What a stream's beginning and a followed room read: the room and what was missed, whatever else there is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.db.crowd import analyze, fill
from tests.db.test_reads import explain
from tests.factories import LONG_AGO, Tenant, make_tenant

from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.kit.keys import read_key
from rxdesk.waiting_room import live_queries

WAITING = 2_000
ENDED = 20_000
EVENTS = 30_000
NOW = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
PERMISSION = "waiting_room:read"
BOARD = ("shop", NOW, 50, 0)


@pytest.fixture(scope="module")
async def room(cluster: embedded.Address, app_connection: Connection) -> Tenant:
    """Two thousand wait in a shop, ten times as many have ended, and thirty thousand events are kept."""
    tenant = await make_tenant(app_connection)
    await tenant.enter()
    await fill(app_connection, tenant.id, many=2, few=1)
    await app_connection.execute(
        "INSERT INTO patients (organisation_id, uid, created_at, updated_at, actor_kind, actor_uid) "
        "SELECT $1, 'w-' || n, $2, $2, 'system', 'test' FROM generate_series(1, $3::int) n",
        tenant.id,
        NOW,
        WAITING + ENDED,
    )
    await app_connection.execute(
        "INSERT INTO waiting_room_visits (organisation_id, uid, shop_uid, patient_uid, status, turn, created_at, "
        "updated_at, actor_kind, actor_uid) SELECT $1, 'w-' || n, 'shop', 'w-' || n, "
        "CASE WHEN n <= $3 THEN 'completed' ELSE 'waiting' END, n + 10, $2, $2, 'system', 'test' "
        "FROM generate_series(1, $4::int) n",
        tenant.id,
        NOW,
        ENDED,
        WAITING + ENDED,
    )
    await app_connection.execute(
        "INSERT INTO events (organisation_id, uid, position, event_type, subject_uid, occurred_at, body, actor_kind, "
        "actor_uid) "
        "SELECT $1, 'evt-' || n, n, CASE n % 3 WHEN 0 THEN 'waiting_room_updated' ELSE 'order_updated' END, "
        "'w-' || 1 + n % $3::int, $2, '{\"data\":{}}', 'system', 'test' FROM generate_series(1, $4::int) n",
        tenant.id,
        NOW,
        WAITING + ENDED,
        EVENTS,
    )
    await app_connection.execute(
        "INSERT INTO event_streams (organisation_id, uid, last_position) VALUES ($1, 'all', $2)",
        tenant.id,
        EVENTS,
    )
    await analyze(cluster)
    return tenant


async def caller(tenant: Tenant) -> tuple[Any, ...]:
    key = read_key(await tenant.key(PERMISSION))
    assert key is not None
    return (key.organisation_id, key.digest, PERMISSION)


async def test_the_beginning_of_a_visit_s_stream(room: Tenant) -> None:
    """Beside those in front of it, whom its position counts."""
    asked = await caller(room)
    for after in (None, EVENTS, EVENTS - 30):
        plan = await explain(
            room,
            live_queries.VISIT.statement,
            (*asked, f"w-{ENDED + 10}", after, LONG_AGO),
            "force_generic_plan",
        )
        assert plan.scanned() < WAITING + 100, after


async def test_the_beginning_of_a_board_s_stream(room: Tenant) -> None:
    """Beside the count of those who wait, which is a part of the board."""
    asked = await caller(room)
    for after in (None, EVENTS, EVENTS - 30):
        plan = await explain(
            room, live_queries.SHOP.statement, (*asked, *BOARD, after, LONG_AGO), "force_generic_plan"
        )
        assert plan.scanned() < WAITING + 300, after


@pytest.mark.parametrize("followed", [0, 1, WAITING])
async def test_a_room_for_all_who_follow_it(room: Tenant, followed: int) -> None:
    """Who waits is read once, and who is followed; nobody is looked for among thousands again and again."""
    key = await room.new_key(PERMISSION)
    uids = [f"w-{ENDED + n}" for n in range(1, followed + 1)]
    arguments = (room.id, [key.uid], PERMISSION, *BOARD, EVENTS - 30, uids, False)
    plan = await explain(room, live_queries.ROOM, arguments, "force_generic_plan")
    assert plan.scanned() < WAITING + 2 * followed + 200
    removed = sum(node.get("Rows Removed by Join Filter", 0) * node["Actual Loops"] for node in plan.nodes())
    assert removed < WAITING + followed
