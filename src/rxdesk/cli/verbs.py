"""The table of contents of the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

import typer

from rxdesk.cli import (
    check,
    config,
    demo,
    events,
    importing,
    keys,
    migrate,
    orders,
    organisations,
    pharmacies,
    prescriptions,
    serve,
    version,
    waiting_room,
    wallet,
    webhooks,
    worker,
)
from rxdesk.cli.common import EPILOG


def _version(value: bool) -> None:
    if value:
        version.version()
        raise typer.Exit


def _reflowed(verb: Callable[..., object] | None) -> str:
    """Give a verb's docstring with its paragraphs as one line each: Rich breaks them for the terminal's width."""
    paragraphs = (inspect.getdoc(verb) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


app = typer.Typer(
    name="rxdesk",
    help="RxDesk: a self-hosted server of the RxScale Management API.",
    epilog=EPILOG
    + "A first look: rxdesk demo\n\n"
    + "For production: rxdesk migrate, organisations create, keys create, serve",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback()
def rxdesk(
    *,
    version_: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the versions, as the verb does.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    """RxDesk: a self-hosted server of the RxScale Management API."""


for module in (demo, serve, worker, migrate, importing, config, check, version):
    module.register(app)
GROUPS = {
    "organisations": organisations.app,
    "keys": keys.app,
    "orders": orders.app,
    "prescriptions": prescriptions.app,
    "pharmacy-orders": pharmacies.orders,
    "pharmacy-skus": pharmacies.skus,
    "waiting-room": waiting_room.app,
    "events": events.app,
    "webhooks": webhooks.app,
    "wallet": wallet.app,
}
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def _reflow(group: typer.Typer) -> None:
    for command in group.registered_commands:
        command.help = _reflowed(command.callback)
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _reflow(inner.typer_instance)


_reflow(app)
