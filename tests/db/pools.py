"""Pools of a test's own, whose connections can be counted, and a use of one."""

from __future__ import annotations

from dataclasses import dataclass, field

import asyncpg

from rxdesk.db import embedded
from rxdesk.db.pool import Connection, Pool, connector

LONG = 30.0  # seconds that nothing here takes


@dataclass
class Opened:
    """A pool, all connections that it ever opened, and how many PostgreSQL refused it because it has too many."""

    pool: Pool
    connections: list[Connection] = field(default_factory=list)
    refused: int = 0

    def alive(self) -> int:
        return sum(not connection.is_closed() for connection in self.connections)


def open_pool(cluster: embedded.Address, size: int, wait_seconds: float = 0.1) -> Opened:
    connect = connector(cluster.connect_args(embedded.APP), statement_seconds=2 * LONG, name="pool")

    async def counted() -> Connection:
        try:
            connection = await connect()
        except asyncpg.TooManyConnectionsError:
            opened.refused += 1
            raise
        opened.connections.append(connection)
        return connection

    opened = Opened(Pool(counted, size=size, wait_seconds=wait_seconds, connect_seconds=LONG))
    return opened


async def use(pool: Pool, organisation: int, *, seconds: float = LONG) -> tuple[str, int]:
    async with pool.acquire(organisation, timeout_seconds=seconds) as connection:
        setting = await connection.fetchval("SELECT current_setting('rxdesk.organisation_id', true)")
        return setting, connection.get_server_pid()
