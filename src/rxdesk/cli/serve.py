"""`rxdesk serve`: the production verb; and what it shares with `rxdesk demo`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rxdesk.cli.common import (
    EPILOG,
    CliError,
    ConfigFile,
    DataDir,
    Ended,
    encryption_keys,
    end_on_signals,
    named_path,
    refuse_absent,
    settings_of,
)

if TYPE_CHECKING:
    import socket

    from rxdesk.db.location import Location
    from rxdesk.settings import Settings

BASE = "/v1/management"
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="IP", show_default=False, help="Where to listen (RXDESK_ADDRESS)."),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        show_default=False,
        help="Port to listen on; 0 picks a free one (RXDESK_PORT).",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, max=256, show_default=False, help="Serving processes (RXDESK_WORKERS)."),
]
ReadyFile = Annotated[
    Path | None,
    typer.Option(
        "--ready-file",
        parser=named_path,
        metavar="FILE",
        show_default=False,
        help="Write this file, as JSON, once requests are answered; it is removed at the end.",
    ),
]
NoWorker = Annotated[
    bool, typer.Option("--no-worker", help="Deliver no webhooks here: `rxdesk worker` does, elsewhere.")
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=EPILOG + "rxdesk serve --data-dir /var/lib/rxdesk --workers 2\n\n"
        "RXDESK_DATABASE_URL=postgresql://rxdesk_app:…@db/rxdesk RXDESK_ENCRYPTION_KEYS=k1:… rxdesk serve\n\n"
        "rxdesk serve --config /etc/rxdesk.toml --address 0.0.0.0"
    )(serve)


def serve(
    *,
    address: Address = None,
    port: Port = None,
    workers: Workers = None,
    ready_file: ReadyFile = None,
    no_worker: NoWorker = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Serve the Management API until SIGTERM or Ctrl-C.

    It refuses to start, and says why, when the settings, the port, the encryption key, the database, its
    version, the role or the schema are not as they must be. Logs are JSON lines on standard error.
    """
    end_on_signals()
    with until_ended():
        settings = settings_of(data_dir, config, address=address, port=port, workers=workers).settings
        refuse_without_keys(settings)
        refuse_absent(settings)
        with (
            located_for_serving(settings, "serve", ready_file=ready_file) as (location, holder),
            ready_of(ready_file) as write_ready,
        ):
            keys = fitting_keys(settings, location)
            number = holder.getsockname()[1]
            run(
                settings,
                location,
                keys,
                number,
                ready=lambda: write_ready({"base_url": url_of(settings, number)}),
                worker=not no_worker,
            )


# --------------------------------------------------------------------------------- shared with demo and worker
def refuse_without_keys(settings: Settings) -> None:
    """Refuse a database elsewhere without keys of ours."""
    if settings.database_url and not settings.encryption_keys:
        message = (
            "encryption_keys is not set, and with database_url no key is made: set "
            "RXDESK_ENCRYPTION_KEYS to id:base64 of 32 random bytes, such as "
            "k1:$(head -c 32 /dev/urandom | base64), and keep it"
        )
        raise CliError(message)


@contextlib.contextmanager
def until_ended() -> Iterator[None]:
    """Take a signal to end for success: whoever serves is meant to be stopped."""
    try:
        yield
    except Ended:
        raise typer.Exit(0) from None


@contextlib.contextmanager
def ready_of(file: Path | None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Give the function that writes the ready file; one of an earlier run is removed, and ours at the end.

    To be entered by whoever holds port and data folder: before, the file may be that of a server that runs.
    """
    from rxdesk.kit.files import write_privately

    written = False

    def write(content: Mapping[str, Any]) -> None:
        nonlocal written
        if file is not None:
            written = True
            write_privately(file, json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n")

    if file is not None:
        file.unlink(missing_ok=True)
    try:
        yield write
    finally:
        if file is not None and written:
            file.unlink(missing_ok=True)


@contextlib.contextmanager
def located_for_serving(
    settings: Settings,
    purpose: str,
    say: Callable[[str], None] = lambda _: None,
    *,
    ready_file: Path | None = None,
) -> Iterator[tuple[Location, socket.socket]]:
    """Hold the port, then the database; meanwhile import what forked workers need."""
    from rxdesk import preflight
    from rxdesk.kit.ports import hold_port

    preflight.check_settings(settings, settings.encryption_keys or None)
    folder = None if ready_file is None else ready_file.parent
    if folder is not None and folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        message = f"the ready file cannot be written to {folder}"
        raise CliError(message)
    with hold_port(settings.address, settings.port) as holder:
        threading.Thread(target=_preload, name="preload").start()  # the exit waits for it
        from rxdesk.db.location import located

        with located(
            database_url=settings.database_url,
            data_dir=settings.data_dir,
            purpose=purpose,
            own=True,
            say=say,
            connections=settings.all_connections(),
        ) as location:
            yield location, holder


def _preload() -> None:
    from rxdesk.serving import forks

    if forks():
        with contextlib.suppress(Exception):  # it is said where it is needed
            import uvloop  # noqa: F401

            import rxdesk.app  # noqa: F401


def fitting_keys(settings: Settings, location: Location) -> str:
    """Refuse a database of a wrong version, role or schema; give the encryption keys that fit it."""
    import asyncio

    from rxdesk.db.location import connected, inspect

    async def look() -> str:
        async with connected(location.app) as connection:
            wrong = [finding.message for finding in await inspect(connection) if not finding.well]
            if wrong:
                raise CliError("; ".join(wrong))
            return await encryption_keys(settings, connection)

    return asyncio.run(look())


def url_of(settings: Settings, port: int) -> str:
    """Give the base URL of the API."""
    from rxdesk.kit.ports import base_url

    return base_url(settings.address, port) + BASE


def run(
    settings: Settings,
    location: Location,
    keys: str,
    port: int,
    *,
    ready: Callable[[], None],
    probe: tuple[str, Mapping[str, str]] = ("/livez", {}),
    worker: bool = True,
) -> None:
    """Serve on the held port until a signal; the embedded PostgreSQL is looked after meanwhile."""
    import structlog

    from rxdesk import serving

    log = structlog.get_logger("rxdesk.postgresql")
    kept = location.kept
    started = [] if kept is None else [lambda: kept.watch(log.warning)]
    serving.serve(
        serving.Launch(settings, location.app, keys),
        port,
        ready=ready,
        probe=probe,
        started=started,
        worker=worker,
    )
    sys.stdout.flush()
