"""A doctor's statistics under changes at once, and under one that is rolled back: they are the rows'."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import asyncpg
from tests.api.doctors.live_aggregate import STATUSES, rollup, same, statistics
from tests.api.doctors.test_statistics_history import asking, kept_of, work_of
from tests.api.doctors.work import BERLIN, DAY, decide, unix
from tests.factories import LONG_AGO, make_tenant

from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.organisations.commands import enter


async def test_a_change_that_is_rolled_back_leaves_no_trace(app_connection: Connection) -> None:
    tenant = await make_tenant(app_connection)
    doctor = await tenant.insert("doctors")
    await decide(tenant, doctor, "signed", LONG_AGO, 60)

    async def kept() -> list[list[dict[str, Any]]]:
        return [
            await tenant.rows(f"SELECT * FROM {table} WHERE organisation_id = $1 ORDER BY 1, 2, 3, 4, 5")
            for table in ("doctor_statistics", "doctor_decision_times")
        ]

    before = await kept()
    transaction = app_connection.transaction()
    await transaction.start()
    await decide(tenant, doctor, "declined", LONG_AGO + DAY, 3_600, 3)
    await tenant.connection.execute(
        "UPDATE prescriptions SET status = 'cancelled' WHERE organisation_id = $1", tenant.id
    )
    assert await kept() != before
    await transaction.rollback()
    assert await kept() == before


async def test_eight_at_once(cluster: embedded.Address, app_connection: Connection) -> None:
    tenant = await make_tenant(app_connection)
    doctors = [await tenant.insert("doctors") for _ in range(2)]
    order = await tenant.insert("orders")
    connections = [await asyncpg.connect(**cluster.connect_args(embedded.APP)) for _ in range(8)]

    async def work(number: int, connection: Connection) -> None:
        dice = random.Random(number)
        await enter(connection, tenant.id)
        for step in range(40):
            assigned = LONG_AGO + timedelta(seconds=dice.randint(0, 40 * 86_400))
            decided = assigned + timedelta(seconds=dice.randint(0, 9_999)) if dice.random() < 0.7 else None
            kind = dice.random()
            if kind < 0.5 or step == 0:
                await connection.execute(
                    "INSERT INTO prescriptions (organisation_id, uid, order_uid, position, status, "
                    "doctor_uid, assigned_at, decided_at, rendered, created_at, updated_at, actor_kind, "
                    "actor_uid) "
                    "SELECT $1, $2 || i, $3, 0, $4, d, $6, $7, false, now(), now(), 'system', 'test' "
                    "FROM unnest($5::text[]) WITH ORDINALITY AS u (d, i)",
                    tenant.id,
                    f"px-{number}-{step}-",
                    order,
                    dice.choice(STATUSES),
                    dice.choices(doctors, k=dice.randint(1, 4)),
                    assigned,
                    decided,
                )
            elif kind < 0.9:  # anybody's: also those that another is changing
                await connection.execute(
                    "UPDATE prescriptions SET doctor_uid = $3, assigned_at = $4, decided_at = $5, "
                    "status = $6 WHERE organisation_id = $1 AND uid = (SELECT uid FROM prescriptions "
                    "WHERE organisation_id = $1 ORDER BY md5(uid || $2) LIMIT 1)",
                    tenant.id,
                    f"{number} {step}",
                    dice.choice(doctors),
                    assigned,
                    decided,
                    dice.choice(STATUSES),
                )
            else:
                await connection.execute(
                    "DELETE FROM prescriptions WHERE organisation_id = $1 AND uid = (SELECT uid "
                    "FROM prescriptions WHERE organisation_id = $1 ORDER BY md5(uid || $2) LIMIT 1)",
                    tenant.id,
                    f"{number} {step}",
                )

    try:
        async with asyncio.timeout(60):
            await asyncio.gather(*(work(n, c) for n, c in enumerate(connections)))
    finally:
        for connection in connections:
            await connection.close()
    rows = await work_of(tenant)
    assert len(rows) > 100
    assert await kept_of(tenant) == rollup(rows, BERLIN)
    ask = await asking(tenant)
    for doctor in doctors:
        for start, end in (
            (None, None),
            (unix(LONG_AGO) + 7, None),
            (None, unix(LONG_AGO + 33 * DAY) + 5_000),
        ):
            expected = statistics(rows, doctor, BERLIN, start, end, LONG_AGO)
            assert same(await ask(doctor, start, end, LONG_AGO), expected)
