"""A key's time of last use is written in batches, and not lost while the database is away."""

from __future__ import annotations

import pytest
from tests.conftest import ENCRYPTION_KEYS, FixedClock
from tests.factories import Tenant

from rxdesk.access import Access
from rxdesk.db import embedded
from rxdesk.db.pool import Connection, DatabaseUnavailableError, Pool, connector
from rxdesk.kit.keys import read_key
from rxdesk.kit.sealing import Sealer, read_keys

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
