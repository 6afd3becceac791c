"""The benchmark's PostgreSQL: the embedded one, with a database for each size of data."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import asyncpg

from bench import cpu, data
from bench.data import Filled
from rxdesk.db import embedded, migrate
from rxdesk.db.pool import Connection

# Its time would be counted with whoever happens to be measured; tables are vacuumed between rounds instead.
_SETTINGS = {"autovacuum": "off"}


class Cluster:
    """PostgreSQL in a folder, bound to cores."""

    def __init__(self, folder: Path, cores: set[int] | None) -> None:
        self._folder = folder
        self._cores = cores
        self._server = self._start()

    def _start(self) -> embedded.Server:
        server = embedded.start(self._folder, purpose="bench", settings=_SETTINGS)
        try:
            if self._cores:
                cpu.bind(server.pid, self._cores)
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def address(self) -> embedded.Address:
        """Where it answers."""
        return self._server.address

    @property
    def pid(self) -> int:
        """Its first process, another one after `restart`."""
        return self._server.pid

    def stop(self) -> None:
        """End it; the data stays."""
        self._server.stop()

    def restart(self) -> None:
        """Stop it and start it anew on the same data: nothing of it is in shared buffers then."""
        self.stop()
        self._server = self._start()


@contextmanager
def cluster(folder: Path, cores: set[int] | None) -> Iterator[Cluster]:
    """Run PostgreSQL in a folder, bound to cores."""
    made = Cluster(folder, cores)
    try:
        yield made
    finally:
        made.stop()


def at(address: embedded.Address, name: str) -> embedded.Address:
    """Give the address of another database of the server."""
    return dataclasses.replace(address, database=name)


async def connect(address: embedded.Address, role: str = embedded.SUPERUSER) -> Connection:
    """Connect as one of the embedded server's roles."""
    return await asyncpg.connect(**address.connect_args(role))


async def create_empty(
    address: embedded.Address, name: str, *, template: str | None = None
) -> embedded.Address:
    """Make a database, or a copy of another; an older one of this name goes."""
    connection = await connect(address)
    await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    source = f" TEMPLATE {template}" if template else ""
    await connection.execute(f"CREATE DATABASE {name} OWNER {embedded.OWNER}{source}")
    await connection.close()
    return at(address, name)


async def create(address: embedded.Address, name: str, *, template: str | None = None) -> embedded.Address:
    """Make a database, migrated, or a copy of another; an older one of this name goes."""
    made = await create_empty(address, name, template=template)
    if template is None:
        await migrate.migrate(made.connect_args(embedded.OWNER))
    owner = await connect(made, embedded.OWNER)
    await migrate.grant(owner, embedded.APP)
    await owner.close()
    return made


async def fill(
    address: embedded.Address,
    name: str,
    organisations: Mapping[str, int],
    *,
    today: datetime,
    tell: Callable[[str], None],
) -> list[Filled]:
    """Make a database with these organisations, each with so many orders, and settle it."""
    made = await create(address, name)
    connection = await connect(made)
    filled = []
    for slug, orders in organisations.items():
        filled.append(
            await data.fill(
                connection,
                slug,
                orders,
                today=today,
                tell=lambda done, orders=orders: tell(f"{name}: {done:,} of {orders:,} orders"),  # type: ignore[misc]
            )
        )
    tell(f"{name}: vacuum")
    await connection.execute("VACUUM (FREEZE, ANALYZE)")
    await connection.execute("CHECKPOINT")
    await connection.close()
    return filled


async def _settle(address: embedded.Address) -> None:
    connection = await connect(address)
    await connection.execute(
        "TRUNCATE waiting_room_visits, waiting_room_blocks, waiting_rooms, push_notifications, wallet_pushes, "
        "delivery_attempts, deliveries, events, event_streams, jobs"
    )
    await connection.execute("VACUUM api_keys")
    await connection.close()


def settle(address: embedded.Address) -> None:
    """Clear what writes have left: everyone begins with the same tables, and nobody pays for another's rows."""
    asyncio.run(_settle(address))


async def _poor_key(address: embedded.Address, filled: Filled) -> str:
    from rxdesk.organisations import commands  # noqa: PLC0415 (used once)

    connection = await connect(address)
    key = await commands.create_key(
        connection, filled.organisation_id, name="poor", permissions=[], per_second=0, per_minute=0
    )
    await connection.close()
    return key.key


def poor_key(address: embedded.Address, filled: Filled) -> str:
    """Make a key that may do nothing."""
    return asyncio.run(_poor_key(address, filled))


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the outbox; `actor` is kind and uid, `body` the bytes that subscribers get."""

    position: int
    event_type: str
    subject_uid: str
    actor: str
    body: bytes


async def _events(address: embedded.Address, organisation_id: int) -> list[Event]:
    connection = await connect(address)
    rows = await connection.fetch(
        "SELECT position, event_type, subject_uid, actor_kind || ' ' || actor_uid AS actor, body FROM events "
        "WHERE organisation_id = $1 ORDER BY position",
        organisation_id,
    )
    await connection.close()
    return [Event(**row) for row in rows]


def events(address: embedded.Address, organisation_id: int) -> list[Event]:
    """Give an organisation's events, by position."""
    return asyncio.run(_events(address, organisation_id))
