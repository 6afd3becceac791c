"""A key's time of last use is written in batches, and not lost while the database is away."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.conftest import ENCRYPTION_KEYS, FixedClock
from tests.factories import Tenant

from rxdesk.access import Access
from rxdesk.db import embedded
from rxdesk.db.pool import Connection, DatabaseUnavailableError, Pool, connector
from rxdesk.kit.keys import read_key
from rxdesk.kit.sealing import Sealer, read_keys
from rxdesk.permissions import Permission
from rxdesk.waiting_room import commands

USED = "SELECT uid, last_used_at FROM api_keys WHERE organisation_id = $1 ORDER BY created_at, uid"


async def test_last_use_survives_an_absent_database(
    cluster: embedded.Address, tenant: Tenant, other: Tenant
) -> None:
    away = False
    connect = connector(cluster.connect_args(embedded.APP), statement_seconds=5, name="faults")

    async def sometimes() -> Connection:
        if away:
            raise ConnectionRefusedError
        return await connect()

    clock = FixedClock()
    pool = Pool(sometimes, size=1)
    access = Access(pool, clock=clock, sealer=Sealer(read_keys(ENCRYPTION_KEYS)), statement_seconds=5)
    for one in (tenant, other):
        for _ in range(2):
            reference = read_key(await one.key())
            assert reference is not None
            assert (await access.read(reference, None, None))[0]
    gathered = dict(access.used_keys)
    assert len(gathered) == 4
    away = True
    for pooled in pool._idle:  # noqa: SLF001 (the database goes away)
        pooled.connection.terminate()
    with pytest.raises(DatabaseUnavailableError):
        await access.note_used_keys()
    assert access.used_keys == gathered
    for one in (tenant, other):
        assert {row["last_used_at"] for row in await one.rows(USED)} == {None}
    away = False
    await access.note_used_keys()
    assert access.used_keys == {}
    for one in (tenant, other):
        assert {row["last_used_at"] for row in await one.rows(USED)} == {clock.moment}
    await pool.close()


async def test_the_use_of_a_presumed_key_counts(cluster: embedded.Address, tenant: Tenant) -> None:
    clock = FixedClock()
    connect = connector(cluster.connect_args(embedded.APP), statement_seconds=5, name="faults")
    pool = Pool(connect, size=1)
    access = Access(pool, clock=clock, sealer=Sealer(read_keys(ENCRYPTION_KEYS)), statement_seconds=5)
    visit = await tenant.insert(
        "waiting_room_visits",
        shop_uid=await tenant.insert("shops"),
        patient_uid=await tenant.insert("patients"),
        turn=1,
    )
    reference = read_key(await tenant.key(Permission.WAITING_ROOM_WRITE))
    assert reference is not None
    caller, _ = await access.read(reference, Permission.WAITING_ROOM_WRITE, None)
    assert caller is not None
    access.remember(reference, Permission.WAITING_ROOM_WRITE, caller)
    presumed = access.presumed(reference, Permission.WAITING_ROOM_WRITE)
    clock.moment += timedelta(hours=1)
    await access.write_at_once(caller, lambda tx: commands.cancel(tx, visit), presumed)
    await access.note_used_keys()
    assert [row["last_used_at"] for row in await tenant.rows(USED)] == [clock.moment]
    await pool.close()
