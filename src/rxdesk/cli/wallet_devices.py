"""`rxdesk wallet pushes` and `rxdesk wallet logs`: what became of pushes, and what devices report."""

from __future__ import annotations

from typing import Annotated

import typer

from rxdesk.cli.api import looked_up
from rxdesk.cli.common import EPILOG, AsJson, ConfigFile, DataDir, OrganisationSlug, print_json, print_table


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(epilog=EPILOG + "rxdesk wallet pushes --organisation nordlicht --pass wp-1")(pushes)
    app.command(epilog=EPILOG + "rxdesk wallet logs --organisation nordlicht")(logs)


def logs(
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what devices have reported of the web service that they ask for newer passes, newest first."""
    from datetime import UTC, datetime

    from rxdesk.wallet.passkit import DEVICE_LOGS

    found = looked_up(data_dir, config, organisation, DEVICE_LOGS)
    if as_json:
        print_json(found)
        return
    rows = [(datetime.fromtimestamp(one["at"], UTC), one["message"]) for one in found]
    print_table(("AT", "MESSAGE"), rows)


def pushes(
    *,
    organisation: OrganisationSlug,
    uid: Annotated[
        str | None, typer.Option("--pass", metavar="UID", show_default=False, help="Only those to this pass.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=200, help="At most so many.")] = 50,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show push notifications, newest first, and what became of each on the devices that hold the pass."""
    from datetime import UTC, datetime

    from rxdesk.wallet.telling import NOTIFICATIONS

    found = looked_up(data_dir, config, organisation, NOTIFICATIONS, uid, limit, 0)
    if as_json:
        print_json(found)
        return
    none = {"device": None, "status": "no_device", "reason": None}
    rows = [
        (
            datetime.fromtimestamp(one["created_at"], UTC),
            one["wallet_pass_uid"],
            device["device"],
            device["status"],
            device["reason"],
            one["message"],
        )
        for one in found["data"]
        for device in one["devices"] or [none]
    ]
    print_table(("AT", "PASS", "DEVICE", "STATUS", "REASON", "MESSAGE"), rows)
