"""`rxdesk waiting-room watch`: a shop's waiting room as it changes."""

from __future__ import annotations

import json
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
    settings_of,
)

if TYPE_CHECKING:
    from rxdesk.db.pool import Connection
    from rxdesk.settings import Settings

_ROWS = 50
# So often it is looked at in any case: that a doctor is away is told by no change.
_LOOK_SECONDS = 5.0


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog=EPILOG + "rxdesk waiting-room watch --organisation nordlicht shop-1")(watch)


def watch(
    shop: Annotated[str, typer.Argument(metavar="SHOP", help="The shop's uid.")],
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print each step of a visit in a shop, and how the shop stands after it, until Ctrl-C.

    With --json one line for each change: {"position": …, "steps": […], "board": {…}}.
    """
    settings = settings_of(data_dir, config).settings

    async def follow(connection: Connection) -> None:
        await _follow(connection, settings, organisation, shop, as_json=as_json)

    on_database(settings, "watch", follow, in_transaction=False)


async def _follow(connection: Connection, settings: Settings, slug: str, shop: str, *, as_json: bool) -> None:
    import asyncio
    from datetime import timedelta

    from rxdesk.access import look
    from rxdesk.kit.clock import utc_now
    from rxdesk.organisations import commands, queries
    from rxdesk.waiting_room import live, live_queries
    from rxdesk.waiting_room.lifecycle import Rules

    of = await queries.organisation(connection, slug)
    await commands.enter(connection, of.id)
    changed = asyncio.Event()
    await connection.add_listener(live.CHANNEL, lambda *_: changed.set())
    position: int | None = None
    before = ""
    while True:
        changed.clear()
        now = utc_now()
        shown = (shop, now - Rules.of(settings).heartbeat, _ROWS, 0)
        text = await look(connection, of.id, live_queries.SHOP, *shown, position, now - timedelta(hours=1))
        if text is None:
            raise CliError(f"there is no such shop in {slug}")
        found = json.loads(text)
        position = found["position"]
        if found["steps"] or found["document"] != before:
            before = found["document"]
            steps = [data for _, data in found["steps"]]
            _print(found["position"], steps, json.loads(before), as_json=as_json)
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await changed.wait()
        except TimeoutError:
            continue


def _print(position: int, steps: list[dict[str, Any]], board: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        line = {"position": position, "steps": steps, "board": board}
        print(json.dumps(line, ensure_ascii=False), flush=True)
        return
    for step in steps:
        print(f"{step['uid']}: {step['status']}")
    doctors = [f"{one['uid']} {one['status']}" for one in board["doctors"]]
    print(f"  {counts(board)}; on duty: {', '.join(doctors) or 'nobody'}", flush=True)


def counts(board: dict[str, Any]) -> str:
    """Say how many of a shop wait, and how many doctors have: of any doctor, on duty there or not."""
    return f"{board['totalRegistries']} waiting, {len(board['allocated'])} with doctors"
