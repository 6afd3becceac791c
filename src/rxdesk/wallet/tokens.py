"""Tokens of a pass: its landing page's, its code's, its device's. None can be made from another.

Each is `<organisation's public code>.<the pass's public id>.<signature>`: looked up by the first two, proved by the
third, an HMAC-SHA256 of purpose and id with the pass's own secret, cut to 128 bits.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from typing import Literal

import msgspec

Purpose = Literal["landing", "code", "device"]

_FORM = re.compile(r"([A-Za-z0-9]{1,32})\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{22})", re.ASCII)
_ID_BYTES = 12
_SECRET_BYTES = 32
_SIGNATURE_BYTES = 16


class Identity(msgspec.Struct, frozen=True):
    """What a pass's tokens are made from; `secret` is text, as it is sealed."""

    public_id: str
    secret: str


class Reference(msgspec.Struct, frozen=True):
    """What a token of right form says of itself; it is proved by `fits` only."""

    public_code: str
    public_id: str
    signature: str


def new_identity(*, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> Identity:
    """Make the identity of a new pass."""
    return Identity(_text(random_bytes(_ID_BYTES)), _text(random_bytes(_SECRET_BYTES)))


def make_token(public_code: str, identity: Identity, purpose: Purpose) -> str:
    """Make a pass's token for a purpose."""
    return f"{public_code}.{identity.public_id}.{_signature(identity, purpose)}"


def read_token(token: str) -> Reference | None:
    """Read a token, or None when it has not our form."""
    match = _FORM.fullmatch(token)
    return None if match is None else Reference(*match.groups())


def fits(reference: Reference, identity: Identity, purpose: Purpose) -> bool:
    """Tell, in constant time, whether a token is this pass's for this purpose."""
    same_id = hmac.compare_digest(reference.public_id, identity.public_id)
    return hmac.compare_digest(reference.signature, _signature(identity, purpose)) and same_id


def _signature(identity: Identity, purpose: Purpose) -> str:
    signed = f"{purpose}/{identity.public_id}".encode()
    return _text(hmac.digest(identity.secret.encode(), signed, hashlib.sha256)[:_SIGNATURE_BYTES])


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
