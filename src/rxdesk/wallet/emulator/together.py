"""The whole emulator: push service, Google's API, phones with passes, and the files that a server needs to use them."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from rxdesk.kit.addresses import AllowList
from rxdesk.kit.clock import utc_now
from rxdesk.kit.egress import Egress
from rxdesk.kit.targets import TargetRefused
from rxdesk.wallet.apple.reading import MOST_BYTES
from rxdesk.wallet.apple.trial import TrialFiles, create_chain, files_in
from rxdesk.wallet.emulator.apns import Devices
from rxdesk.wallet.emulator.apns_server import ApnsServer, server_tls
from rxdesk.wallet.emulator.folder import having
from rxdesk.wallet.emulator.google_account import ISSUER, account_file, write_account
from rxdesk.wallet.emulator.google_running import Tell, google_server
from rxdesk.wallet.emulator.google_server import GoogleServer
from rxdesk.wallet.emulator.phone import Phone

_LEAVING_SECONDS = 5.0
_LOOPBACK = "http+127.0.0.0/8:*, 127.0.0.0/8:*, http+[::1/128]:*, [::1/128]:*"


class FetchError(Exception):
    """A pass could not be loaded down; the message says why, and not from where: its address holds a token."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where to listen on loopback; 0 picks a free one."""

    apns: int
    google: int


@dataclass(frozen=True, slots=True)
class Running:
    """An emulator that runs: its addresses, and the files that belong to it."""

    apns_url: str
    google_url: str
    issuer: str
    account_file: Path
    files: TrialFiles
    phones: Sequence[Phone]
    egress: Egress

    async def fetch(self, url: str) -> bytes:
        """Load a pass down from its address on loopback. Raises FetchError."""
        try:
            outcome = await self.egress.request("GET", url, b"", {}, max_answer=MOST_BYTES)
        except TargetRefused as refusal:
            raise FetchError(f"{refusal}; a pass is loaded from this machine only") from refusal
        if outcome.error is not None:
            raise FetchError(f"the pass's address was answered {outcome.status or outcome.error}")
        return outcome.answer


@asynccontextmanager
async def emulating(
    folder: Path,
    pass_type: str,
    team: str,
    ports: Ports,
    languages: Sequence[str],
    tell: Tell,
) -> AsyncIterator[Running]:
    """Run an emulator with a phone for each language, until the block ends.

    Certificates and the key of Google's service account are made in the folder where they are not there yet; they are
    used as they are else. At the end the phones unregister their passes. Raises OSError when a port is taken or a file
    cannot be used, FolderInUseError, DamagedFileError, and AccountError when the account's file is not of an emulator.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(having(folder))
        files = files_in(folder)
        if not files.root.exists():
            create_chain(folder, pass_type, team, utc_now().replace(microsecond=0))
        egress = Egress(AllowList.parse(_LOOPBACK), ca_file=files.root)
        server = ApnsServer(Devices(utc_now), server_tls(files))
        apns_port = await server.start(port=ports.apns)
        stack.push_async_callback(server.stop)
        google = _google(stack, folder, ports.google, egress, tell)
        root = x509.load_pem_x509_certificate(files.root.read_bytes())
        phones = [
            Phone(egress, server.devices, root, secrets.token_bytes, language, _teller(tell, number))
            for number, language in enumerate(languages, start=1)
        ]
        tasks = [asyncio.create_task(phone.run()) for phone in phones]
        stack.push_async_callback(_leave, phones)
        stack.push_async_callback(_end, tasks)
        yield Running(
            apns_url=f"https://127.0.0.1:{apns_port}",
            google_url=google.url,
            issuer=ISSUER,
            account_file=account_file(folder),
            files=files,
            phones=phones,
            egress=egress,
        )


def _google(stack: AsyncExitStack, folder: Path, port: int, egress: Egress, tell: Tell) -> GoogleServer:
    """Start the double of Google's API; the service account's file names where it listens."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", port)))
    write_account(folder, f"http://127.0.0.1:{listener.getsockname()[1]}")
    server = google_server(folder, egress, tell)
    server.start(listener=listener)
    stack.callback(server.stop)
    return server


def _teller(tell: Tell, number: int) -> Callable[[str, str], None]:
    return lambda kind, text: tell(f"phone {number}", kind, text)


async def _leave(phones: Sequence[Phone]) -> None:
    """Remove the passes from the phones, so that nobody goes on pushing to them; a server may have ended before."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_LEAVING_SECONDS):
            leaving = (phone.remove(key[1]) for phone in phones for key in list(phone.passes))
            await asyncio.gather(*leaving, return_exceptions=True)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
