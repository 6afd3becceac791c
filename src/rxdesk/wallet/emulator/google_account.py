"""Where the emulator's Google answers, and its service account's file; imports nothing that a start waits for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from rxdesk.kit.files import write_privately

ISSUER: Final = "3388000000000000000"
TOKEN_PATH: Final = "/token"  # noqa: S105 - an address
SAVE_PATH: Final = "/gp/v/save"
KEYS_PATH: Final = "/gp/m/issuer/keys"
_EMAIL = "rxdesk-emulator@example.iam.example.com"
_ACCOUNT = "google-account.json"


def account_file(folder: Path) -> Path:
    """Name the file in a folder of the emulator's."""
    return folder / _ACCOUNT


def write_account(folder: Path, url: str) -> Path:
    """Write the file, by which access tokens are had at this address; its key is made the first time and kept.

    Raises AccountError when the file is there and damaged, or another account's.
    """
    file = account_file(folder)
    kept = _kept(file) if file.exists() else {"private_key": _new_key()}
    document = {
        **kept,
        "type": "service_account",
        "client_email": _EMAIL,
        "private_key_id": "emulator",
        "token_uri": url + TOKEN_PATH,
    }
    write_privately(file, json.dumps(document, indent=1).encode())
    return file


def _kept(file: Path) -> dict[str, Any]:
    from rxdesk.wallet.google.account import AccountError, load_account  # noqa: PLC0415 - of a later start only

    if load_account(file).email != _EMAIL:
        raise AccountError(f"{file} is another service account's, and the emulator would write over it")
    kept: dict[str, Any] = json.loads(file.read_bytes())
    return kept


def _new_key() -> str:
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - of a first start only
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - likewise
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
