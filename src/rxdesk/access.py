"""Access: key, permission, tenant and rows in one statement (architecture, section 4).

`$1` organisation, `$2` digest of the key, `$3` permission or NULL for any valid key of the organisation; a feature's
query numbers its own arguments from `$4` and yields one column, `body`, as JSON text. A pharmacy's key has permissions
of its own kind only, so it is not allowed anything else; `c.pharmacy_uid` is the pharmacy that the query must keep to.
The key of a deleted pharmacy is no valid key.
Nothing stale is acted on: a revoked key is dead at the next request. A write of one statement takes its key for what it
was when last seen, and judges it again in that statement, which writes nothing if anything about it has changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from rxdesk import errors
from rxdesk.db.pool import Connection, Pool
from rxdesk.errors import ApiError
from rxdesk.kit.clock import Clock
from rxdesk.kit.keys import KeyReference
from rxdesk.kit.sealing import Sealer
from rxdesk.permissions import ALL, AnyPermission

T = TypeVar("T")

# The statement timeout is the database's; ours is a little later, for a database that hangs.
_GRACE_SECONDS = 0.5

_CALLER = """
WITH caller AS (
  SELECT uid, permissions, pharmacy_uid, rate_limit_per_second, rate_limit_per_minute,
         CASE WHEN $3::text IS NULL THEN pharmacy_uid IS NULL ELSE $3 = ANY (permissions) END AS allowed
  FROM api_keys
  WHERE organisation_id = $1 AND digest = $2
    AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
    AND (pharmacy_uid IS NULL OR EXISTS (SELECT FROM pharmacies ph
      WHERE ph.organisation_id = $1 AND ph.uid = api_keys.pharmacy_uid AND ph.deleted_at IS NULL))
)
SELECT c.uid, c.allowed, c.rate_limit_per_second, c.rate_limit_per_minute, c.pharmacy_uid, {body} AS body
FROM caller c {rows}"""

_CALLER_ONLY = _CALLER.format(body="NULL::text", rows="")

# Whether a key is still what it was when last seen, for a statement that writes. Without a digest the caller was judged
# before. To be formatted with the numbers of the arguments in `Transaction.judged`; $4 is the key's uid.
STILL = """
SELECT {digest}::bytea IS NULL OR EXISTS (
  SELECT FROM api_keys
  WHERE organisation_id = $1 AND digest = {digest} AND uid = $4 AND pharmacy_uid IS NULL
    AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AND {permission} = ANY (permissions)
    AND rate_limit_per_second = {per_second} AND rate_limit_per_minute = {per_minute}) AS stands"""
_REMEMBERED = 10_000  # callers, each with a permission; more are forgotten together


@dataclass(frozen=True, slots=True)
class Read:
    """A feature's read, composed with the caller into one statement.

    The query runs inside a lateral join behind `WHERE c.allowed`, which PostgreSQL evaluates once, before it:
    without the permission the feature's query is never executed. OFFSET 0 is the fence that keeps it so.
    """

    query: str

    @property
    def statement(self) -> str:
        """The whole statement."""
        return _compose(self.query)


@cache
def _compose(query: str) -> str:
    rows = f"LEFT JOIN LATERAL (\nSELECT q.body FROM (\n{query}\n) q WHERE c.allowed OFFSET 0\n) f ON true"
    return _CALLER.format(body="f.body", rows=rows)


class Caller(msgspec.Struct, frozen=True):
    """Who asks: a valid key, and whether it has the permission that was asked for."""

    organisation_id: int
    key_uid: str
    allowed: bool
    per_second: int
    per_minute: int
    pharmacy_uid: str | None = None


class Presumed(msgspec.Struct, frozen=True):
    """A caller as last seen, whom the statement that writes must judge again."""

    caller: Caller
    key: KeyReference
    permission: AnyPermission


class PresumptionError(ApiError):
    """The key is no longer what it was when last seen, and nothing was written.

    An error of the API, since the connection is as clean as after any other; whoever presumed catches it.
    """


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a command gets: one open transaction, the tenant, the actor, the time and the sealer.

    `pharmacy_uid` is set for a pharmacy's key: the command must keep to that pharmacy. What is put into
    `before_commit` runs when the command has ended well, as the transaction's last statements.
    """

    connection: Connection
    organisation_id: int
    actor_kind: str
    actor_uid: str
    now: datetime
    sealer: Sealer
    pharmacy_uid: str | None = None
    before_commit: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    presumed: Presumed | None = None

    @property
    def judged(self) -> tuple[bytes | None, str | None, int | None, int | None]:
        """The arguments of `STILL`: digest, permission, limits a second and a minute."""
        if self.presumed is None:
            return None, None, None, None
        caller = self.presumed.caller
        return self.presumed.key.digest, self.presumed.permission, caller.per_second, caller.per_minute

    def stands(self, stands: bool) -> None:  # noqa: FBT001 (what the statement says)
        """Go on if the caller is `STILL` the same; PresumptionError otherwise."""
        if not stands:
            refused = errors.key_invalid()
            raise PresumptionError(refused.status, refused.body)


@dataclass(frozen=True, slots=True)
class Updated(Generic[T]):
    """What a command gives that may make or change: it changed what was there. Bare, the value was made."""

    value: T


async def run_command(tx: Transaction, command: Callable[[Transaction], Awaitable[T]]) -> T:
    """Run a command, then what it left for the transaction's end; the caller holds the transaction."""
    result = await command(tx)
    for last in tx.before_commit:
        await last()
    return result


# An operator sees what every key sees together; $2 and $3 are who asks and what that one may do.
_OPERATOR = """
WITH c AS (SELECT $2::text AS uid, $3::text[] AS permissions, true AS allowed, NULL::text AS pharmacy_uid)
SELECT q.body FROM c CROSS JOIN LATERAL (
{query}
) q"""


@cache
def _looked(query: str) -> str:
    return _OPERATOR.replace("{query}", query)


async def look(connection: Connection, organisation_id: int, read: Read, *arguments: object) -> str | None:
    """Run a feature's read for an operator or the server itself, on a connection that is set to the organisation.

    Gives its body as JSON text, None for no row.
    """
    body: str | None = await connection.fetchval(
        _looked(read.query), organisation_id, "cli", list(ALL), *arguments
    )
    return body


class Access:
    """Every way of the API to the database."""

    def __init__(self, pool: Pool, *, clock: Clock, sealer: Sealer, statement_seconds: float) -> None:
        self._pool = pool
        self._clock = clock
        self._sealer = sealer
        self._timeout = statement_seconds + _GRACE_SECONDS
        self._organisations: dict[str, int] = {}
        self._seen: dict[tuple[KeyReference, AnyPermission], Presumed] = {}
        self.used_keys: dict[tuple[int, str], datetime] = {}

    async def read(
        self,
        key: KeyReference,
        permission: AnyPermission | None,
        read: Read | None,
        *arguments: object,
        seconds: float | None = None,
    ) -> tuple[Caller | None, str | None]:
        """Run one statement: the caller (None: no such valid key), the body (None: no row, or not allowed).

        Without a `read` it only asks who the caller is. `seconds` is a time limit below the usual one.
        """
        limit = seconds or self._timeout
        statement = _CALLER_ONLY if read is None else read.statement
        async with self._pool.acquire(key.organisation_id, timeout_seconds=limit) as connection:
            row = await connection.fetchrow(
                statement, key.organisation_id, key.digest, permission, *arguments
            )
        if row is None:
            return None, None
        uid, allowed, per_second, per_minute, pharmacy_uid, body = row
        self.used_keys[key.organisation_id, uid] = self._clock()
        return Caller(key.organisation_id, uid, allowed, per_second, per_minute, pharmacy_uid), body

    def remember(self, key: KeyReference, permission: AnyPermission, caller: Caller) -> None:
        """Keep who a key with that permission is, to presume it of the next request."""
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[key, permission] = Presumed(caller, key, permission)

    def presumed(self, key: KeyReference, permission: AnyPermission) -> Presumed | None:
        """Give who the key with that permission was when last seen; None: nobody, or it is no longer known."""
        return self._seen.get((key, permission))

    async def organisation_of(self, public_code: str) -> int | None:
        """Give the number of the organisation with that public code; None: there is none.

        What was found is kept: neither of the two ever changes.
        """
        found = self._organisations.get(public_code)
        if found is None:
            async with self._pool.acquire_without(timeout_seconds=self._timeout) as connection:
                found = await connection.fetchval(
                    "SELECT id FROM organisations WHERE public_code = $1", public_code
                )
            if found is not None:
                self._organisations[public_code] = found
        return found

    async def rows(self, organisation_id: int, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Run a statement for the server itself, which judges the keys for whom it reads; its rows."""
        async with self._pool.acquire(organisation_id, timeout_seconds=self._timeout) as connection:
            return [tuple(row) for row in await connection.fetch(statement, organisation_id, *arguments)]

    async def look(self, organisation_id: int, read: Read, *arguments: object) -> str | None:
        """Run a read for the server itself, in one statement; its body as JSON text, None for no row."""
        async with self._pool.acquire(organisation_id, timeout_seconds=self._timeout) as connection:
            return await look(connection, organisation_id, read, *arguments)

    async def write(self, caller: Caller, command: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run a command in one transaction; an ApiError that it raises undoes all of it."""
        async with (
            self._pool.acquire_to_write(caller.organisation_id, timeout_seconds=self._timeout) as connection,
            connection.transaction(),
        ):
            return await run_command(self._transaction(connection, caller), command)

    async def write_at_once(
        self, caller: Caller, command: Callable[[Transaction], Awaitable[T]], presumed: Presumed | None = None
    ) -> T:
        """Run a command that writes by one statement, with no transaction around it: that statement is one.

        What it has written stays when it raises, so it raises only when it has written nothing. A `presumed` caller is
        judged by it: PresumptionError, and from then on nothing is presumed of that key.
        """
        async with self._pool.acquire_to_write(
            caller.organisation_id, timeout_seconds=self._timeout
        ) as connection:
            tx = self._transaction(connection, caller, presumed)
            try:
                result = await command(tx)
            except PresumptionError:
                if presumed is not None:
                    self._seen.pop((presumed.key, presumed.permission), None)
                raise
            if presumed is not None:
                self.used_keys[caller.organisation_id, caller.key_uid] = tx.now
            if tx.before_commit:
                message = "a command of one statement left something for the end of its transaction"
                raise RuntimeError(message)
            return result

    def _transaction(
        self, connection: Connection, caller: Caller, presumed: Presumed | None = None
    ) -> Transaction:
        return Transaction(
            connection=connection,
            organisation_id=caller.organisation_id,
            actor_kind="key",
            actor_uid=caller.key_uid,
            now=self._clock(),
            sealer=self._sealer,
            pharmacy_uid=caller.pharmacy_uid,
            presumed=presumed,
        )

    async def write_as_system(
        self, organisation_id: int, actor_uid: str, command: Callable[[Transaction], Awaitable[T]]
    ) -> T:
        """Run a command of the server's own, such as a worker's, in one transaction."""
        async with (
            self._pool.acquire(organisation_id, timeout_seconds=self._timeout) as connection,
            connection.transaction(),
        ):
            tx = Transaction(
                connection=connection,
                organisation_id=organisation_id,
                actor_kind="system",
                actor_uid=actor_uid,
                now=self._clock(),
                sealer=self._sealer,
            )
            return await run_command(tx, command)

    async def note_used_keys(self) -> None:
        """Write the gathered times of last use, a batch an organisation; what fails is kept."""
        gathered, self.used_keys = self.used_keys, {}
        by_organisation: dict[int, list[tuple[str, datetime]]] = {}
        for (organisation_id, uid), moment in gathered.items():
            by_organisation.setdefault(organisation_id, []).append((uid, moment))
        try:
            while by_organisation:
                organisation_id, used = next(iter(by_organisation.items()))
                async with self._pool.acquire(organisation_id, timeout_seconds=self._timeout) as connection:
                    await connection.execute(
                        "UPDATE api_keys SET last_used_at = u.moment "
                        "FROM unnest($2::text[], $3::timestamptz[]) AS u (uid, moment) "
                        "WHERE organisation_id = $1 AND api_keys.uid = u.uid",
                        organisation_id,
                        [uid for uid, _ in used],
                        [moment for _, moment in used],
                    )
                del by_organisation[organisation_id]
        finally:
            for organisation_id, used in by_organisation.items():
                for uid, moment in used:
                    self.used_keys.setdefault((organisation_id, uid), moment)
