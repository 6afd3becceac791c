"""The whole emulator: push service, Google's API, phones with passes, and the files that a server needs to use them."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rxdesk.kit.addresses import AllowList
from rxdesk.kit.clock import utc_now
from rxdesk.kit.egress import Egress
from rxdesk.kit.targets import TargetRefused
from rxdesk.wallet.apple.reading import MOST_BYTES
from rxdesk.wallet.apple.trial import TrialFiles, create_chain, files_in, write_new
from rxdesk.wallet.emulator.apns import Devices
from rxdesk.wallet.emulator.apns_server import ApnsServer, server_tls
from rxdesk.wallet.emulator.callbacks import CallbackSigner
from rxdesk.wallet.emulator.google import TOKEN_PATH, GoogleDouble
from rxdesk.wallet.emulator.google_server import GoogleServer
from rxdesk.wallet.emulator.phone import Phone
from rxdesk.wallet.google.account import load_account

ISSUER: Final = "3388000000000000000"
_EMAIL = "rxdesk-emulator@example.iam.example.com"
_LOOPBACK = "http+127.0.0.0/8:*, 127.0.0.0/8:*, http+[::1/128]:*, [::1/128]:*"


class FetchError(Exception):
    """A pass could not be loaded down; the message says why, and not from where: its address holds a token."""


Tell = Callable[[str, str, str], None]
"""Takes who (`phone 1`, or a Google object's id), what (`screen`, `complaint`, `ready`) and the text."""


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
    used as they are else. Raises OSError when a port is taken or a file cannot be used.
    """
    files = files_in(folder)
    if not files.root.exists():
        create_chain(folder, pass_type, team, utc_now().replace(microsecond=0))
    egress = Egress(AllowList.parse(_LOOPBACK), ca_file=files.root)
    async with AsyncExitStack() as stack:
        server = ApnsServer(Devices(utc_now), server_tls(files))
        apns_port = await server.start(port=ports.apns)
        stack.push_async_callback(server.stop)
        google_url = _google(stack, folder / "google-account.json", ports.google, egress, tell)
        root = x509.load_pem_x509_certificate(files.root.read_bytes())
        phones = [
            Phone(egress, server.devices, root, secrets.token_bytes, language, _teller(tell, number))
            for number, language in enumerate(languages, start=1)
        ]
        tasks = [asyncio.create_task(phone.run()) for phone in phones]
        stack.push_async_callback(_end, tasks)
        yield Running(
            apns_url=f"https://127.0.0.1:{apns_port}",
            google_url=google_url,
            issuer=ISSUER,
            account_file=folder / "google-account.json",
            files=files,
            phones=phones,
            egress=egress,
        )


def _google(stack: AsyncExitStack, account_file: Path, port: int, egress: Egress, tell: Tell) -> str:
    """Start the double of Google's API, with the service account of the file; the file names where it listens."""
    key = load_account(account_file).key if account_file.exists() else _new_key()
    double = GoogleDouble(
        ISSUER, _EMAIL, key.public_key(), utc_now, tell=lambda who, text: tell(who, "screen", text)
    )
    loop = asyncio.get_running_loop()

    async def deliver(url: str, body: bytes) -> None:
        try:
            outcome = await egress.post(url, body, {"Content-Type": "application/json"})
        except TargetRefused as refusal:
            tell(url, "complaint", str(refusal))
            return
        if outcome.error is not None:
            tell(url, "complaint", f"the callback was answered {outcome.status or outcome.error}")

    def deliver_soon(url: str, body: bytes) -> None:
        asyncio.run_coroutine_threadsafe(deliver(url, body), loop)

    server = GoogleServer(double, CallbackSigner(utc_now()), deliver_soon)
    url = server.start(port=port)
    stack.callback(server.stop)
    account_file.unlink(missing_ok=True)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
    document = {
        "type": "service_account",
        "client_email": _EMAIL,
        "private_key": pem,
        "private_key_id": "emulator",
        "token_uri": url + TOKEN_PATH,
    }
    write_new(account_file, json.dumps(document, indent=1).encode(), 0o600)
    return url


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _teller(tell: Tell, number: int) -> Callable[[str, str], None]:
    return lambda kind, text: tell(f"phone {number}", kind, text)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
