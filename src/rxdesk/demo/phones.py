"""Apple's push service, Google's Wallet API and the sample customer's phones, in a process beside the demo's server.

It runs as `python -m rxdesk.demo.phones`, reads its launch from standard input, and prints what the phones' lock
screens say. A phone keeps its pass in the data folder, so that it shows what came while the demo was not running.
"""

from __future__ import annotations

import asyncio
import hashlib
import pickle
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from rxdesk.demo.launch import LANGUAGES, Launch, kept_files
from rxdesk.kit import logs
from rxdesk.kit.addresses import AllowList
from rxdesk.kit.clock import utc_now
from rxdesk.kit.egress import Egress, Outcome
from rxdesk.kit.files import write_privately
from rxdesk.kit.parents import end_with_parent
from rxdesk.wallet.apple.reading import MOST_BYTES, PassRefused, read_pass
from rxdesk.wallet.apple.trial import files_in
from rxdesk.wallet.emulator.apns import Devices
from rxdesk.wallet.emulator.apns_server import ApnsServer, server_tls
from rxdesk.wallet.emulator.google_running import google_server
from rxdesk.wallet.emulator.phone import Phone, alerts

_ATTEMPTS, _PAUSE_SECONDS = 20, 0.5
_VERBS: Final = {"screen": "shows", "complaint": "complains"}


async def run(launch: Launch, say: Callable[[str], None]) -> None:
    """Let the phones take the pass, and then do what pushes ask for, until cancelled.

    Until they have it, pushes wait at the door of the push service: it would know none of them. Google's double is
    there at once.
    """
    files = files_in(launch.folder)
    root = x509.load_pem_x509_certificate(files.root.read_bytes())
    egress = Egress(AllowList.parse(_allowed(launch.pass_url)))
    with _google(launch, egress, say):
        await _run_phones(launch, egress, root, server_tls(files), say)


@contextmanager
def _google(launch: Launch, egress: Egress, say: Callable[[str], None]) -> Iterator[None]:
    if launch.google is None:
        yield
        return
    server = google_server(launch.folder, egress, lambda _, what, text: say(f"google {_VERBS[what]}: {text}"))
    server.start(listener=socket.socket(fileno=launch.google))
    try:
        yield
    finally:
        server.stop()


async def _run_phones(
    launch: Launch, egress: Egress, root: x509.Certificate, tls: ssl.SSLContext, say: Callable[[str], None]
) -> None:
    server = ApnsServer(Devices(utc_now), tls)
    phones = [
        _phone(egress, server.devices, root, number, file, say)
        for number, file in enumerate(kept_files(launch.folder), start=1)
    ]
    for phone, file in zip(phones, kept_files(launch.folder), strict=True):
        await _take(phone, launch.pass_url, _content(file))
    await server.start(listener=socket.socket(fileno=launch.listener))
    await asyncio.gather(*(phone.run() for phone in phones))


def _allowed(url: str) -> str:
    """Open the server's own address to the phones, and no other."""
    host = urlsplit(url).hostname or ""
    return f"http+[{host}/128]:*" if ":" in host else f"http+{host}/32:*"


def _phone(
    egress: Egress,
    devices: Devices,
    root: x509.Certificate,
    number: int,
    file: Path,
    say: Callable[[str], None],
) -> Phone:
    """Make a phone that is the same at each start: the server knows its registration."""
    phone = Phone(
        egress,
        devices,
        root,
        lambda size: hashlib.shake_256(f"rxdesk demo phone {number}".encode()).digest(size),
        LANGUAGES[number - 1],
        lambda what, text: say(f"phone {number} {_VERBS[what]}: {text}"),
    )
    phone.keep = partial(write_privately, file)
    return phone


async def _take(phone: Phone, url: str, kept: bytes | None) -> None:
    """Load the pass down, show what is new beside the kept one, and register it."""
    outcome = await _fetch(phone, url)
    if outcome.error is not None:
        phone.complain(f"the pass's address was answered {outcome.status or outcome.error}")
        return
    if kept is not None:
        # What cannot be read is a file of an earlier chain, or the phone says so when it adds the newer one.
        with suppress(PassRefused):
            before, after = read_pass(kept, phone.root), read_pass(outcome.answer, phone.root)
            for line in alerts(before, after, phone.language):
                phone.show(line)
    await phone.add(outcome.answer)


async def _fetch(phone: Phone, url: str) -> Outcome:
    """Load the pass down, again while there is no answer: its workers may be starting anew."""
    attempts = 1
    while True:
        outcome = await phone.egress.request("GET", url, b"", {}, max_answer=MOST_BYTES)
        if outcome.status is not None or attempts == _ATTEMPTS:
            return outcome
        attempts += 1
        await asyncio.sleep(_PAUSE_SECONDS)


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _say(line: str) -> None:
    with suppress(OSError):  # nobody reads any more: no reason to stop
        sys.stdout.write(
            "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line) + "\n"
        )
        sys.stdout.flush()


def main() -> None:
    """Be the phones of the server that started this process, and end when it has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's to judge
    launch: Launch = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started us
    end_with_parent(launch.parent)
    logs.configure("warning")
    asyncio.run(run(launch, _say))


if __name__ == "__main__":
    main()
