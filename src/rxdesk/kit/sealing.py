"""Sealing: AES-256-GCM for the few secrets that must be readable again.

A sealed value is `version (1 byte) | length of key id (1) | key id | nonce (12) | ciphertext and tag`. The
organisation, the row's uid and the column's name are associated data, so a value copied to another row or
column does not open. The first key seals; all open, so that a key can be replaced.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_FILE = "encryption.key"  # of an embedded database, in its folder
_VERSION = 1
_NONCE_LENGTH = 12
_KEY_LENGTH = 32
_ENTRY = re.compile(r"([A-Za-z0-9_-]{1,32}):([A-Za-z0-9+/=_-]+)")


class SealError(Exception):
    """A sealed value cannot be opened: the key is missing or the value was moved or changed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value lives; it opens nowhere else."""

    organisation_id: int
    uid: str
    column: str

    def associated_data(self) -> bytes:
        """Give the bytes that are authenticated beside the ciphertext."""
        return f"{self.organisation_id}/{self.uid}/{self.column}".encode()


class Sealer:
    """Seals and opens with a ring of keys, the first of which seals."""

    def __init__(self, keys: dict[str, bytes], *, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        if not keys:
            message = "no encryption key"
            raise ValueError(message)
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._current = next(iter(keys))
        self._random_bytes = random_bytes

    def seal(self, text: str, place: Place) -> bytes:
        """Seal a text for one place."""
        nonce = self._random_bytes(_NONCE_LENGTH)
        sealed = self._ciphers[self._current].encrypt(nonce, text.encode(), place.associated_data())
        key_id = self._current.encode("ascii")
        return bytes((_VERSION, len(key_id))) + key_id + nonce + sealed

    def open(self, sealed: bytes, place: Place) -> str:
        """Open what was sealed for that place; SealError when it cannot be."""
        if len(sealed) < 2 or sealed[0] != _VERSION:  # noqa: PLR2004 (version and length, see the module's text)
            message = "sealed value of an unknown form"
            raise SealError(message)
        start = 2 + sealed[1]
        cipher = self._ciphers.get(sealed[2:start].decode("ascii", "replace"))
        if cipher is None:
            message = "the encryption key that sealed this value is not configured"
            raise SealError(message)
        nonce, rest = sealed[start : start + _NONCE_LENGTH], sealed[start + _NONCE_LENGTH :]
        try:
            return cipher.decrypt(nonce, rest, place.associated_data()).decode()
        except (InvalidTag, ValueError) as error:
            message = "sealed value does not open here: wrong key, or moved, or changed"
            raise SealError(message) from error


def read_keys(text: str) -> dict[str, bytes]:
    """Read `id:base64[,id:base64…]`, each of 32 bytes; ValueError says what is wrong, not the key."""
    keys: dict[str, bytes] = {}
    for position, entry in enumerate(filter(None, re.split(r"[,\s]+", text.strip())), start=1):
        match = _ENTRY.fullmatch(entry)
        try:
            key = (
                base64.b64decode(match[2].replace("-", "+").replace("_", "/"), validate=True)
                if match
                else b""
            )
        except binascii.Error:
            key = b""
        if match is None or len(key) != _KEY_LENGTH:
            message = f"encryption key {position} is not of the form id:base64 of 32 bytes"
            raise ValueError(message)
        keys[match[1]] = key
    return keys


def new_keys(*, random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """Make a fresh ring of one key in the form that `read_keys` reads."""
    return "k1:" + base64.b64encode(random_bytes(_KEY_LENGTH)).decode("ascii")


def keys_beside(folder: Path) -> str:
    """Read the key file of an embedded database's folder, making it (0600) when it is not there."""
    path = folder / KEY_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text("ascii")
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(new_keys() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return path.read_text("ascii")
