"""`rxdesk wallet emulator`: the wallets' servers and phones, on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rxdesk.cli.common import EPILOG, AsJson, named_path, note, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rxdesk.wallet.emulator.together import Ports, Running


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=EPILOG + "rxdesk wallet emulator --certificates /tmp/wallet-certificates\n\n"
        "rxdesk wallet emulator --certificates /tmp/wallet-certificates --add card.pkpass --phone de"
    )(emulator)


def emulator(
    *,
    certificates: Annotated[
        Path,
        typer.Option(
            "--certificates",
            parser=named_path,
            metavar="FOLDER",
            help="A chain as `rxdesk wallet certificates create-test` writes it; made when it is not there.",
        ),
    ],
    add: Annotated[
        list[str] | None,
        typer.Option(
            "--add",
            metavar="PASS",
            show_default=False,
            help="A .pkpass that each phone holds: a file, or its address on this machine; repeat it.",
        ),
    ] = None,
    phone: Annotated[
        list[str] | None,
        typer.Option(
            "--phone",
            metavar="LANGUAGE",
            show_default=False,
            help="A phone in that language; repeat it. [en]",
        ),
    ] = None,
    apns_port: Annotated[
        int, typer.Option("--apns-port", metavar="PORT", min=0, max=65535, help="Of the push service.")
    ] = 2197,
    google_port: Annotated[
        int, typer.Option("--google-port", metavar="PORT", min=0, max=65535, help="Of Google's API.")
    ] = 2198,
    as_json: AsJson = False,
) -> None:
    """Be Apple's push service, Google's Wallet API and iPhones, on loopback; Ctrl-C ends it.

    Prints the addresses and files that stand in the place of the companies' own, then a line for all that a phone
    shows on its lock screen or complains of. A phone registers its passes, is pushed, asks what is newer, fetches it
    and refuses what a real one refuses. With --json each line is an object; the first holds addresses and files. At the
    end the phones unregister their passes. The folder must not be that of a demo or an emulator that is running.
    """
    import asyncio

    from rxdesk.wallet.emulator.together import Ports

    asyncio.run(
        _run(certificates, add or [], phone or ["en"], Ports(apns_port, google_port), as_json=as_json)
    )


async def _run(
    folder: Path,
    passes: Sequence[str],
    languages: Sequence[str],
    ports: Ports,
    *,
    as_json: bool,
) -> None:
    import asyncio

    from rxdesk.wallet.emulator.together import emulating

    def tell(who: str, what: str, text: str) -> None:
        if as_json:
            line = json.dumps({"who": who, "what": what, "text": text}, ensure_ascii=False)
        else:
            line = f"{printable(who)}  {what}  {printable(text)}"
        print(line, flush=True)

    async with emulating(folder, "pass.org.example.rxdesk", "TRIAL00000", ports, languages, tell) as running:
        _introduce(running, as_json=as_json)
        for one in passes:
            named, content = await _load(running, one)
            for number, phone in enumerate(running.phones, start=1):
                if await phone.add(content):
                    tell(f"phone {number}", "added", named)
        await asyncio.Event().wait()


async def _load(running: Running, one: str) -> tuple[str, bytes]:
    """Give a pass and what to call it: an address holds a token, so its last part alone."""
    import asyncio

    if one.startswith(("http://", "https://")):
        return one.rpartition("/")[2], await running.fetch(one)
    file = Path(one)
    return file.name, await asyncio.to_thread(file.read_bytes)


def _introduce(running: Running, *, as_json: bool) -> None:
    from rxdesk.wallet.emulator.google_account import KEYS_PATH, SAVE_PATH

    facts = {
        "apns_url": running.apns_url,
        "google_url": running.google_url,
        "google_save_url": running.google_url + SAVE_PATH,
        "google_keys_url": running.google_url + KEYS_PATH,
        "google_issuer": running.issuer,
        "google_account_file": str(running.account_file),
        "pass_certificate": str(running.files.pass_certificate),
        "pass_key": str(running.files.pass_key),
        "intermediate": str(running.files.intermediate),
        "authority": str(running.files.root),
    }
    if as_json:
        print(json.dumps(facts), flush=True)
        return
    for name, value in facts.items():
        print(f"{name:<20} {value}", flush=True)
    note("Ctrl-C ends it.")
