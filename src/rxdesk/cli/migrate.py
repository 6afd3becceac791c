"""`rxdesk migrate`: the schema, and the role that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rxdesk.cli.common import EPILOG, AsJson, CliError, ConfigFile, DataDir, database, print_json, settings_of

if TYPE_CHECKING:
    from rxdesk.db.location import Location
    from rxdesk.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=EPILOG + "rxdesk migrate --data-dir /var/lib/rxdesk\n\n"
        "RXDESK_DATABASE_URL=postgresql://owner:…@db/rxdesk rxdesk migrate --create-app-role\n\n"
        "rxdesk migrate --check && echo up to date"
    )(migrate)


def migrate(
    *,
    create_app_role: Annotated[
        bool,
        typer.Option("--create-app-role", help="Make the role that serves, and print its URL this once."),
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="REVISION", show_default=False, help="Another revision than the newest."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 when there is something to do.")
    ] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database's schema to this version, as the owner, and grant the serving role what it needs.

    With RXDESK_DATABASE_URL, that URL is the owner's; `serve` then takes the lesser role's. Two at once wait
    for each other. It may run beside a server of this version or the one before.
    """
    import asyncio

    settings = settings_of(data_dir, config).settings
    if create_app_role and not settings.database_url:
        message = "the embedded PostgreSQL has its serving role already; leave --create-app-role out"
        raise CliError(message)
    with database(settings, "migrate", may_make=not check) as location:
        work = _check(location) if check else _migrate(location, settings, to, create=create_app_role)
        done = asyncio.run(work)
    if as_json:
        print_json(done)
    elif check:
        print(done["message"])
    else:
        _tell(done)
    if check and not done["current"]:
        raise typer.Exit(1)


async def _check(location: Location) -> dict[str, Any]:
    from rxdesk.db import migrate
    from rxdesk.db.location import connected, schema

    async with connected(location.owner) as owner:
        finding = await schema(owner)
        revision = await migrate.current_revision(owner)
    return {
        "current": finding.well,
        "revision": revision,
        "wanted": migrate.HEAD,
        "message": finding.message,
    }


async def _migrate(location: Location, settings: Settings, to: str | None, *, create: bool) -> dict[str, Any]:
    import secrets

    from rxdesk.db import migrate
    from rxdesk.db.location import connected, database

    role = str(location.app["user"]) if location.is_embedded else settings.database_app_role
    migrate.check_role(role)
    target = to or migrate.HEAD
    async with connected(location.owner) as owner:
        fit = await database(owner)
        if not fit.well:
            raise CliError(fit.message)
        before = await migrate.current_revision(owner)
    if before != target:
        known = migrate.known_revisions()
        if target not in known:
            message = f"unknown revision {target!r}; there are: {', '.join(known)}"
            raise CliError(message)
        if before is not None and before not in known:
            message = (
                f"the schema is at revision {before}, newer than this version knows: install the newer RxDesk"
            )
            raise CliError(message)
        down = before is not None and known.index(target) < known.index(before)
        await migrate.migrate(location.owner, to=target, down=down)
    done: dict[str, Any] = {
        "from": before,
        "to": target,
        "role": role,
        "role_created": False,
        "granted": False,
    }
    async with connected(location.owner) as owner:
        done["to"] = await migrate.current_revision(owner)
        if create:
            password = secrets.token_urlsafe(24)
            done["role_created"] = await migrate.create_app_role(owner, role, password)
            if done["role_created"]:
                done["database_url"] = _url_for(settings.database_url, role, password)
        done["granted"] = await migrate.grant(owner, role)
    return done


def _url_for(owner_url: str, role: str, password: str) -> str:
    """Give the owner's URL with the role and its password in place of the owner's."""
    from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

    parts = urlsplit(owner_url)
    place = parts.netloc.rpartition("@")[2]
    query = [(name, value) for name, value in parse_qsl(parts.query) if name not in {"user", "password"}]
    return urlunsplit((parts.scheme, f"{role}:{password}@{place}", parts.path, urlencode(query), ""))


def _tell(done: dict[str, Any]) -> None:
    if done["from"] == done["to"]:
        print(f"The schema is at revision {done['to']} already.")
    else:
        print(f"The schema went from {done['from'] or 'nothing'} to revision {done['to']}.")
    if done["role_created"]:
        print(f"The role {done['role']} was made. Serve with this URL; its password is shown this once:\n")
        print(f"  RXDESK_DATABASE_URL='{done['database_url']}'\n")
    if done["granted"]:
        print(f"The role {done['role']} has what serving needs, on all tables.")
    else:
        print(
            f"There is no role {done['role']} yet: run `rxdesk migrate --create-app-role`, or have an "
            f"administrator CREATE ROLE {done['role']} LOGIN PASSWORD '…' and run `rxdesk migrate` again."
        )
