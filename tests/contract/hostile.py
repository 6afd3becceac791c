"""What the tests of hostile input share: a kept line, and looks at answers and at rows."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tests.contract.asking import Asked, asked
from tests.contract.documented import Documented, operations
from tests.contract.worlds import World
from tests.wire.raw import Closed, Reply, Wire

OPERATIONS = operations()
NOT_FOUND = b'{"error":"Resource not found"}'


class Line:
    """A kept-alive connection that is opened again when the server has closed it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._wire: Wire | None = None

    async def ask(self, data: bytes, *, without_body: bool = False) -> Reply:
        if self._wire is not None:
            try:
                return await self._once(self._wire, data, without_body=without_body)
            except Closed:
                await self.close()
        self._wire = await Wire.open(self.url)
        return await self._once(self._wire, data, without_body=without_body)

    async def _once(self, wire: Wire, data: bytes, *, without_body: bool) -> Reply:
        await wire.send(data)
        reply = await wire.reply(without_body=without_body)
        if (reply.value("connection") or "").lower() == "close" or reply.status == 413:
            await self.close()
        return reply

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()
        self._wire = None


async def rows_of(world: World) -> str:
    """A digest of every row of the organisation, times of last use aside."""
    tables = await world.tenant.connection.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attname = 'organisation_id' "
        "ORDER BY 1"
    )
    whole = ""
    for (table,) in tables:
        rows = await world.tenant.rows(
            f"SELECT (to_jsonb(t) - 'last_used_at')::text AS row FROM {table} t WHERE organisation_id = $1 "
            "ORDER BY 1"
        )
        whole += table + "".join(row["row"] for row in rows)
    return hashlib.sha256(whole.encode()).hexdigest()


_FIRST: dict[tuple[str, Documented], Asked] = {}


def first_request(operation: Documented, worlds: tuple[World, World]) -> Asked:
    """The first request of an operation, made once: each registration takes a patient of the world's few."""
    place = (worlds[0].mark, operation)
    if place not in _FIRST:
        _FIRST[place] = asked(operation, *worlds)[0][1](worlds[0])
    return _FIRST[place]


def url_of(operation: Documented, worlds: tuple[World, World]) -> str:
    """An own row's, below the base path and without a query."""
    return first_request(operation, worlds).url.partition("?")[0]


def refused(reply: Reply, status: int, what: str, start: str | None = None) -> dict[str, Any]:
    assert reply.status == status, f"{what}: {reply.status} {reply.body[:300]!r}"
    assert reply.value("content-type") == "application/json", what
    assert reply.value("x-request-id"), what
    assert reply.value("ratelimit"), what
    body: dict[str, Any] = json.loads(reply.body)
    if start is not None:
        assert body["error"].startswith(start), f"{what}: {body}"
    return body
