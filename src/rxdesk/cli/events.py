"""`rxdesk events`: what has happened in an organisation."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from rxdesk.cli.api import looked_up
from rxdesk.cli.common import (
    EPILOG,
    AsJson,
    ConfigFile,
    DataDir,
    OrganisationSlug,
    print_json,
    print_table,
)

app = typer.Typer(
    help="Look at events: each change that subscriptions hear of, with the exact body that is sent.",
    no_args_is_help=True,
)
EventTypeOption = Annotated[
    str | None,
    typer.Option(
        "--type", metavar="TYPE", show_default=False, help="Of one type, such as pharmacy_order_updated."
    ),
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="At most so many.")]
Page = Annotated[
    int, typer.Option("--page", metavar="N", min=0, max=9_999_999_999, help="Of the list, from 0.")
]


def print_rest(found: dict[str, Any], page: int) -> None:
    """Say how to see the pages of a list that follow, if there are any."""
    if found["totalPages"] > page + 1:
        print(f"{found['totalRegistries']} in all; the next ones: --page {page + 1}")


def known_type(text: str | None) -> str | None:
    """Give the event type, or None for all. Raises CliError naming what there is."""
    import difflib

    from rxdesk.cli.common import CliError
    from rxdesk.webhooks.events import EVENT_TYPES

    if text is None or text in EVENT_TYPES:
        return text
    near = difflib.get_close_matches(text, EVENT_TYPES, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else "."
    message = f"there is no event type {text!r}{hint} There are: {', '.join(EVENT_TYPES)}"
    raise CliError(message)


def instant(seconds: int | None) -> object:
    """Give Unix seconds as an instant that is printed."""
    from datetime import UTC, datetime

    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


@app.command(
    "list",
    epilog=EPILOG + "rxdesk events list --organisation nordlicht --type order_updated\n\n"
    "rxdesk events list --organisation nordlicht --after evt-01J… --json",
)
def list_(
    *,
    organisation: OrganisationSlug,
    type_: EventTypeOption = None,
    after: Annotated[
        str,
        typer.Option("--after", metavar="UID", show_default=False, help="Only those that followed this one."),
    ] = "",
    limit: Limit = 50,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List events in the order they happened, from the oldest kept or from one on.

    Each with its subject, which is the uid of what changed; --json prints the bodies too, and `next`, which is what
    to give as --after the next time.
    """
    from rxdesk.webhooks import log

    arguments = (after, limit, known_type(type_), *log.WHOLE_FOR)
    found = looked_up(data_dir, config, organisation, log.EVENTS, *arguments, what=f"event {after!r}")
    if as_json:
        print_json(found)
        return
    print_table(
        ("UID", "HAPPENED", "TYPE", "SUBJECT"),
        [(e["uid"], instant(e["occurred_at"]), e["event_type"], e["subject_uid"]) for e in found["data"]],
    )
    if len(found["data"]) == limit:
        print(f"There may be more; the next ones: --after {found['next']}")


@app.command(epilog=EPILOG + "rxdesk events show --organisation nordlicht evt-01J…")
def show(
    uid: Annotated[
        str, typer.Argument(metavar="UID", help="The event's uid: the `webhook-id` of its deliveries.")
    ],
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show an event with its whole body, and what became of its deliveries."""
    from rxdesk.webhooks import log
    from rxdesk.webhooks.log_schemas import DeliveriesWanted

    event = looked_up(data_dir, config, organisation, log.EVENT, uid, *log.WHOLE_FOR, what=f"event {uid!r}")
    read, arguments = log.deliveries(DeliveriesWanted(event_uid=uid, limit=200))
    event["deliveries"] = looked_up(data_dir, config, organisation, read, *arguments, what="event")["data"]
    if as_json:
        print_json(event)
        return
    print(f"{event['uid']}  {event['event_type']} of {event['subject_uid']}\n")
    print(json.dumps(event["body"], ensure_ascii=False, indent=2))
    print()
    print_table(
        ("DELIVERY", "STATUS", "ATTEMPTS", "TARGET"),
        [(d["uid"], d["status"], d["attempt_count"], d["target"]) for d in event["deliveries"]],
    )
