"""`rxdesk webhooks listen`, `trigger`, `verify`: for those who write a receiver."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rxdesk.cli.common import (
    EPILOG,
    AsJson,
    CliError,
    ConfigFile,
    DataDir,
    OrganisationSlug,
    database,
    on_organisation,
    printable,
    settings_of,
)
from rxdesk.cli.events import EventTypeOption, known_type

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from rxdesk.cli.listening import Heard

    Tell: TypeAlias = Callable[[Heard], None]
    Answered: TypeAlias = Callable[[Heard, dict[str, Any]], None]

_STYLES = {True: "green", False: "red"}


def listen(
    *,
    organisation: OrganisationSlug,
    forward_to: Annotated[
        str | None,
        typer.Option(
            "--forward-to",
            metavar="URL",
            show_default=False,
            help="Post each event there, signed; a program on this machine.",
        ),
    ] = None,
    type_: EventTypeOption = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print each event as it happens and post it, signed, to a local program; Ctrl-C ends it.

    Beside a running server, whose subscriptions stay as they are: nothing has to be reachable from outside. Both
    signatures are made with a fresh secret, which is printed first. Events are posted one after the other; what the
    program answers is printed when it has, and nothing is tried twice. With --json each line is a JSON object: first
    {"signing_secret": …}, then {"event": …, "forward": …} for each event, once it was forwarded.
    """
    import asyncio
    import secrets

    from rxdesk.cli.listening import Listener, forwarding
    from rxdesk.kit.signing import new_signing_secret

    settings = settings_of(data_dir, config).settings
    kind = known_type(type_)
    post = None if forward_to is None else forwarding(settings, forward_to)
    secret = new_signing_secret(secrets.token_bytes)
    with database(settings, "listen") as location:
        if location.kept is not None:
            raise CliError("no server is running on this folder: start `rxdesk demo` or `rxdesk serve` first")
        first = json.dumps({"signing_secret": secret}) if as_json else f"Signing secret: {secret}"
        tell, answered = _json_tellers(forwarded=post is not None) if as_json else _tellers()
        listener = Listener(
            location.app, organisation, kind, secret, post, lambda: print(first, flush=True), tell, answered
        )
        asyncio.run(listener.run())


def _json_tellers(*, forwarded: bool) -> tuple[Tell, Answered]:
    """One line an event, so with what was answered where it is forwarded."""

    def line(heard: Heard, forward: dict[str, Any] | None) -> None:
        print(json.dumps({"event": heard.event, "forward": forward}, ensure_ascii=False), flush=True)

    return (lambda heard: None if forwarded else line(heard, None)), line


def _tellers() -> tuple[Tell, Answered]:
    """A line when an event happens, and one below it, or below those that came meanwhile, for what was answered."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)

    def tell(heard: Heard) -> None:
        event = heard.event
        line = Text(f"{heard.clock}  ")
        line.append(event["event_type"], style="bold cyan")
        line.append(f"  {printable(event['subject_uid'])}  ")
        line.append(event["uid"], style="dim")
        console.print(line)
        sys.stdout.flush()

    def answered(heard: Heard, forward: dict[str, Any]) -> None:
        said = " ".join(str(p) for p in (forward["status_code"], forward["error"]) if p is not None)
        line = Text(" " * len(heard.clock) + "  → ")
        line.append(said, style=_STYLES[forward["error"] is None])
        line.append(f" in {forward['duration_ms']} ms  ")
        line.append(heard.event["uid"], style="dim")
        console.print(line)
        sys.stdout.flush()

    return tell, answered


def trigger(
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="An event type, such as order_updated.")],
    *,
    organisation: OrganisationSlug,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a real change of which an event of the type is told: the same that a request of the API makes.

    It changes data, so use it on a demo or a test organisation. Subscriptions and `rxdesk webhooks listen` hear of it.
    """
    from rxdesk.cli.common import print_json
    from rxdesk.cli.triggering import TRIGGERS, UNTRIGGERED, Triggered
    from rxdesk.cli.triggering import trigger as run

    kind = known_type(type_)
    if kind in UNTRIGGERED:
        message = f"{type_} cannot be triggered: {UNTRIGGERED[kind]}; these can: {', '.join(TRIGGERS)}"
        raise CliError(message)
    settings = settings_of(data_dir, config).settings

    async def command(tx: Any) -> Triggered:  # noqa: ANN401 (a Transaction)
        return await run(tx, settings, str(kind))

    made = on_organisation(settings, "trigger", organisation, command)
    if as_json:
        print_json({"event_type": kind, "event_uid": made.event_uid, "subject_uid": made.subject_uid})
        return
    print(f"{made.what}. Event {made.event_uid}, {kind} of {made.subject_uid}.")


def verify(
    context: typer.Context,
    *,
    body: Annotated[
        Path, typer.Option("--body", metavar="FILE", help="The raw body as it came, to the byte; - reads it.")
    ],
    header: Annotated[
        list[str],
        typer.Option("--header", metavar="'NAME: VALUE'", help="A header as it came; repeat it for each."),
    ],
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret",
            metavar="SECRET",
            envvar="SIGNING_SECRET",
            show_default=False,
            help="The subscription's signing secret: whsec_… As an argument it shows in lists of processes and in the "
            "shell's history: set the variable, or use --secret-file.",
        ),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            "--secret-file",
            metavar="FILE",
            show_default=False,
            help="Read the secret from a file; - reads it from standard input.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a delivery that a receiver refuses, and say exactly what is wrong with it.

    The secret's form, both signatures, the age, headers that are missing, and a body that was read and written again.
    Exit status 0: all is well; 1: something is not.
    """
    from rxdesk.cli.common import print_json
    from rxdesk.kit.clock import unix, utc_now
    from rxdesk.kit.verification import diagnose

    key = _secret(context, secret, secret_file, body)
    headers = [_header(one) for one in header]
    content = _content(body)
    findings = diagnose(key, headers, content, unix(utc_now()))
    well = all(one.well for one in findings)
    if as_json:
        print_json(
            {
                "verified": well,
                "findings": [{"name": f.name, "well": f.well, "message": f.message} for f in findings],
            }
        )
    else:
        for found in findings:
            print(printable(f"{'ok  ' if found.well else 'BAD '} {found.name}: {found.message}"))
    if not well:
        raise typer.Exit(1)


def _content(file: Path) -> bytes:
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()


def _secret(context: typer.Context, given: str | None, file: Path | None, body: Path) -> str:
    """Give the secret from the file, else from the argument or the variable."""
    if file is None:
        if not given:
            raise CliError("no secret: set SIGNING_SECRET, or give --secret-file FILE, - for standard input")
        return given
    source = context.get_parameter_source("secret")
    if source is not None and source.name == "COMMANDLINE":
        raise CliError("give --secret or --secret-file, not both")
    if str(file) == str(body) == "-":
        raise CliError("--body and --secret-file cannot both be read from standard input")
    try:
        return _content(file).decode().strip()  # editors and `echo` end it with a line feed
    except UnicodeDecodeError:
        raise CliError("what --secret-file names is not text") from None


def _header(given: str) -> tuple[str, str]:
    name, colon, value = given.partition(":")
    if not colon:
        message = f"--header {given!r} is not of the form 'NAME: VALUE'"
        raise CliError(message)
    if any("\ud800" <= letter <= "\udfff" for letter in given):  # bytes that are not UTF-8
        message = f"--header {given!r} is not text: give it as it came, in UTF-8"
        raise CliError(message)
    return name, value


def register(app: typer.Typer) -> None:
    """Add the three verbs."""
    app.command(
        epilog=EPILOG
        + "rxdesk webhooks listen --organisation lindvara --forward-to http://127.0.0.1:3000/hook\n\n"
        "rxdesk webhooks listen --organisation lindvara --type order_updated --json"
    )(listen)
    app.command(epilog=EPILOG + "rxdesk webhooks trigger pharmacy_order_updated --organisation lindvara")(
        trigger
    )
    app.command(
        epilog=EPILOG + "rxdesk webhooks verify --secret-file secret.txt --body body.json "
        "--header 'webhook-id: evt-01J…' --header 'webhook-timestamp: 1711900000' "
        "--header 'webhook-signature: v1,…' --header 'X-Webhook-Signature: …'\n\n"
        'SIGNING_SECRET="$(pass show hook)" rxdesk webhooks verify --body - --header … < body.json'
    )(verify)
