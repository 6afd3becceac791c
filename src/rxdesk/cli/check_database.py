"""What `rxdesk check` finds in the database: its form, secrets that keys open, work that waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rxdesk.cli.common import note

if TYPE_CHECKING:
    from rxdesk.db.location import Finding
    from rxdesk.db.pool import Connection
    from rxdesk.settings import Settings

SEALED = "sealed secrets"
_LATE_MINUTES = 5


def check_database(settings: Settings, *, serving: bool) -> list[Finding]:
    """Look into the database, which is started for that if nothing serves it; `serving`: the folder's server runs."""
    import asyncio

    from rxdesk.cli.common import judged
    from rxdesk.db.location import Finding, connected, inspect, located

    async def look(arguments: Any) -> list[Finding]:  # noqa: ANN401 (asyncpg's)
        async with connected(arguments) as connection:
            found = await inspect(connection)
            if all(finding.well for finding in found):
                found.append(await _sealed(settings, connection))
                found.append(await _connections(settings, connection, serving=serving))
                serves = serving or bool(settings.database_url)
                found.append(await _deliveries(connection, serving=serves))
                found.append(await _pushes(connection, serving=serves))
            return found

    place = "by its URL"
    if not settings.database_url:
        place = "the folder's server runs" if serving else "the folder's server does not run; started to look"
    try:
        with located(
            database_url=settings.database_url,
            data_dir=settings.data_dir,
            purpose="check",
            own=False,
            say=note,
        ) as location:
            found = asyncio.run(look(location.app))
    except Exception as error:
        line, _ = judged(error)
        if line is None:
            raise
        return [Finding("database", well=False, message=line)]
    return [Finding("database", well=True, message=place), *found]


async def _sealed(settings: Settings, connection: Connection) -> Finding:
    """Judge whether the keys open what keys of this database have sealed."""
    from rxdesk.db import keyring
    from rxdesk.db.location import Finding
    from rxdesk.kit.sealing import KEY_FILE

    file = settings.data_dir / KEY_FILE
    text = settings.encryption_keys
    if not text and not settings.database_url and file.exists():
        text = file.read_text("ascii")
    try:
        if not text and (known := await keyring.known(connection)):
            message = f"sealed with {', '.join(known)}, and there is no key: put it back from your backup"
            return Finding(SEALED, well=False, message=message)
        count = await keyring.verify(connection, text)
    except (ValueError, keyring.KeyringError) as error:
        return Finding(SEALED, well=False, message=str(error))
    said = {0: "none yet", 1: "one key has sealed here, and opens what it sealed"}
    return Finding(
        SEALED,
        well=True,
        message=said.get(count, f"{count} keys have sealed here, and all open what they sealed"),
    )


async def _connections(settings: Settings, connection: Connection, *, serving: bool) -> Finding:
    """Judge whether PostgreSQL gives as many connections as all processes of `serve` may open."""
    from rxdesk.db.location import Finding

    given = await connection.fetchval(
        "SELECT sum(CASE name WHEN 'max_connections' THEN 1 ELSE -1 END * setting::int) FROM pg_settings "
        "WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')"
    )
    most, (of_worker, of_deliverer) = settings.all_connections(), settings.connections()
    workers = f"{settings.workers} worker{'s' if settings.workers > 1 else ''} of {of_worker}"
    said = f"{most} at most: {workers} and {of_deliverer} for deliveries"
    if most <= given:
        return Finding("connections", well=True, message=f"{said}, of {given} that PostgreSQL gives")
    if not (settings.database_url or serving):  # it was started for this look, and not for workers
        said += "; `serve` starts PostgreSQL for as many"
        return Finding("connections", well=True, message=said)
    said += f", and PostgreSQL gives {given}: "
    fewer = "set fewer workers or a smaller database_pool_size"
    if settings.database_url:  # what stands between is not known here
        said += f"too few, unless a pooler stands before it. Raise max_connections, or {fewer}"
        return Finding("connections", well=True, message=said)
    return Finding(
        "connections",
        well=False,
        message=f"{said}start `serve` anew, which lets it give more, or {fewer}",
    )


async def _deliveries(connection: Connection, *, serving: bool) -> Finding:
    """Judge whether what is to be delivered is: it may wait while there is a worker, or while nothing serves."""
    from rxdesk.db.location import Finding
    from rxdesk.jobs import queue
    from rxdesk.webhooks.outbox import KIND

    name = "deliveries"
    count, late = await _waiting(connection, KIND)
    if serving and late:
        if not await queue.workers(connection):
            message = (
                f"{count} wait, and no worker is there: start `rxdesk worker`, or `serve` without --no-worker"
            )
            return Finding(name, well=False, message=message)
        return Finding(name, well=True, message=f"{count} wait, some for more than {_LATE_MINUTES} minutes")
    return Finding(name, well=True, message=f"{count} wait")


async def _pushes(connection: Connection, *, serving: bool) -> Finding:
    """Judge likewise whether wallets are told of changes of passes: a server without a certificate tells nobody."""
    from rxdesk.db.location import Finding
    from rxdesk.wallet.telling import GOOGLE_KIND, KIND

    said, well = [], True
    for company, kind, needed in (
        ("Apple", KIND, "apple_certificate_file"),
        ("Google", GOOGLE_KIND, "google_account_file"),
    ):
        count, late = await _waiting(connection, kind)
        line = f"{count} wait for {company}"
        if serving and late:
            well = False
            line += f" for more than {_LATE_MINUTES} minutes: a worker needs {needed} to send them"
        said.append(line)
    return Finding("pushes", well=well, message=", ".join(said))


async def _waiting(connection: Connection, kind: str) -> tuple[int, bool]:
    """Give how many jobs of a kind wait, and whether any should have been done by now."""
    from datetime import timedelta

    from rxdesk.jobs import queue
    from rxdesk.kit.clock import utc_now

    lanes = (await queue.backlog(connection, kind)).values()
    late = utc_now() - timedelta(minutes=_LATE_MINUTES)
    return sum(count for count, _ in lanes), any(due is not None and due < late for _, due in lanes)
