"""`rxdesk webhooks`: subscriptions and their deliveries, sending again, and help for those who write receivers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rxdesk.cli import webhooks_secrets, webhooks_try
from rxdesk.cli.api import looked_up
from rxdesk.cli.common import (
    EPILOG,
    AsJson,
    CliError,
    ConfigFile,
    DataDir,
    OrganisationSlug,
    on_organisation,
    plain,
    print_json,
    print_table,
    printable,
    settings_of,
)
from rxdesk.cli.events import EventTypeOption, Limit, Page, instant, known_type, print_rest
from rxdesk.cli.webhooks_secrets import SubscriptionUid

app = typer.Typer(
    help="Look at webhook deliveries, send again, and try a receiver out.", no_args_is_help=True
)
DeliveryUid = Annotated[
    str, typer.Argument(metavar="UID", help="The delivery's uid, as `rxdesk webhooks deliveries` shows it.")
]
OfSubscription = Annotated[
    str | None,
    typer.Option("--subscription", metavar="UID", show_default=False, help="Of one subscription."),
]
webhooks_try.register(app)
_STATUSES = ("pending", "delivered", "failed", "cancelled")


def _seconds(text: str | None) -> int | None:
    """Read a time: a span before now (`2h`) or an instant; None stays None. Raises CliError."""
    from rxdesk.cli.times import past
    from rxdesk.kit.clock import unix, utc_now

    return None if text is None else unix(past(text, utc_now()))


@app.command(epilog=EPILOG + "rxdesk webhooks subscriptions --organisation nordlicht")
def subscriptions(
    *,
    organisation: OrganisationSlug,
    page: Page = 0,
    limit: Limit = 200,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List all subscriptions, newest first, those that ended with the reason.

    `removed`: by its owner. `gone`: the receiver answered 410. `failing`: nothing but failures for days. The last two
    come back with `rxdesk webhooks enable`.
    """
    from rxdesk.webhooks import log

    arguments = (limit, page * limit)
    found = looked_up(data_dir, config, organisation, log.SUBSCRIPTIONS, *arguments, what="subscription")
    if as_json:
        print_json(found)
        return
    print_table(
        ("UID", "STATE", "SINCE", "FAILING SINCE", "TYPE", "TARGET", "PHARMACY"),
        [
            (
                n["uid"],
                n["deactivated_reason"] or "active",
                instant(n["deactivated_at"] or n["created_at"]),
                instant(n["failing_since"]),
                n["notification_type"],
                n["target"],
                n["pharmacy_uid"],
            )
            for n in found["data"]
        ],
    )
    print_rest(found, page)


@app.command(
    epilog=EPILOG + "rxdesk webhooks deliveries --organisation nordlicht --status failed --since 2d\n\n"
    "rxdesk webhooks deliveries --organisation nordlicht --subscription ns-01J… --json"
)
def deliveries(  # noqa: PLR0913 (the options of a verb)
    *,
    organisation: OrganisationSlug,
    subscription: OfSubscription = None,
    event: Annotated[
        str | None, typer.Option("--event", metavar="UID", show_default=False, help="Of one event.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="S", show_default=False, help=f"One of {', '.join(_STATUSES)}."),
    ] = None,
    type_: EventTypeOption = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            show_default=False,
            help="From then on: 2h, 3d (ago), or a time, in UTC.",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", show_default=False, help="Before then.")
    ] = None,
    page: Page = 0,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=200, help="Rows a page.")] = 50,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first: which event, to whom, and what came of the last attempt.

    A `pending` one will be attempted again, a `failed` one has no attempts left, a `cancelled` one has lost its
    subscription.
    """
    from typing import cast

    from rxdesk.webhooks import log
    from rxdesk.webhooks.log_schemas import DeliveriesWanted

    if status is not None and status not in _STATUSES:
        message = f"there is no status {status!r}; there are: {', '.join(_STATUSES)}"
        raise CliError(message)
    wanted = DeliveriesWanted(
        page=page,
        limit=limit,
        subscription_uid=subscription,
        event_uid=event,
        status=cast("Any", status),
        kind=cast("Any", known_type(type_)),
        since=_seconds(since),
        until=_seconds(until),
    )
    read, arguments = log.deliveries(wanted)
    found = looked_up(data_dir, config, organisation, read, *arguments, what="delivery")
    if as_json:
        print_json(found)
        return
    print_table(
        ("UID", "STATUS", "ATTEMPTS", "LAST", "NEXT", "TYPE", "SUBJECT", "TARGET"),
        [
            (
                d["uid"],
                d["status"],
                d["attempt_count"],
                " ".join(str(part) for part in (d["last_status_code"], d["last_error"]) if part),
                instant(d["next_attempt_at"]),
                d["event_type"],
                d["subject_uid"],
                d["target"],
            )
            for d in found["data"]
        ],
    )
    print_rest(found, page)


@app.command(epilog=EPILOG + "rxdesk webhooks show --organisation nordlicht dlv-01J….01J…")
def show(
    uid: DeliveryUid,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a delivery with every attempt: when, how long, what the receiver answered, what went wrong."""
    from rxdesk.webhooks import log

    found = looked_up(data_dir, config, organisation, log.DELIVERY, uid, what=f"delivery {uid!r}")
    if as_json:
        print_json(found)
        return
    print(f"{uid}: {found['status']}")
    print(f"{found['event_type']} of {found['subject_uid']}, event {found['event_uid']}")
    print(printable(f"to {found['target']} ({found['subscription_uid']})\n"))
    print_table(
        ("NO", "STARTED", "MS", "STATUS", "ERROR", "ANSWER"),
        [
            (
                a["number"],
                instant(a["started_at"]),
                a["duration_ms"],
                a["status_code"],
                a["error"],
                a["answer"][:200],
            )
            for a in found["attempts"]
        ],
    )
    if found["next_attempt_at"]:
        print(f"\nNext attempt: {plain(instant(found['next_attempt_at']))}")


@app.command(epilog=EPILOG + "rxdesk webhooks retry --organisation nordlicht dlv-01J….01J…")
def retry(
    uid: DeliveryUid,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Attempt one delivery again at once, whatever became of it; the receiver sees the same `webhook-id`."""
    from rxdesk.webhooks import redelivery

    settings = settings_of(data_dir, config).settings
    made = on_organisation(settings, "webhooks", organisation, lambda tx: redelivery.retry(tx, uid))
    if as_json:
        print_json(made)
        return
    print(f"{uid} will be attempted at once; see `rxdesk webhooks show`.")


@app.command(
    epilog=EPILOG + "rxdesk webhooks replay --organisation nordlicht --since 2d --subscription ns-01J…\n\n"
    "rxdesk webhooks replay --organisation nordlicht --since 2026-03-01 --until 2026-03-02 --all"
)
def replay(  # noqa: PLR0913 (the options of a verb)
    *,
    organisation: OrganisationSlug,
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="WHEN", help="What happened from then on: 2h, 3d (ago), or a time, in UTC."
        ),
    ],
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", show_default=False, help="And before then.")
    ] = None,
    type_: EventTypeOption = None,
    subscription: OfSubscription = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what was delivered, not only what is missing.")
    ] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Send again what happened since a time and was not delivered.

    Also what a subscription missed while it was not active. Without --subscription it is for all active ones, for each
    from its making on; a named one also gets what happened before. Called twice it sends nothing twice.
    """
    from typing import cast

    from rxdesk.webhooks import redelivery
    from rxdesk.webhooks.log_schemas import Replay

    settings = settings_of(data_dir, config).settings
    body = Replay(
        since=_seconds(since) or 0,
        until=_seconds(until),
        subscription_uid=subscription,
        kind=cast("Any", known_type(type_)),
        everything=everything,
    )
    if body.until is not None and body.until <= body.since:
        raise CliError("--until must be after --since")

    armed = 0
    while True:  # a transaction for each few thousand events, so that deliveries begin meanwhile
        done = on_organisation(settings, "webhooks", organisation, lambda tx: redelivery.replay(tx, body))
        armed += done.armed
        if done.next is None:
            break
        body.after = done.next
    if as_json:
        print_json({"organisation": organisation, "armed": armed})
        return
    print(f"{armed} {'delivery' if armed == 1 else 'deliveries'} will be attempted at once.")


@app.command(epilog=EPILOG + "rxdesk webhooks enable --organisation nordlicht ns-01J…")
def enable(
    uid: SubscriptionUid,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a subscription active again that ended by itself, and say how to bring what it has missed."""
    from rxdesk.webhooks import commands

    settings = settings_of(data_dir, config).settings
    made = on_organisation(
        settings, "webhooks", organisation, lambda tx: commands.enable_subscription(tx, uid)
    )
    if as_json:
        print_json(made)
    elif made.replay is None:
        print(f"{uid} was active already.")
    else:
        print(f"{uid} is active again. To bring what it has missed:")
        since = plain(instant(made.replay.since))
        print(f"  rxdesk webhooks replay --organisation {organisation} --subscription {uid} --since {since}")


@app.command(epilog=EPILOG + "rxdesk webhooks disable --organisation nordlicht ns-01J…")
def disable(
    uid: SubscriptionUid,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """End any subscription, a pharmacy's too: what waits for it is cancelled. It cannot be enabled again."""
    from rxdesk.webhooks import commands

    settings = settings_of(data_dir, config).settings
    on_organisation(settings, "webhooks", organisation, lambda tx: commands.disable_subscription(tx, uid))
    print(f"{uid} has ended: nothing is sent to it any more.")


webhooks_secrets.register(app)
