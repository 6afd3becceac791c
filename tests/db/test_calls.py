"""What a call reads of a long queue: the front, whoever waits behind it and whatever has ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.db.crowd import analyze, fill
from tests.db.test_reads import explain
from tests.factories import Tenant, make_tenant
from tests.webhooks.engine import command

from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.waiting_room import calling, duty
from rxdesk.waiting_room.desk_schemas import Shops
from rxdesk.waiting_room.lifecycle import Rules
from rxdesk.waiting_room.queries import POSITION

WAITING = 10_000
MODE = "force_generic_plan"  # that of every connection of ours
NOW = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
RULES = Rules(
    consultation_minutes=10,
    patience=timedelta(minutes=15),
    heartbeat=timedelta(minutes=2),
    grace=timedelta(minutes=3),
)


def arguments(tenant: Tenant, doctor: str) -> tuple[Any, ...]:
    since = NOW - RULES.heartbeat
    return (tenant.id, doctor, NOW, 10, RULES.patience, since, "vr-1", "key", "key-1", 16)


@pytest.fixture(scope="module")
async def queue(cluster: embedded.Address, app_connection: Connection) -> Tenant:
    """Ten thousand wait, as many have ended, and four in five want one of two doctors who are on duty."""
    tenant = await make_tenant(app_connection)
    await tenant.enter()
    await fill(app_connection, tenant.id, many=2, few=1)
    await app_connection.execute(
        "INSERT INTO patients (organisation_id, uid, created_at, updated_at, actor_kind, actor_uid) "
        "SELECT $1, 'w-' || n, $2, $2, 'system', 'test' FROM generate_series(1, $3::int) n",
        tenant.id,
        NOW,
        2 * WAITING,
    )
    await tenant.update("waiting_room_visits", "q-1", status="completed")
    for uid in ("doc-2", "doc-3"):
        await tenant.insert("doctors", uid=uid)
    await app_connection.execute(
        "INSERT INTO waiting_room_visits (organisation_id, uid, shop_uid, patient_uid, preferred_doctor_uid, status, "
        "turn, created_at, updated_at, actor_kind, actor_uid) SELECT $1, 'w-' || n, 'shop', 'w-' || n, "
        "CASE WHEN n % 5 > 0 THEN 'doc-' || (2 + n % 2) END, CASE WHEN n <= $3 THEN 'completed' ELSE 'waiting' END, "
        "n + 10, $2, $2, 'system', 'test' FROM generate_series(1, 2 * $3::int) n",
        tenant.id,
        NOW,
        WAITING,
    )
    await analyze(cluster)
    return tenant


async def test_a_call_reads_the_front_of_the_queue(queue: Tenant) -> None:
    for doctor in ("doc-1", "doc-2", "doc-3"):
        body = Shops(shop_uids=["shop"])
        await command(queue, lambda tx: duty.go_on(tx, doctor, body, RULES), now=NOW)  # noqa: B023 - awaited here
    before = await queue.rows(
        "SELECT count(*) AS n FROM waiting_room_visits WHERE organisation_id = $1 AND status = 'allocated'"
    )
    plan = await explain(queue, calling._CALL, arguments(queue, "doc-1"), MODE)  # noqa: SLF001 - the statement itself
    after = await queue.rows(
        "SELECT count(*) AS n FROM waiting_room_visits WHERE organisation_id = $1 AND status = 'allocated'"
    )
    assert after[0]["n"] == before[0]["n"] + 1
    # The first few are kept for the two doctors, and each of those looks at the few before it.
    read = [
        (node.get("Index Name"), node.get("Index Cond"), node["Actual Rows"], node["Actual Loops"])
        for node in plan.nodes()
        if node.get("Index Name")
    ]
    assert plan.scanned() < 200, read


async def test_a_position_is_counted_by_blocks(queue: Tenant) -> None:
    """Those before by the numbers of their blocks, of 256 turns each, and the rest one by one."""
    statement = f"""
        SELECT q.position FROM waiting_room_visits v CROSS JOIN LATERAL ({POSITION}) q
        WHERE v.organisation_id = $1 AND v.uid = $2"""
    last = (queue.id, f"w-{2 * WAITING}")
    [row] = await queue.rows(statement, last[1])
    [counted] = await queue.rows(
        "SELECT count(*) AS n FROM waiting_room_visits WHERE organisation_id = $1 AND status = 'waiting'"
    )
    assert row["position"] == counted["n"]
    assert (await explain(queue, statement, last, MODE)).scanned() < 2 * 256
