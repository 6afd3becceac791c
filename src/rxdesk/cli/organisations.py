"""`rxdesk organisations`: the tenants of this installation."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rxdesk.cli.common import (
    EPILOG,
    AsJson,
    ConfigFile,
    DataDir,
    counted,
    on_database,
    print_json,
    print_table,
    settings_of,
)

if TYPE_CHECKING:
    from rxdesk.db.pool import Connection
    from rxdesk.organisations.commands import Organisation

app = typer.Typer(
    help="Create and list organisations, and set how long their intents count.", no_args_is_help=True
)
_COLUMNS = ("number", "slug", "display_name", "uid", "public_code", "time_zone")
Slug = Annotated[str, typer.Argument(metavar="SLUG", help="Its short name: 1–63 of a–z, 0–9 and -.")]


def _shown(organisation: Organisation) -> dict[str, Any]:
    return {
        "number": organisation.id,
        "uid": organisation.uid,
        "slug": organisation.slug,
        "display_name": organisation.display_name,
        "public_code": organisation.public_code,
        "time_zone": organisation.time_zone,
    }


@app.command(
    epilog=EPILOG + 'rxdesk organisations create nordlicht --name "Nordlicht Telemedizin GmbH"\n\n'
    "rxdesk organisations create alpin --name Alpin --time-zone Europe/Vienna --json"
)
def create(
    slug: Slug,
    *,
    name: Annotated[
        str | None, typer.Option("--name", help="Its name for people; the slug if left out.")
    ] = None,
    time_zone: Annotated[
        str, typer.Option("--time-zone", help="Where its days begin and end, in statistics.")
    ] = "Europe/Berlin",
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Create an organisation. Its keys come next: `rxdesk keys create`."""
    from rxdesk.organisations import commands

    async def work(connection: Connection) -> Organisation:
        return await commands.create_organisation(
            connection, slug=slug, display_name=slug if name is None else name, time_zone=time_zone
        )

    made = on_database(settings_of(data_dir, config).settings, "organisations", work)
    if as_json:
        print_json(_shown(made))
        return
    print(f"{made.slug} created ({made.uid}).")
    where = "" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir))}"
    print(f"Next: rxdesk keys create{where} --organisation {made.slug} --name … --permission …")


@app.command("list", epilog=EPILOG + "rxdesk organisations list --json")
def list_(*, data_dir: DataDir = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List all organisations by slug: number (log lines name it), name, uid, public code and time zone."""
    from rxdesk.organisations import queries

    found = on_database(settings_of(data_dir, config).settings, "organisations", queries.organisations)
    if as_json:
        print_json([_shown(organisation) for organisation in found])
        return
    rows = [_shown(organisation) for organisation in found]
    print_table(
        ("NUMBER", "SLUG", "NAME", "UID", "CODE", "TIME ZONE"),
        [tuple(row[name] for name in _COLUMNS) for row in rows],
    )


@app.command("intent-window", epilog=EPILOG + "rxdesk organisations intent-window nordlicht asthma 180")
def intent_window(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="The organisation's short name.")],
    intent: Annotated[
        str, typer.Argument(metavar="INTENT", help="The intent's name, as submissions carry it.")
    ],
    days: Annotated[int, typer.Argument(metavar="DAYS", min=0, max=36500, help="Days for which it counts.")],
    *,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Set for how many days a patient's signed submission of an intent counts."""
    from rxdesk.organisations import commands, queries

    async def work(connection: Connection) -> None:
        organisation = await queries.organisation(connection, slug)
        await commands.enter(connection, organisation.id)
        await commands.set_intent_window(connection, organisation.id, intent=intent, days=days)

    on_database(settings_of(data_dir, config).settings, "organisations", work)
    if as_json:
        print_json({"organisation": slug, "intent": intent, "days": days})
        return
    print(f"{slug}: {intent} counts for {counted(days, 'day')}.")
