"""`rxdesk webhooks rotate-secret` and `switch-secret`: another signing secret for a subscription."""

from __future__ import annotations

from typing import Annotated

import typer

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
    settings_of,
)
from rxdesk.cli.events import instant

SubscriptionUid = Annotated[
    str,
    typer.Argument(
        metavar="UID", help="The subscription's uid, as `rxdesk webhooks subscriptions` shows it."
    ),
]


def rotate_secret(
    uid: SubscriptionUid,
    *,
    organisation: OrganisationSlug,
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="SPAN", help="How long the old one signs on: 0h to 7d.")
    ] = "24h",
    switch_now: Annotated[
        bool,
        typer.Option(
            "--switch-now", help="Sign the vendor's header, which can carry one, with the new one at once."
        ),
    ] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a subscription a new signing secret and print it, this once.

    While the overlap lasts `webhook-signature` carries a signature of each secret, so a receiver that knows either one
    accepts. `X-Webhook-Signature` is the old one's until then, or with --switch-now the new one's.
    """
    from rxdesk.cli.times import span
    from rxdesk.webhooks import rotation
    from rxdesk.webhooks.log_schemas import LONGEST_OVERLAP, Rotation

    seconds = 0 if overlap.strip() == "0" else int(span(overlap).total_seconds())
    if seconds > LONGEST_OVERLAP:
        raise CliError("--overlap is 7d at most")

    body = Rotation(overlap_seconds=seconds, switch_now=switch_now)
    settings = settings_of(data_dir, config).settings
    made = on_organisation(settings, "webhooks", organisation, lambda tx: rotation.rotate(tx, uid, body))
    if as_json:
        print_json(made)
        return
    print(f"{uid} has a new signing secret. It is shown this once:\n\n  {made.signing_secret}\n")
    if made.previous_secret_until is not None:
        print(f"The old one signs beside it until {plain(instant(made.previous_secret_until))}.")


def switch_secret(
    uid: SubscriptionUid,
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Sign the vendor's header with the new secret from now on, before the overlap of a rotation ends."""
    from rxdesk.webhooks import rotation

    settings = settings_of(data_dir, config).settings
    on_organisation(settings, "webhooks", organisation, lambda tx: rotation.switch_now(tx, uid))
    print(f"X-Webhook-Signature of {uid} is the new secret's from now on.")


def register(app: typer.Typer) -> None:
    """Add these verbs to `rxdesk webhooks`."""
    app.command(
        "rotate-secret",
        epilog=EPILOG + "rxdesk webhooks rotate-secret --organisation nordlicht ns-01J…\n\n"
        "rxdesk webhooks rotate-secret --organisation nordlicht ns-01J… --overlap 0h",
    )(rotate_secret)
    app.command(
        "switch-secret", epilog=EPILOG + "rxdesk webhooks switch-secret --organisation nordlicht ns-01J…"
    )(switch_secret)
