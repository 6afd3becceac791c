"""Which PostgreSQL: the configured one, or the embedded one of the data folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from rxdesk.db import embedded, migrate
from rxdesk.db.pool import Connection

OLDEST = (15, 14)
_CONNECT_SECONDS = 5.0


class LocationError(Exception):
    """The database cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Location:
    """How to connect: as the app's role, and as the owner (the same where a URL names the role)."""

    app: Mapping[str, Any]
    owner: Mapping[str, Any]
    embedded: embedded.Server | None = None
    is_embedded: bool = False


def _embedded_location(address: embedded.Address, server: embedded.Server | None) -> Location:
    return Location(
        app=address.connect_args(embedded.APP),
        owner=address.connect_args(embedded.OWNER),
        embedded=server,
        is_embedded=True,
    )


@contextlib.contextmanager
def located(
    *, database_url: str, data_dir: Path, purpose: str, own: bool, say: Callable[[str], None] = lambda _: None
) -> Iterator[Location]:
    """Give the database for the length of a command.

    The embedded one is started and stopped here; a verb (`own` false) joins one that another process runs.
    Raises LocationError.
    """
    if database_url:
        arguments = {"dsn": database_url, "timeout": _CONNECT_SECONDS}
        yield Location(app=arguments, owner=arguments)
        return
    try:
        if not own and (address := embedded.running(data_dir)) is not None:
            yield _embedded_location(address, None)
            return
        server = embedded.start(data_dir, purpose=purpose, say=say)
    except embedded.EmbeddedError as error:
        raise LocationError(str(error)) from error
    with server:
        yield _embedded_location(server.address, server)


@contextlib.asynccontextmanager
async def connected(arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 (an async context manager of Connection)
    """Open one connection outside any pool, for a command. Raises LocationError."""
    try:
        connection = await asyncpg.connect(**arguments)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        message = f"the database cannot be reached: {_reason(error)}"
        raise LocationError(message) from error
    try:
        yield connection
    finally:
        await connection.close()


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_CONNECT_SECONDS:g} s"
    if isinstance(error, ValueError):
        return "database_url is not of the form postgresql://user:password@host:port/database"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: its name, whether it is well, and what to say of it."""

    name: str
    well: bool
    message: str


async def inspect(connection: Connection) -> list[Finding]:
    """Judge a database for serving: version, role, schema. Used by `serve`, `worker` and `check`."""
    return [await _version(connection), await _role(connection), await _schema(connection)]


async def _version(connection: Connection) -> Finding:
    number = int(await connection.fetchval("SHOW server_version_num"))
    found = (number // 10000, number % 10000)
    well = found >= OLDEST
    wanted = "" if well else f"; RxDesk needs {OLDEST[0]}.{OLDEST[1]} or newer"
    return Finding("database version", well, f"PostgreSQL {found[0]}.{found[1]}{wanted}")


async def _role(connection: Connection) -> Finding:
    role, superuser, bypasses, owned = await connection.fetchrow(
        "SELECT rolname, rolsuper, rolbypassrls, (SELECT count(*) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind = 'r' "
        "AND pg_has_role(r.oid, c.relowner, 'USAGE')) FROM pg_roles r WHERE rolname = current_user"
    )
    faults = [
        text
        for is_so, text in (
            (superuser, "is a superuser"),
            (bypasses, "bypasses row security"),
            (owned and not superuser, "owns the tables"),
        )
        if is_so
    ]
    if faults:
        advice = "serve as the role that `rxdesk migrate --create-app-role` makes"
        return Finding("database role", well=False, message=f"{role} {' and '.join(faults)}; {advice}")
    return Finding("database role", well=True, message=f"{role} owns nothing and is bound by row security")


async def _schema(connection: Connection) -> Finding:
    current = await migrate.current_revision(connection)
    if current == migrate.HEAD:
        return Finding("schema", well=True, message=f"at revision {current}")
    if current is None:
        text = "the database is empty: run `rxdesk migrate`"
    elif current in migrate.known_revisions():
        text = f"at revision {current}, older than the code's {migrate.HEAD}: run `rxdesk migrate`"
    else:
        text = f"at revision {current}, which this version does not know: install the newer RxDesk"
    return Finding("schema", well=False, message=text)
