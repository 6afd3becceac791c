"""The table of contents of the command line."""

from __future__ import annotations

import typer

from rxdesk.cli import check, config, demo, importing, keys, migrate, organisations, serve, version, worker
from rxdesk.cli.common import EPILOG

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
for module in (demo, serve, worker, migrate, importing, config, check, version):
    module.register(app)
app.add_typer(organisations.app, name="organisations")
app.add_typer(keys.app, name="keys")
