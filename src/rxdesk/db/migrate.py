"""Migrations: which revision the code wants, which the database has, and the way from one to the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg

from rxdesk.db.pool import Connection

HEAD = "0019"  # checked against the revisions by a test; reading them costs every start a quarter of a second
_FOLDER = Path(__file__).parent / "migrations"
_ROLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# Held while migrating, so that two operators' commands do not meet. An arbitrary number of ours.
_LOCK = 7_266_842_190_001


class MigrationError(Exception):
    """The migration cannot go on; the message says why and what to do."""


async def current_revision(connection: Connection) -> str | None:
    """Give the revision the database is at, None for an empty one."""
    try:
        revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    return revision


def _config() -> Any:  # noqa: ANN401 (Alembic's class; imported late)
    from alembic.config import Config  # noqa: PLC0415 (a quarter of a second that only migrations pay)

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    return config


def known_revisions() -> list[str]:
    """Give all revisions of the code, oldest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 (as above)

    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]


async def migrate(arguments: Mapping[str, Any], *, to: str = "head", down: bool = False) -> None:
    """Bring the database that `arguments` (of asyncpg.connect, as the owner) name to a revision.

    Raises MigrationError; nothing is changed then.
    """
    from alembic import command  # noqa: PLC0415 (as above)
    from sqlalchemy import Connection as SyncConnection  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(**arguments), poolclass=NullPool
    )

    def run(connection: SyncConnection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        (command.downgrade if down else command.upgrade)(config, to)

    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    except DBAPIError as error:
        cause = (
            error.orig.__cause__ if error.orig is not None and error.orig.__cause__ else error.orig or error
        )
        message = f"the database refused the migration, and nothing was changed: {str(cause).splitlines()[0]}"
        raise MigrationError(message) from error
    finally:
        await engine.dispose()


def check_role(role: str) -> None:
    """Refuse a role name that would have to be quoted. Raises MigrationError."""
    if _ROLE.fullmatch(role) is None:
        message = f"database_app_role {role!r} is not a plain role name ([a-z_][a-z0-9_]*)"
        raise MigrationError(message)


async def grant(connection: Connection, role: str) -> bool:
    """Give the app role what serving needs, on all tables; False when there is no such role.

    Run as the owner after each migration. The role gets rows, never tables: it can neither alter nor drop.
    """
    check_role(role)
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role):
        return False
    await connection.execute(
        f"GRANT USAGE ON SCHEMA public TO {role};"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};"
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};"
        f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {role};"
        f"GRANT TEMPORARY ON DATABASE {await _database(connection)} TO {role}"
    )
    return True


async def _database(connection: Connection) -> str:
    name: str = await connection.fetchval("SELECT quote_ident(current_database())")
    return name


async def create_app_role(connection: Connection, role: str, password: str) -> bool:
    """Make the app role with that password; False when it exists already. The owner needs CREATEROLE."""
    check_role(role)
    literal = await connection.fetchval("SELECT quote_literal($1)", password)
    try:
        await connection.execute(
            f"CREATE ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD {literal}"
        )
    except asyncpg.DuplicateObjectError:
        return False
    except asyncpg.InsufficientPrivilegeError as error:
        message = (
            f"this role may not create roles; have an administrator run: CREATE ROLE {role} LOGIN PASSWORD …"
        )
        raise MigrationError(message) from error
    return True
