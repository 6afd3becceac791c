"""What the verbs share: their options, the way to the database, output, and what is said of an error."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rxdesk.access import Transaction
    from rxdesk.db.location import Location
    from rxdesk.db.pool import Connection
    from rxdesk.errors import ApiError
    from rxdesk.settings import Loaded, Settings

T = TypeVar("T")

EPILOG = "[bold]Examples[/bold]\n\n"


def named_path(text: str) -> Path:
    """Read an option that names a file or folder; an empty one would silently be the current folder."""
    if not text:
        raise typer.BadParameter("it is empty; name one, or leave the option out")
    return Path(text)


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        parser=named_path,
        metavar="FOLDER",
        show_default=False,
        help="Folder of the embedded PostgreSQL (RXDESK_DATA_DIR). Not used when RXDESK_DATABASE_URL is set.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        parser=named_path,
        metavar="FILE",
        show_default=False,
        help="A settings file in the form of defaults.toml (RXDESK_CONFIG).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
OrganisationSlug = Annotated[
    str, typer.Option("--organisation", metavar="SLUG", help="The organisation that it concerns.")
]
ShopIdentifier = Annotated[str, typer.Option("--shop", metavar="IDENTIFIER", help="The shop's identifier.")]

# What an operator can put right, by name, so that nothing is imported only to be caught.
_EXPECTED = frozenset(
    {
        "rxdesk.cli.common.CliError",
        "rxdesk.settings.SettingsError",
        "rxdesk.kit.ports.PortInUseError",
        "rxdesk.serving.ServingError",
        "rxdesk.db.keyring.KeyringError",
        "rxdesk.db.location.LocationError",
        "rxdesk.db.migrate.MigrationError",
        "rxdesk.db.embedded_process.EmbeddedError",
        "rxdesk.organisations.commands.OperatorError",
        "rxdesk.importing.files.ImportFileError",
        "rxdesk.importing.load.ImportBusyError",
        "rxdesk.wallet.apple.certificates.CertificateError",
        "rxdesk.wallet.emulator.folder.DamagedFileError",
        "rxdesk.wallet.emulator.folder.FolderInUseError",
        "rxdesk.wallet.emulator.together.FetchError",
        "rxdesk.wallet.google.account.AccountError",
    }
)
_USAGE = 2
_NO_NUMBER = re.compile(r"Input should be a valid integer.*? as an integer")


class CliError(Exception):
    """The command cannot be done; the message says why and what to do."""


class Ended(BaseException):
    """A signal asks this process to end; what it holds is given back on the way out."""


def judged(error: Exception) -> tuple[str | None, int]:
    """Give the line to say of an error and the exit status; no line for what is a fault of ours."""
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # called wrongly: Typer's own errors
        context = getattr(error, "ctx", None)
        help_of = f" See `{context.command_path} --help`." if context is not None else ""
        text = _NO_NUMBER.sub("it must be a whole number", " ".join(str(error.format_message()).split()))
        text = text.replace("Input should be", "it must be")
        if not text:  # called without a verb: its help was shown
            return "", int(error.exit_code)
        return text + ("" if text.endswith((".", "?")) else ".") + help_of, int(error.exit_code)
    return _line_of(error), 1


def _line_of(error: Exception) -> str | None:
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    if names & _EXPECTED:
        return str(error)
    if any(name.startswith("asyncpg.") for name in names):
        # Only the primary message: details may quote values.
        return f"the database refused: {str(error).splitlines()[0]}"
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror or error}{where}"
    return None


def complain(line: str) -> None:
    """Say on standard error what is wrong; nothing when it has been said."""
    if line:
        print(f"rxdesk: {line}", file=sys.stderr, flush=True)


def note(line: str) -> None:
    """Tell a waiting person what is going on, on standard error."""
    print(line, file=sys.stderr, flush=True)


def discard_output() -> None:
    """Send what is still buffered for a reader that has gone to nowhere, so that the exit is quiet."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def end_on_signals() -> None:
    """Make SIGTERM and SIGHUP unwind this process as Ctrl-C does, which also works in the background then."""

    def end(number: int, _: object) -> None:
        raise Ended(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, end)


# --------------------------------------------------------------------------------------------------- settings
def settings_of(data_dir: Path | None, config: Path | None, **flags: object) -> Loaded:
    """Put the settings together; flags that were not given are None."""
    from rxdesk.settings import load

    loaded = load(file=config, flags={"data_dir": data_dir, **flags})
    if data_dir is not None and loaded.settings.database_url:
        note(f"--data-dir is not used: database_url is set (from {loaded.origins['database_url']})")
    return loaded


# --------------------------------------------------------------------------------------------------- database
def refuse_absent(settings: Settings) -> None:
    """Refuse a data folder without a database, so that a mistyped --data-dir makes none."""
    from rxdesk.db.embedded import data_version

    if not settings.database_url and data_version(settings.data_dir) is None:
        message = (
            f"there is no database in {settings.data_dir}: make one with `rxdesk migrate --data-dir …` or "
            "`rxdesk demo`, or name another folder or RXDESK_DATABASE_URL"
        )
        raise CliError(message)


@contextlib.contextmanager
def database(settings: Settings, purpose: str, *, may_make: bool = False) -> Iterator[Location]:
    """Give the database for a verb, beside a running server or not; a folder without one is refused."""
    from rxdesk.db.location import located

    if not may_make:
        refuse_absent(settings)
    with located(
        database_url=settings.database_url, data_dir=settings.data_dir, purpose=purpose, own=False, say=note
    ) as location:
        yield location


def on_database(
    settings: Settings,
    purpose: str,
    work: Callable[[Connection], Awaitable[T]],
    *,
    in_transaction: bool = True,
) -> T:
    """Run an operator's work on one connection as the app role, on a schema of this version."""
    import asyncio

    from rxdesk.db.location import connected, schema

    async def run(location: Location) -> T:
        async with connected(location.app) as connection:
            finding = await schema(connection)
            if not finding.well:
                raise CliError(finding.message)
            if not in_transaction:
                return await work(connection)
            async with connection.transaction():
                return await work(connection)

    with database(settings, purpose) as location:
        return asyncio.run(run(location))


async def encryption_keys(settings: Settings, connection: Connection) -> str:
    """Give the encryption keys, verified against the database; made beside an embedded one that has none yet."""
    from rxdesk import preflight
    from rxdesk.db import keyring
    from rxdesk.kit.sealing import KEY_FILE, keys_beside

    if settings.database_url and not settings.encryption_keys:
        raise CliError("encryption_keys is not set: set RXDESK_ENCRYPTION_KEYS as `rxdesk serve` has it")
    file = settings.data_dir / KEY_FILE
    if not settings.encryption_keys and not file.exists() and await keyring.known(connection):
        message = (
            f"the encryption key is missing: the database holds secrets that it has sealed, and {file} is not "
            "there. Put the file back from your backup; without it they cannot be read"
        )
        raise CliError(message)
    keys = settings.encryption_keys or keys_beside(settings.data_dir)
    preflight.check_settings(settings, keys)
    await keyring.enrol(connection, keys)
    return keys


def on_organisation(
    settings: Settings, purpose: str, slug: str, command: Callable[[Transaction], Awaitable[T]]
) -> T:
    """Run a command of a feature as the operator, in one transaction: what it does and what it tells of.

    A refusal of the command becomes a CliError.
    """

    async def work(connection: Connection) -> T:
        return await as_operator(connection, settings, slug, command)

    return on_database(settings, purpose, work, in_transaction=False)


async def as_operator(
    connection: Connection, settings: Settings, slug: str, command: Callable[[Transaction], Awaitable[T]]
) -> T:
    """Run a command of a feature on an open connection, as `on_organisation` does."""
    from rxdesk.access import Transaction, run_command
    from rxdesk.errors import ApiError
    from rxdesk.kit.clock import utc_now
    from rxdesk.kit.sealing import Sealer, read_keys
    from rxdesk.organisations import commands, queries

    of = await queries.organisation(connection, slug)
    keys = await encryption_keys(settings, connection)
    await commands.enter(connection, of.id)
    try:
        async with connection.transaction():
            tx = Transaction(
                connection=connection,
                organisation_id=of.id,
                actor_kind="operator",
                actor_uid="cli",
                now=utc_now(),
                sealer=Sealer(read_keys(keys)),
            )
            return await run_command(tx, command)
    except ApiError as error:
        raise CliError(refusal(error)) from error


def refusal(error: ApiError) -> str:
    """Say an ApiError in a line: what is wrong, and what would be right."""
    body = error.body
    text = str(body.get("error", "it was refused"))
    if error.status == HTTPStatus.NOT_FOUND:
        return (
            f"there is no such {body['field']} in this organisation"
            if "field" in body
            else "there is no such uid in this organisation"
        )
    if "queue_uid" in body:
        text += f": {body['queue_uid']}"
    for fault in body.get("details", ()):
        text += f"; {fault['field']} {fault['message']}"
    if "allowed" in body:
        text += "; " + (
            "allowed: " + ", ".join(body["allowed"]) if body["allowed"] else "nothing is allowed any more"
        )
    return text


# ----------------------------------------------------------------------------------------------------- output
def plain(value: object) -> Any:  # noqa: ANN401 (JSON)
    """Give a value as JSON knows it; instants as ISO 8601 in UTC, to the second."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__struct_fields__"):  # msgspec's: what a command answers
        from msgspec import to_builtins

        return plain(to_builtins(value))
    return value


def print_json(value: object) -> None:
    """Print one JSON document."""
    print(json.dumps(plain(value), ensure_ascii=False, indent=2))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns; no frames and no cutting, so that what is shown can be copied whole."""
    lines = [list(headings), *([_cell(item) for item in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    value = plain(value)
    if isinstance(value, list):
        return ",".join(str(item) for item in value) or "-"
    return "-" if value is None or value == "" else printable(str(value))


def printable(text: str) -> str:
    """Give a text that somebody else wrote without what could steer a terminal."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def counted(number: int, noun: str) -> str:
    """Give a number with its noun: `1 day`, `2 days`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
