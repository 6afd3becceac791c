"""`rxdesk worker`: deliveries alone, beside a server or on another machine."""

from __future__ import annotations

from typing import Annotated

import typer

from rxdesk.cli.common import EPILOG, ConfigFile, DataDir, end_on_signals, note, refuse_absent, settings_of
from rxdesk.cli.serve import fitting_keys, refuse_without_keys, until_ended

Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        min=4,
        max=1024,
        show_default=False,
        help="Deliveries in flight at most (RXDESK_WORKER_CONCURRENCY).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=EPILOG + "rxdesk worker --data-dir /var/lib/rxdesk\n\n"
        "RXDESK_DATABASE_URL=postgresql://rxdesk_app:…@db/rxdesk RXDESK_ENCRYPTION_KEYS=k1:… rxdesk worker"
    )(worker)


def worker(*, concurrency: Concurrency = None, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Deliver webhooks until SIGTERM or Ctrl-C; any number of workers share one database.

    It works beside a server that runs, refuses to start as `serve` does, and ends what is in flight before it ends.
    What it could not end is another worker's, or its own at the next start. Logs are JSON lines on standard error.
    """
    end_on_signals()
    with until_ended():
        from rxdesk import preflight, serving
        from rxdesk.db.location import located
        from rxdesk.kit import logs

        settings = settings_of(data_dir, config, worker_concurrency=concurrency).settings
        refuse_without_keys(settings)
        refuse_absent(settings)
        preflight.check_settings(settings, settings.encryption_keys or None)
        with located(
            database_url=settings.database_url,
            data_dir=settings.data_dir,
            purpose="worker",
            own=False,
            say=note,
        ) as location:
            keys = fitting_keys(settings, location)
            logs.configure(settings.log_level)
            with serving.metrics_shown(settings):
                from rxdesk.working import work_until_told

                work_until_told(settings, location.app, keys)
