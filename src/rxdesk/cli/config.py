"""`rxdesk config`: the effective settings and where each came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from rxdesk.cli.common import EPILOG, AsJson, ConfigFile, DataDir, print_json, print_table, settings_of

if TYPE_CHECKING:
    from rxdesk.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=EPILOG + "rxdesk config\n\nRXDESK_WORKERS=4 rxdesk config --json\n\n"
        "rxdesk config --config /etc/rxdesk.toml"
    )(config)


def config(*, data_dir: DataDir = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Print every setting, its value and where it came from; secrets are hidden.

    A setting comes from the defaults, then a file (--config or RXDESK_CONFIG), then RXDESK_<OPTION> in the
    environment, then a flag: the later wins. docs/configuration.md describes each.
    """
    from rxdesk.settings import shown

    loaded = settings_of(data_dir, config)
    rows = shown(loaded)
    if as_json:
        print_json(rows)
        return
    print_table(
        ("SETTING", "VALUE", "FROM"),
        [(row["name"], _said(row["name"], row["value"], loaded.settings), row["origin"]) for row in rows],
    )


def _said(name: object, value: object, settings: Settings) -> object:
    """Give a value for people, who see what an empty one is, or one that stands for another."""
    if name == "database_pool_size" and value == 0:
        return f"0 ({settings.pool_size(settings.workers)} a worker, {settings.pool_size()} for deliveries)"
    return "(empty)" if value == "" else value
