"""`rxdesk demo`: a server with believable data, from nothing, in one command."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rxdesk.cli import demo_wallet
from rxdesk.cli.common import EPILOG, CliError, ConfigFile, DataDir, end_on_signals, note
from rxdesk.cli.serve import (
    BASE,
    Address,
    NoWorker,
    Port,
    ReadyFile,
    Workers,
    fitting_keys,
    located_for_serving,
    ready_of,
    run,
    until_ended,
    url_of,
)

if TYPE_CHECKING:
    from rxdesk.db.location import Location
    from rxdesk.db.pool import Connection
    from rxdesk.settings import Settings

_FILE = "demo.json"
_SEED, _ORDERS = 1, 5000
_EARLIEST, _LATEST = 2000, 2100  # years; prescriptions and passes reach back and ahead from there
_KEY_NAME = "demo"
_FILES_PREFIX = "demo-files-"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=EPILOG + "rxdesk demo\n\nrxdesk demo --port 0 --ready-file ready.json\n\n"
        "rxdesk demo --data-dir /tmp/big --orders 50000 --seed 7"
    )(demo)


def demo(  # noqa: PLR0913 (the options of a verb)
    *,
    address: Address = None,
    port: Port = None,
    workers: Workers = None,
    ready_file: ReadyFile = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            min=0,
            show_default="1",
            help="The same seed and the same --as-of give the same data.",
        ),
    ] = None,
    orders: Annotated[
        int | None,
        typer.Option(
            "--orders", metavar="N", min=1, show_default="5000", help="Orders of each organisation."
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="WHEN",
            show_default=False,
            help="The data's present, ISO 8601 or Unix seconds; now.",
        ),
    ] = None,
    no_worker: NoWorker = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Serve two made-up German telemedicine providers, with a key for each; Ctrl-C ends all of it.

    It runs its own PostgreSQL in the data folder. The data is made at the first start and stays: the next
    start has the same data and the same keys. Two simulated phones hold a customer's wallet pass, and a double of
    Google Wallet takes it: what they say of push notifications is printed here. Do not put real patients' data here:
    its keys stand in a file.
    """
    from rxdesk.cli.times import moment
    from rxdesk.kit.clock import utc_now
    from rxdesk.settings import load

    end_on_signals()
    with until_ended():
        wanted = {"seed": seed, "orders": orders, "as_of": None if as_of is None else _as_of(moment(as_of))}
        flags = {"data_dir": data_dir, "address": address, "port": port, "workers": workers}
        loaded = load(file=config, flags=flags)
        settings = loaded.settings
        if settings.database_url:
            note("RXDESK_DATABASE_URL is not used: the demo runs a PostgreSQL of its own in the data folder")
        level = "warning" if loaded.origins["log_level"] == "default" else settings.log_level
        settings = dataclasses.replace(settings, database_url="", log_level=level)
        with (
            located_for_serving(settings, "demo", note, ready_file=ready_file) as (location, holder),
            ready_of(ready_file) as write_ready,
        ):
            import asyncio

            prepared = asyncio.run(_prepare(location, settings, wanted, now=int(utc_now().timestamp())))
            shown, page = prepared.organisations, prepared.pages[0]
            keys = fitting_keys(settings, location)
            number = holder.getsockname()[1]
            base = url_of(settings, number)
            landing = base.removesuffix(BASE) + page
            with_phones = not (no_worker or settings.public_url or settings.apple_certificate_file)

            wallets: list[str] = []  # those that the pass can be put into here

            def ready() -> None:
                write_ready({"base_url": base, "organisations": shown})
                print(_welcome(base, shown, landing, settings.data_dir, wallets), flush=True)

            with contextlib.ExitStack() as stack:
                if with_phones:
                    phones = stack.enter_context(demo_wallet.phones(settings, f"{landing}/pass.pkpass"))
                    settings, ready = phones.settings, partial(phones.ready_after, ready)
                    wallets += ["apple", "google"] if phones.google else ["apple"]
                run(
                    settings,
                    location,
                    keys,
                    number,
                    ready=ready,
                    probe=("/v1/management/health/", {"X-API-Key": shown[0]["api_key"]}),
                    worker=not no_worker,
                )


def _as_of(moment: datetime) -> int:
    if not _EARLIEST <= moment.year < _LATEST:
        message = f"--as-of is an instant from {_EARLIEST} to {_LATEST}"
        raise CliError(message)
    return int(moment.timestamp())


@dataclasses.dataclass(frozen=True, slots=True)
class _Prepared:
    """What the ready file says of each organisation, and the paths of the pages of their sample passes."""

    organisations: list[dict[str, Any]]
    pages: list[str]


async def _prepare(
    location: Location, settings: Settings, wanted: Mapping[str, int | None], *, now: int
) -> _Prepared:
    """Bring schema, data, designs and keys up to date.

    `wanted`: seed, orders and as_of where they were given; a folder that has data keeps its own.
    """
    from rxdesk.db.location import connected, schema
    from rxdesk.organisations import queries

    data_dir = settings.data_dir
    async with connected(location.owner) as owner:
        finding = await schema(owner)
    if not finding.well:
        await _migrate(location)
    async with connected(location.app) as connection:
        file = data_dir / _FILE
        state = _read_state(file)
        if state is None:
            if await queries.organisations(connection):
                message = (
                    f"{data_dir} holds organisations that are not the demo's: use `rxdesk serve` for them, "
                    "or another --data-dir for the demo"
                )
                raise CliError(message)
            # Written first: a start that was interrupted goes on with the same data.
            given = {name: value for name, value in wanted.items() if value is not None}
            state = {"seed": _SEED, "orders": _ORDERS, "as_of": now, **given}
            state |= {"complete": False, "organisations": []}
            _write_state(file, state)
        elif any(value not in {None, state[name]} for name, value in wanted.items()):
            note(
                f"--seed, --orders and --as-of are not used: {data_dir} has the data of seed {state['seed']} with "
                f"{state['orders']} orders already; name another --data-dir for other data"
            )
        if not state["complete"]:
            await _load_all(connection, data_dir, state)
            async with connected(location.owner) as owner:
                await owner.execute("ANALYZE")  # the planner knows the new rows from the first request on
            state["complete"] = True
            _write_state(file, state)
        keys = [entry["api_key"] for entry in state["organisations"]]
        for entry in state["organisations"]:
            entry["api_key"] = await _key(connection, entry["slug"], entry["api_key"])
        if keys != [entry["api_key"] for entry in state["organisations"]]:
            _write_state(file, state)
        if "pages" not in state:  # of a first start, or of a version that gave passes no look
            state["pages"] = await demo_wallet.design(connection, settings, state["organisations"])
            _write_state(file, state)
    return _Prepared(state["organisations"], state["pages"])


async def _migrate(location: Location) -> None:
    from rxdesk.db import migrate
    from rxdesk.db.location import connected, schema

    async with connected(location.owner) as owner:
        current = await migrate.current_revision(owner)
        if current is not None and current not in migrate.known_revisions():
            raise CliError((await schema(owner)).message)
    note(
        "making the database's tables …" if current is None else "bringing the database's tables up to date …"
    )
    await migrate.migrate(location.owner)
    async with connected(location.owner) as owner:
        await migrate.grant(owner, str(location.app["user"]))


async def _load_all(connection: Connection, data_dir: Path, state: dict[str, Any]) -> None:
    """Make each organisation's files and load them by the importer; done again, it changes nothing."""
    import tempfile
    import time
    from datetime import UTC

    from rxdesk.cli.importing import shown_progress
    from rxdesk.demo import generator
    from rxdesk.demo.organisations import ORGANISATIONS
    from rxdesk.importing.files import find_files
    from rxdesk.importing.load import import_files
    from rxdesk.organisations import commands, queries

    present = {organisation.slug: organisation for organisation in await queries.organisations(connection)}
    as_of = datetime.fromtimestamp(state["as_of"], UTC)
    state["organisations"] = []
    _remove_left_over(data_dir)
    for number, wanted in ORGANISATIONS.items():
        begun = time.monotonic()
        note(f"making {state['orders']} orders of {wanted.display_name} …")
        of = present.get(wanted.slug) or await commands.create_organisation(
            connection,
            slug=wanted.slug,
            display_name=wanted.display_name,
            time_zone=wanted.time_zone,
            public_code=wanted.public_code,
        )
        await commands.enter(connection, of.id)
        with tempfile.TemporaryDirectory(prefix=_FILES_PREFIX, dir=data_dir) as name:
            folder = Path(name)
            generator.generate(
                folder, seed=state["seed"], orders=state["orders"], as_of=as_of, organisation=number
            )
            samples = json.loads((folder / generator.SAMPLES).read_text("utf-8"))
            with shown_progress() as progress:
                report = await import_files(
                    connection, of.id, find_files([folder]), now=as_of, progress=progress
                )
        if not report.ok:
            fault = next(fault for file in report.files for fault in file.faults)
            message = f"the demo data was refused: line {fault.line}, {fault.field}: {fault.reason}"
            raise CliError(message)
        state["organisations"].append({"slug": wanted.slug, "api_key": None, "samples": samples})
        rows = sum(file.rows for file in report.files)
        note(f"  {rows} rows in {time.monotonic() - begun:.1f} s")


def _remove_left_over(data_dir: Path) -> None:
    """Remove the files of a start that was killed while it loaded them."""
    import shutil

    for folder in data_dir.glob(f"{_FILES_PREFIX}*"):
        shutil.rmtree(folder)


async def _key(connection: Connection, slug: str, known: str | None) -> str:
    """Give the demo's key: the one of the file while it works, with all permissions; else a new one."""
    from rxdesk.kit.keys import read_key
    from rxdesk.organisations import commands, queries
    from rxdesk.permissions import ALL

    of = await queries.organisation(connection, slug)
    await commands.enter(connection, of.id)
    reference = None if known is None else read_key(known)
    if known is not None and reference is not None:
        found = await commands.permit(connection, of.id, digest=reference.digest, permissions=list(ALL))
        if found:
            return known
    made = await commands.create_key(
        connection, of.id, name=_KEY_NAME, permissions=list(ALL), per_second=0, per_minute=0
    )
    return made.key


def _read_state(file: Path) -> dict[str, Any] | None:
    try:
        state = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        message = f"{file} cannot be read ({error}); remove the data folder to start the demo anew"
        raise CliError(message) from error
    if not isinstance(state, dict) or not isinstance(state.get("organisations"), list):
        message = f"{file} is not the demo's; use another --data-dir"
        raise CliError(message)
    return state


def _write_state(file: Path, state: dict[str, Any]) -> None:
    from rxdesk.kit.files import write_privately

    write_privately(file, json.dumps(state, ensure_ascii=False, indent=1).encode() + b"\n")


def _welcome(
    base: str, organisations: list[dict[str, Any]], landing: str, data_dir: Path, wallets: Sequence[str]
) -> str:
    from urllib.parse import quote

    first = organisations[0]
    samples = first["samples"]
    curl = f"  curl -H 'X-API-Key: {first['api_key']}'"
    lines = [
        "",
        f"RxDesk answers at {base}",
        "",
        *(f"  API key of {entry['slug']}: {entry['api_key']}" for entry in organisations),
        f"  Swagger page: {base}/apidocs",
        f"  A customer's wallet pass: {landing}",
        "",
        "Try:",
        *(
            f"{curl} '{base}{path}'"
            for path in (
                f"/orders/{samples['order_uid']}",
                f"/prescriptions/{samples['prescription_uid']}",
                f"/patients?email={quote(samples['patient_email'])}",
            )
        ),
        "",
    ]
    if wallets:
        push = [
            {"wallet_pass_uid": samples["wallet_pass_uid"], "message": "{first_name}, Ihr Rezept ist fertig."}
        ]
        push_path = "/wallet-passes/push-notifications"
        operations = base.replace("/v1/management", "/v1/operations")
        lines += [
            *_google_lines(landing, wallets),
            "Two simulated phones hold that pass. Send it a push notification, see here what their lock screens show,",
            "and ask what became of it:",
            f"{curl} -H 'Content-Type: application/json' -d '{json.dumps(push)}' '{base}{push_path}'",
            f"{curl} '{operations}{push_path}'",
            "",
        ]
    lines.append(f"The data is in {data_dir} and stays. Ctrl-C stops the server and its PostgreSQL.")
    return "\n".join(lines)


def _google_lines(landing: str, wallets: Sequence[str]) -> list[str]:
    if "google" not in wallets:
        return []
    return [
        "Save it to a double of Google Wallet, in a browser; it shows there what you send:",
        f"  {landing}/google",
    ]
