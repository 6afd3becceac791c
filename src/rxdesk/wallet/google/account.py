"""The service account that speaks to Google for an issuer of passes."""

from __future__ import annotations

from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address


class AccountError(Exception):
    """A service account's file cannot be used; the message says why, and holds nothing of the key."""


class _File(msgspec.Struct):
    client_email: str
    private_key: str
    private_key_id: str = ""
    token_uri: str = TOKEN_URL


class ServiceAccount(msgspec.Struct, frozen=True):
    """Who signs: its address, its key, and where access tokens are had."""

    email: str
    key: rsa.RSAPrivateKey
    key_id: str
    token_url: str


class GoogleIssuer(msgspec.Struct, frozen=True):
    """An issuer of passes, by its number at Google, and who speaks for it."""

    number: str
    account: ServiceAccount


def load_account(file: Path) -> ServiceAccount:
    """Read the JSON file that Google makes for a key of a service account. Raises AccountError."""
    try:
        read = msgspec.json.decode(file.read_bytes(), type=_File)
        key = load_pem_private_key(read.private_key.encode(), None)
    except OSError as error:
        raise AccountError(f"{file}: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError, TypeError):
        # What was raised may quote the file.
        raise AccountError(f"{file} is not the JSON file of a service account's key") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise AccountError(f"{file} holds no RSA key")
    return ServiceAccount(read.client_email, key, read.private_key_id, read.token_uri)
