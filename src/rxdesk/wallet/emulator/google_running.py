"""The double of Google's Wallet API beside a server: it calls back, and knows after a restart what it knew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rxdesk.kit.clock import utc_now
from rxdesk.kit.egress import Egress
from rxdesk.kit.files import write_privately
from rxdesk.kit.targets import TargetRefused
from rxdesk.wallet.emulator.callbacks import CallbackSigner
from rxdesk.wallet.emulator.folder import DamagedFileError
from rxdesk.wallet.emulator.google import GoogleDouble
from rxdesk.wallet.emulator.google_account import ISSUER, account_file
from rxdesk.wallet.emulator.google_server import GoogleServer
from rxdesk.wallet.google.account import load_account

_KEPT = "google-passes.json"

Tell = Callable[[str, str, str], None]
"""Takes who (`phone 1`, or a Google object's id), what (`screen`, `complaint`, `ready`) and the text."""


def google_server(folder: Path, egress: Egress, tell: Tell) -> GoogleServer:
    """Make the double, to be started, for the service account of the folder; what it is given is kept there.

    It is made where an event loop runs, in which its callbacks are delivered. Raises AccountError, and DamagedFileError
    when what was kept cannot be read.
    """
    account = load_account(account_file(folder))
    double = GoogleDouble(
        ISSUER,
        account.email,
        account.key.public_key(),
        utc_now,
        tell=lambda who, text: tell(who, "screen", text),
    )
    file = folder / _KEPT
    if file.exists():
        try:
            double.restore(json.loads(file.read_bytes()))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise DamagedFileError(
                f"{file} is damaged: remove it, and Google's double begins anew"
            ) from error
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

    secret = account.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return GoogleServer(
        double,
        CallbackSigner(utc_now(), secret),
        deliver_soon,
        lambda: write_privately(file, json.dumps(double.state()).encode()),
    )
