"""`rxdesk keys`: the API keys of an organisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rxdesk.cli.common import (
    EPILOG,
    AsJson,
    CliError,
    ConfigFile,
    DataDir,
    OrganisationSlug,
    on_database,
    print_json,
    print_table,
    settings_of,
)
from rxdesk.permissions import ALL

if TYPE_CHECKING:
    from collections.abc import Callable

    from rxdesk.db.pool import Connection
    from rxdesk.organisations.commands import NewKey

app = typer.Typer(help="Create, list, rotate and revoke API keys.", no_args_is_help=True)
Uid = Annotated[str, typer.Argument(metavar="UID", help="The key's uid, as `rxdesk keys list` shows it.")]


def _up_to(most: int) -> Callable[[str], int]:
    """Make a parser of whole numbers; Typer's own bounds would fill the help and cut off the options' names."""

    def read(text: str) -> int:
        number = (
            int(text) if text.isdecimal() and text.isascii() and len(text) <= len(str(most)) else most + 1
        )
        if number > most:
            message = f"it must be a whole number from 0 to {most}"
            raise typer.BadParameter(message)
        return number

    return read


def _permissions(wanted: list[str], *, every: bool, of_pharmacy: bool) -> list[str]:
    from rxdesk.permissions import ALL, ALL_OF_PHARMACY, objection

    there = ALL_OF_PHARMACY if of_pharmacy else ALL
    if every and wanted:
        raise CliError("give --permission or --all-permissions, not both")
    if every:
        return list(there)
    if not wanted:
        message = (
            f"a key without any permission can do next to nothing: give --permission, of {', '.join(there)}"
        )
        raise CliError(message)
    for permission in wanted:
        if "," in permission or " " in permission.strip():
            message = f"{permission!r} is more than one: repeat --permission for each"
            raise CliError(message)
    if (refusal := objection(wanted, of_pharmacy=of_pharmacy)) is not None:
        raise CliError(refusal)
    return sorted(set(wanted))


def _shown(made: NewKey, organisation: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "uid": made.uid,
        "api_key": made.key,
        "organisation": organisation,
        "pharmacy_uid": facts["pharmacy_uid"],
        "name": facts["name"],
        "permissions": list(facts["permissions"]),
        "expires_at": made.expires_at,
        "rate_limit_per_second": facts["rate_limit_per_second"],
        "rate_limit_per_minute": facts["rate_limit_per_minute"],
    }


def _tell(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    from rxdesk.cli.common import plain

    until = f", until {plain(made['expires_at'])}" if made["expires_at"] else ""
    whose = f"pharmacy {made['pharmacy_uid']} of " if made["pharmacy_uid"] else ""
    print(f"{made['uid']} created for {whose}{made['organisation']}{until}. The key is shown this once:\n")
    print(f"  {made['api_key']}\n")
    print("Permissions: " + (", ".join(made["permissions"]) or "none"))


@app.command(
    epilog=EPILOG
    + 'rxdesk keys create --organisation nordlicht --name "ERP" --permission order:read --permission '
    "prescription:read\n\nrxdesk keys create --organisation nordlicht --name audit --all-permissions "
    "--expires 90d --json\n\nrxdesk keys create --organisation nordlicht --name till --pharmacy "
    "ph-01J… --all-permissions"
)
def create(  # noqa: PLR0913 (the options of a verb)
    *,
    organisation: OrganisationSlug,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Who uses it, so that you know it again.")
    ],
    permission: Annotated[
        list[str] | None,
        typer.Option(
            "--permission",
            metavar="P",
            show_default=False,
            help=f"What it may do, of {', '.join(ALL)}. Repeat it for each.",
        ),
    ] = None,
    all_permissions: Annotated[
        bool, typer.Option("--all-permissions", help="Everything that there is to permit.")
    ] = False,
    pharmacy: Annotated[
        str | None,
        typer.Option(
            "--pharmacy",
            metavar="UID",
            show_default=False,
            help="A key of this pharmacy: for its own orders, stock and webhooks, and nothing else.",
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            metavar="WHEN",
            show_default=False,
            help="A length of time (12h, 90d, 2w) or a date, of which it ends at the beginning, in UTC (2026-12-31, "
            "or 2026-12-31T18:00:00Z). Never if left out.",
        ),
    ] = None,
    rate_limit_per_second: Annotated[
        int | None,
        typer.Option(
            "--rate-limit-per-second",
            metavar="N",
            parser=_up_to(1_000_000),
            show_default=False,
            help="Requests a second that it may make; 0: any number.",
        ),
    ] = None,
    rate_limit_per_minute: Annotated[
        int | None,
        typer.Option(
            "--rate-limit-per-minute",
            metavar="N",
            parser=_up_to(60_000_000),
            show_default=False,
            help="And a minute; 0: any number.",
        ),
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Mark it as a test key: rxd_test_….")] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it, this once: only a digest of it is stored.

    Without rate limits of its own it gets those of the settings.
    """
    from rxdesk.cli.times import expiry
    from rxdesk.kit.clock import utc_now
    from rxdesk.organisations import commands, queries

    settings = settings_of(data_dir, config).settings
    facts: dict[str, Any] = {
        "name": name.strip(),
        "pharmacy_uid": pharmacy,
        "permissions": _permissions(
            permission or [], every=all_permissions, of_pharmacy=pharmacy is not None
        ),
        "rate_limit_per_second": _or(rate_limit_per_second, settings.rate_limit_per_second),
        "rate_limit_per_minute": _or(rate_limit_per_minute, settings.rate_limit_per_minute),
    }
    expires_at = None if expires is None else expiry(expires, utc_now())

    async def work(connection: Connection) -> NewKey:
        of = await queries.organisation(connection, organisation)
        await commands.enter(connection, of.id)
        return await commands.create_key(
            connection,
            of.id,
            name=name,
            permissions=facts["permissions"],
            per_second=facts["rate_limit_per_second"],
            per_minute=facts["rate_limit_per_minute"],
            expires_at=expires_at,
            live=not test,
            pharmacy_uid=pharmacy,
        )

    _tell(_shown(on_database(settings, "keys", work), organisation, facts), as_json=as_json)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


@app.command("list", epilog=EPILOG + "rxdesk keys list --organisation nordlicht")
def list_(
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List an organisation's keys, newest first; what a key is cannot be shown again."""
    from rxdesk.organisations import commands, queries

    async def work(connection: Connection) -> list[dict[str, Any]]:
        of = await queries.organisation(connection, organisation)
        await commands.enter(connection, of.id)
        return await queries.keys(connection, of.id)

    found = on_database(settings_of(data_dir, config).settings, "keys", work)
    if as_json:
        print_json(found)
        return
    print_table(
        ("UID", "STATUS", "NAME", "PHARMACY", "KEY", "EXPIRES", "LAST USED", "PERMISSIONS"),
        [
            (
                k["uid"],
                k["status"],
                k["name"],
                k["pharmacy_uid"],
                k["hint"],
                k["expires_at"],
                k["last_used_at"],
                k["permissions"],
            )
            for k in found
        ],
    )


@app.command(
    epilog=EPILOG + "rxdesk keys rotate --organisation nordlicht key-01J…\n\n"
    "rxdesk keys rotate --organisation nordlicht key-01J… --overlap 0h --json"
)
def rotate(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="SPAN", help="How long the old one lives on: 0h to 7d.")
    ] = "24h",
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a new key with the same rights and let the old one end after an overlap."""
    from datetime import timedelta

    from rxdesk.cli.common import plain
    from rxdesk.cli.times import span
    from rxdesk.kit.clock import utc_now
    from rxdesk.organisations import commands, queries

    seconds = timedelta(0) if overlap.strip() == "0" else span(overlap)

    async def work(connection: Connection) -> dict[str, Any]:
        of = await queries.organisation(connection, organisation)
        await commands.enter(connection, of.id)
        made, ends_at = await commands.rotate_key(connection, of.id, uid=uid, overlap=seconds, now=utc_now())
        facts = next(key for key in await queries.keys(connection, of.id) if key["uid"] == made.uid)
        shown = _shown(made, organisation, facts)
        return {**shown, "rotated_from": {"uid": uid, "expires_at": ends_at}}

    made = on_database(settings_of(data_dir, config).settings, "keys", work)
    _tell(made, as_json=as_json)
    if not as_json:
        print(f"The old key {uid} ends at {plain(made['rotated_from']['expires_at'])}.")


@app.command(epilog=EPILOG + "rxdesk keys revoke --organisation nordlicht key-01J…")
def revoke(
    uid: Uid,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key: its next request is refused."""
    from rxdesk.kit.clock import utc_now
    from rxdesk.organisations import commands, queries

    async def work(connection: Connection) -> None:
        of = await queries.organisation(connection, organisation)
        await commands.enter(connection, of.id)
        await commands.revoke_key(connection, of.id, uid=uid, now=utc_now())

    on_database(settings_of(data_dir, config).settings, "keys", work)
    if as_json:
        print_json({"uid": uid, "organisation": organisation, "status": "revoked"})
        return
    print(f"{uid} is revoked.")
