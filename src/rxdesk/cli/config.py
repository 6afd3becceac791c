"""`rxdesk config`: the effective settings and where each came from."""

from __future__ import annotations

import typer

from rxdesk.cli.common import EPILOG, AsJson, ConfigFile, DataDir, print_json, print_table, settings_of


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

    rows = shown(settings_of(data_dir, config))
    if as_json:
        print_json(rows)
        return
    print_table(
        ("SETTING", "VALUE", "FROM"),
        [(row["name"], row["value"] if row["value"] != "" else "(empty)", row["origin"]) for row in rows],
    )
