"""Which PostgreSQL: the configured one, or the embedded one of the data folder."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from rxdesk.db import embedded, migrate
from rxdesk.db.pool import SESSION, Connection

OLDEST = (15, 14)
_CONNECT_SECONDS = 5.0
_LOOK_SECONDS = 0.2
_SPARE = 20  # connections for verbs, and those that PostgreSQL keeps for superusers
_AGAIN_SECONDS = 2.0  # between attempts to start a server that does not come up again
# Those whose server lives long enough to be joined by a verb; another verb's is waited for.
SERVING = ("serve", "demo")


class LocationError(Exception):
    """The database cannot be used; the message says why and what to do."""


Report = Callable[..., None]
"""Takes the name of an event and its fields, as a structlog logger's method does."""


class Kept:
    """The embedded server of a serving process: when it dies, it is started again."""

    def __init__(
        self,
        data_dir: Path,
        *,
        purpose: str,
        say: Callable[[str], None],
        wait_seconds: float = _CONNECT_SECONDS,
        connections: int = 0,
    ) -> None:
        self._start = partial(
            embedded.start,
            data_dir,
            purpose=purpose,
            connections=connections + _SPARE,
        )
        self._server = self._start(say=say, wait_seconds=wait_seconds)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> embedded.Address:
        """Where it is reached; the same after it was started again."""
        return self._server.address

    @property
    def pid(self) -> int:
        """The process number of the present server."""
        return self._server.pid

    def watch(self, report: Report) -> None:
        """Look after the server from now on, in a thread of its own. Call it after forking."""
        self._thread = threading.Thread(
            target=self._look_after, args=(report,), name="postgresql-watch", daemon=True
        )
        self._thread.start()

    def _look_after(self, report: Report) -> None:
        pause = _LOOK_SECONDS
        while not self._ending.wait(pause):
            pause = _LOOK_SECONDS
            if (status := self._server.poll()) is None:
                continue
            report("postgresql_died", status=status)
            self._server.stop()  # gives the folder back
            try:
                self._server = self._start()
            except embedded.EmbeddedError as error:
                report("postgresql_not_restarted", error=str(error))
                pause = _AGAIN_SECONDS
            else:
                report("postgresql_restarted")

    def stop(self) -> None:
        """Stop the server for good. Once only."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        self._server.stop()


@dataclass(frozen=True, slots=True)
class Location:
    """How to connect: as the app's role, and as the owner (the same where a URL names the role)."""

    app: Mapping[str, Any]
    owner: Mapping[str, Any]
    kept: Kept | None = None
    is_embedded: bool = False


def _embedded_location(address: embedded.Address, kept: Kept | None) -> Location:
    return Location(
        app=address.connect_args(embedded.APP),
        owner=address.connect_args(embedded.OWNER),
        kept=kept,
        is_embedded=True,
    )


@contextlib.contextmanager
def located(
    *,
    database_url: str,
    data_dir: Path,
    purpose: str,
    own: bool,
    say: Callable[[str], None] = lambda _: None,
    connections: int = 0,
) -> Iterator[Location]:
    """Give the database for the length of a command.

    The embedded one is started and stopped here, for so many connections if that is more than it has anyway; a verb
    (`own` false) joins one that another process serves with. Raises LocationError.
    """
    if database_url:
        arguments = {"dsn": database_url, "timeout": _CONNECT_SECONDS}
        yield Location(app=arguments, owner=arguments)
        return
    try:
        if not own and (address := embedded.running(data_dir)) is not None and _is_serving(data_dir):
            yield _embedded_location(address, None)
            return
        wait_seconds = 2 if own else 10
        kept = Kept(data_dir, purpose=purpose, say=say, wait_seconds=wait_seconds, connections=connections)
    except embedded.EmbeddedError as error:
        raise LocationError(str(error)) from error
    try:
        yield _embedded_location(kept.address, kept)
    finally:
        kept.stop()


def _is_serving(data_dir: Path) -> bool:
    """Tell whether the folder's holder serves; a verb's server would end under our hands."""
    try:
        holder = json.loads((data_dir / "rxdesk.lock").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(holder, dict) and holder.get("purpose") in SERVING


@contextlib.asynccontextmanager
async def connected(arguments: Mapping[str, Any]) -> AsyncIterator[Connection]:
    """Open one connection outside any pool, for a command. Raises LocationError."""
    try:
        connection = await asyncpg.connect(**arguments, server_settings=SESSION)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        message = f"the database cannot be reached: {_reason(error)}"
        raise LocationError(message) from error
    try:
        yield connection
    finally:
        # A close that hangs must not keep a command from ending.
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=_CONNECT_SECONDS)


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
    return [
        await _version(connection),
        await database(connection),
        await _role(connection),
        await schema(connection),
    ]


async def database(connection: Connection) -> Finding:
    """Judge whether a database can hold ours: its encoding, and where its tables are looked for."""
    encoding: str = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        text = (
            f"the database's encoding is {encoding}; RxDesk needs UTF8: make one with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
        return Finding("database form", well=False, message=text)
    found: str | None = await connection.fetchval("SELECT current_schema()")
    if found != "public":
        text = (
            f"tables would stand in the schema {found or 'none'}, and RxDesk's stand in public: let the "
            "search_path of this role and database begin with it"
        )
        return Finding("database form", well=False, message=text)
    return Finding("database form", well=True, message="UTF8, tables in the schema public")


async def _version(connection: Connection) -> Finding:
    number = int(await connection.fetchval("SHOW server_version_num"))
    found = (number // 10000, number % 10000)
    well = found >= OLDEST
    wanted = "" if well else f"; RxDesk needs {OLDEST[0]}.{OLDEST[1]} or newer"
    return Finding("database version", well, f"PostgreSQL {found[0]}.{found[1]}{wanted}")


async def _role(connection: Connection) -> Finding:
    row = await connection.fetchrow(
        "SELECT rolname, rolsuper, rolbypassrls, (SELECT count(*) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind = 'r' "
        "AND pg_has_role(r.oid, c.relowner, 'USAGE')) FROM pg_roles r WHERE rolname = current_user"
    )
    if row is None:  # dropped while connected
        return Finding("database role", well=False, message="the role of this connection is no more")
    role, superuser, bypasses, owned = row
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


async def schema(connection: Connection) -> Finding:
    """Judge whether the database's schema is the code's."""
    try:
        current = await migrate.current_revision(connection)
    except asyncpg.InsufficientPrivilegeError:
        text = "the role may not read it: `rxdesk migrate` as the owner grants the serving role its rights"
        return Finding("schema", well=False, message=text)
    if current == migrate.HEAD:
        return Finding("schema", well=True, message=f"at revision {current}")
    if current is None:
        text = "the database is empty: run `rxdesk migrate`"
    elif current in migrate.known_revisions():
        text = (
            f"the schema is at revision {current}, older than the code's {migrate.HEAD}: run `rxdesk migrate`"
        )
    else:
        text = f"the schema is at revision {current}, newer than this version knows: install the newer RxDesk"
    return Finding("schema", well=False, message=text)
