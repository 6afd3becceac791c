"""What Google says of a pass that a holder saved or deleted; it is believed when Google's signature holds."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from rxdesk.kit.strict_json import UNREADABLE

KEYS_URL: Final = "https://pay.google.com/gp/m/issuer/keys"
PROTOCOL: Final = "ECv2SigningOnly"
SENDER: Final = "GooglePayPasses"

_LENGTH_BYTES = 4
# A message that lasted for ever would be the last that is heeded of its pass.
_LONGEST_MILLIS: Final = 365 * 24 * 60 * 60 * 1000


class CallbackRefused(ValueError):  # noqa: N818 - a verdict, not a fault of the program
    """A callback is not Google's, not for this issuer, too old, or not of a form to keep; the message says which."""


class Callback(msgspec.Struct, frozen=True, rename="camel"):
    """What happened to a pass. The same one may come more than once: then with the same `nonce`."""

    class_id: str
    object_id: str
    event_type: Literal["save", "del"]
    exp_time_millis: int
    # It is kept as it came, so it must be text that PostgreSQL takes.
    nonce: Annotated[str, msgspec.Meta(pattern=r"\A[ -~]{1,256}\Z")]
    count: int = 1


class RootKey(msgspec.Struct, frozen=True, rename="camel"):
    """One of Google's keys, as it publishes them."""

    key_value: str
    protocol_version: str
    key_expiration: str | None = None


class _RootKeys(msgspec.Struct):
    keys: list[RootKey]


class Intermediate(msgspec.Struct, rename="camel"):
    """The key that signs callbacks, as text, and the signatures that root keys have made of it."""

    signed_key: str
    signatures: Annotated[list[str], msgspec.Meta(min_length=1, max_length=16)]


class Envelope(msgspec.Struct, rename="camel"):
    """What comes: `signed_message` is a `Callback` as text, of which `signature` is by the intermediate key."""

    signature: str
    intermediate_signing_key: Intermediate
    protocol_version: str
    signed_message: str

    @classmethod
    def example(cls) -> Envelope:
        """Give one as it looks."""
        key = Intermediate(
            signed_key='{"keyValue":"MFkw…","keyExpiration":"1711786400000"}', signatures=["MEUC…"]
        )
        message = (
            '{"classId":"3388….mdv4kx7w_wpt-abc123","objectId":"3388….mdv4kx7w_wp-abc123",'
            '"eventType":"save","expTimeMillis":…'
        )
        return cls("MEQC…", key, PROTOCOL, message)


class _SignedKey(msgspec.Struct, rename="camel"):
    key_value: str
    key_expiration: str


def read_root_keys(document: bytes) -> list[RootKey]:
    """Read what Google publishes: the keys of our protocol. Raises CallbackRefused when it is not of that form."""
    try:
        keys = msgspec.json.decode(document, type=_RootKeys).keys
    except UNREADABLE as error:
        raise CallbackRefused("the published keys cannot be read") from error
    return [key for key in keys if key.protocol_version == PROTOCOL]


def verify_callback(body: bytes, issuer: str, roots: list[RootKey], now: datetime) -> Callback:
    """Verify what came and give what it says.

    A root key that has not run out must have signed the intermediate key, that key (not run out either) the message,
    for this issuer; and the message must not be too old, nor last for more than a year. Raises CallbackRefused.
    """
    millis = int(now.timestamp() * 1000)
    try:
        envelope = msgspec.json.decode(body, type=Envelope)
        signed_key = envelope.intermediate_signing_key.signed_key
        intermediate = msgspec.json.decode(signed_key.encode(), type=_SignedKey)
    except UNREADABLE as error:
        raise CallbackRefused("not of the form of a callback") from error
    if envelope.protocol_version != PROTOCOL:
        raise CallbackRefused("not of the protocol that is known here")
    believed = [root for root in roots if not _over(root.key_expiration, millis)]
    if not any(
        _holds(root.key_value, signature, signed_bytes(SENDER, PROTOCOL, signed_key))
        for root in believed
        for signature in envelope.intermediate_signing_key.signatures
    ):
        raise CallbackRefused("no key of Google's has signed the intermediate key")
    if _over(intermediate.key_expiration, millis):
        raise CallbackRefused("the intermediate key has run out")
    signed = signed_bytes(SENDER, issuer, PROTOCOL, envelope.signed_message)
    if not _holds(intermediate.key_value, envelope.signature, signed):
        raise CallbackRefused("the message is not signed for this issuer")
    try:
        # Google writes numbers as numbers in one place and as texts in another.
        callback = msgspec.json.decode(envelope.signed_message.encode(), type=Callback, strict=False)
    except UNREADABLE as error:
        raise CallbackRefused("the message is not of the expected form") from error
    if callback.exp_time_millis <= millis:
        raise CallbackRefused("the message is too old")
    if callback.exp_time_millis > millis + _LONGEST_MILLIS:
        raise CallbackRefused("the end of the message is too far off")
    return callback


def signed_bytes(*parts: str) -> bytes:
    """Put together what is signed: each part behind its length in bytes, as 4 bytes, the lowest first."""
    encoded = (part.encode() for part in parts)
    return b"".join(len(part).to_bytes(_LENGTH_BYTES, "little") + part for part in encoded)


def _over(expiration: str | None, millis: int) -> bool:
    """Tell whether a key has run out; one whose end cannot be read has."""
    if expiration is None:
        return False
    return not (expiration.isascii() and expiration.isdecimal()) or int(expiration) <= millis


def _holds(key_value: str, signature: str, signed: bytes) -> bool:
    try:
        key = load_der_public_key(base64.b64decode(key_value, validate=True))
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(base64.b64decode(signature, validate=True), signed, ec.ECDSA(SHA256()))
    except (binascii.Error, ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
