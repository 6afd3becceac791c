"""What an operator sees of organisations and keys."""

from __future__ import annotations

from typing import Any

from rxdesk.db.pool import Connection
from rxdesk.organisations.commands import OperatorError, Organisation

_COLUMNS = "id, uid, slug, display_name, public_code, time_zone"


async def organisations(connection: Connection) -> list[Organisation]:
    """Give all organisations by slug."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM organisations ORDER BY slug")
    return [Organisation(**row) for row in rows]


async def organisation(connection: Connection, slug: str) -> Organisation:
    """Give the organisation with that slug. Raises OperatorError when there is none."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM organisations WHERE slug = $1", slug)
    if row is None:
        message = f"no organisation {slug!r}; `rxdesk organisations list` shows them"
        raise OperatorError(message)
    return Organisation(**row)


async def keys(connection: Connection, organisation_id: int) -> list[dict[str, Any]]:
    """Give an organisation's keys, newest first, without what would let one be used."""
    rows = await connection.fetch(
        "SELECT uid, name, pharmacy_uid, hint, permissions, rate_limit_per_second, rate_limit_per_minute, created_at, "
        "expires_at, revoked_at, last_used_at, rotated_from, CASE WHEN revoked_at IS NOT NULL THEN 'revoked' "
        "WHEN expires_at <= now() THEN 'expired' ELSE 'active' END AS status "
        "FROM api_keys WHERE organisation_id = $1 ORDER BY created_at DESC, uid DESC",
        organisation_id,
    )
    return [dict(row) for row in rows]
