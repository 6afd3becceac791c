"""`rxdesk import`: files into an organisation, with a report of every faulty line."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rxdesk.cli.common import (
    EPILOG,
    AsJson,
    CliError,
    ConfigFile,
    DataDir,
    OrganisationSlug,
    note,
    on_database,
    print_json,
    printable,
    settings_of,
)

if TYPE_CHECKING:
    from rich.progress import TaskID

    from rxdesk.db.pool import Connection
    from rxdesk.importing.report import FileReport, ImportReport, Phase, Progress

_LINE_EVERY_SECONDS = 5.0
_WORDS = {"reading": "reading", "checking": "checking references", "writing": "writing"}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "import",
        epilog=EPILOG + "rxdesk import --organisation nordlicht exports/\n\n"
        "rxdesk import --organisation nordlicht patients.ndjson orders-1.ndjson orders-2.ndjson\n\n"
        "rxdesk import --organisation nordlicht --kind orders dump.txt --json\n\n"
        "rxdesk import --organisation nordlicht --emit-events products.ndjson",
    )(import_command)


def import_command(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH…", help="NDJSON files, or folders of files named like orders.ndjson."),
    ],
    *,
    organisation: OrganisationSlug,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            show_default=False,
            help="What the files hold, if their names do not say it.",
        ),
    ] = None,
    emit_events: Annotated[
        bool,
        typer.Option(
            "--emit-events",
            help="Tell of orders, prescriptions, pharmacy orders, stock and visits that are new or changed.",
        ),
    ] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Import shops, products, patients, orders and what else an organisation has, from NDJSON files.

    A line is an object; it is stored under its uid, over what stood there. All files of one call are
    imported, or, with any fault in any of them, none: the report names line, field and reason. The formats
    are in docs/import.md.
    """
    from rxdesk.importing.files import find_files, ignored_files
    from rxdesk.importing.formats import KINDS

    known = next((name for name in KINDS if name == kind), None)
    if kind is not None and known is None:
        message = f"--kind {kind}: there is no such kind; it is one of {', '.join(KINDS)}"
        raise CliError(message)
    files = find_files(paths, known)

    async def work(connection: Connection) -> ImportReport:
        from rxdesk.importing.load import import_files
        from rxdesk.kit.clock import utc_now
        from rxdesk.organisations import commands, queries

        of = await queries.organisation(connection, organisation)
        await commands.enter(connection, of.id)
        with shown_progress() as progress:
            return await import_files(
                connection,
                of.id,
                files,
                now=utc_now(),
                progress=progress,
                events_by=utc_now if emit_events else None,
            )

    report = on_database(settings_of(data_dir, config).settings, "import", work, in_transaction=False)
    ignored = ignored_files(paths)
    if as_json:
        print_json({**report.as_json(), "ignored": ignored})
    else:
        for path in ignored:
            print(printable(f"ignored: {path} (its name says no kind; name it like orders-2.ndjson)"))
        print_report(report)
    if not report.ok:
        raise typer.Exit(1)


# -------------------------------------------------------------------------------------------------- progress
@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Show progress on standard error: a bar on a terminal, else a plain line every few seconds."""
    if not sys.stderr.isatty():
        yield _plain_lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[rate]:>8,.0f} rows/s"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[tuple[str, str], TaskID] = {}
        begun: dict[tuple[str, str], float] = {}

        def show(phase: Phase, file: str, done: int, total: int, rows: int) -> None:
            step = (file, phase)
            if step not in tasks:
                tasks[step] = bar.add_task(f"{file}: {_WORDS[phase]}", total=total, rate=0.0)
                begun[step] = time.monotonic()
            share = done / total if total and phase == "writing" else 1.0
            rate = rows * share / max(time.monotonic() - begun[step], 0.001)
            bar.update(tasks[step], completed=done, total=total, rate=rate)

        yield show


def _plain_lines() -> Progress:
    last = [time.monotonic()]

    def show(phase: Phase, file: str, done: int, total: int, rows: int) -> None:
        present = time.monotonic()
        if present - last[0] >= _LINE_EVERY_SECONDS:
            last[0] = present
            note(f"{file}: {_WORDS[phase]}, {100 * done // max(total, 1)} %, {rows} rows")

    return show


# ---------------------------------------------------------------------------------------------------- report
def print_report(report: ImportReport) -> None:
    """Print for each file what was written, or its faults."""
    for file in report.files:
        if file.fault_count:
            _print_faults(file)
        else:
            # Of a moment, the rate would tell of the moment.
            rate = f", {file.rows / file.seconds:,.0f} rows/s" if file.seconds >= 1 else ""
            read = "" if report.ok else "read and checked, not written: "
            size = f"{_counted(file.lines, 'line')}, {_counted(file.rows, 'row')}"
            print(printable(f"{file.path}: {read}{size} in {_took(file.seconds)}{rate}"))
            for table, written in file.written.items():
                if report.ok and (written.added or written.changed or written.removed):
                    print(
                        f"  {table}: {written.added} new, {written.changed} changed, "
                        f"{written.removed} removed"
                    )
    if report.ok:
        events = f" {_counted(report.events, 'event')}." if report.events else ""
        print(f"Imported in {_took(report.seconds)}.{events}")
    else:
        count = sum(file.fault_count for file in report.files)
        print(f"Nothing was imported: {_counted(count, 'fault')}.")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _took(seconds: float) -> str:
    return "less than 0.1 s" if seconds < 0.1 else f"{seconds:.1f} s"  # noqa: PLR2004 (what is printed)


def _print_faults(file: FileReport) -> None:
    for fault in file.faults:
        place = f"{file.path}:{fault.line}: "
        print(printable(place + (f"{fault.field}: " if fault.field else "") + fault.reason))
    if file.fault_count > len(file.faults):
        print(f"{file.path}: and {file.fault_count - len(file.faults)} more")
