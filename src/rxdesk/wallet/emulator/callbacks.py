"""Callbacks as Google signs them (ECv2SigningOnly), with keys made here."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rxdesk.wallet.google.callbacks import PROTOCOL, SENDER, signed_bytes

_KEY_LASTS: Final = timedelta(days=7)
_MESSAGE_LASTS: Final = timedelta(hours=1)


class CallbackSigner:
    """Holds a root key and an intermediate key that it has signed; with a secret, the same ones each time."""

    def __init__(self, now: datetime, secret: bytes | None = None) -> None:
        secret = secret or secrets.token_bytes(32)
        self._root, self._key = _key(secret, b"root"), _key(secret, b"intermediate")
        self._ends = _millis(now + _KEY_LASTS)

    def published(self) -> dict[str, Any]:
        """Give what Google publishes of its root keys."""
        key = {"keyValue": _public(self._root), "protocolVersion": PROTOCOL, "keyExpiration": str(self._ends)}
        return {"keys": [key]}

    def callback(
        self,
        event: Literal["save", "del"],
        class_id: str,
        object_id: str,
        issuer: str,
        now: datetime,
        nonce: str | None = None,
    ) -> bytes:
        """Give the body that Google would send to a class's callback address; the same nonce for the same once more."""
        message = {
            "classId": class_id,
            "objectId": object_id,
            "expTimeMillis": _millis(now + _MESSAGE_LASTS),
            "eventType": event,
            "nonce": nonce or secrets.token_hex(16),
        }
        return self.envelope(json.dumps(message), issuer)

    def envelope(self, message: str, issuer: str) -> bytes:
        """Sign a message for an issuer."""
        signed_key = json.dumps({"keyValue": _public(self._key), "keyExpiration": str(self._ends)})
        intermediate = {
            "signedKey": signed_key,
            "signatures": [_signature(self._root, signed_bytes(SENDER, PROTOCOL, signed_key))],
        }
        envelope = {
            "signature": _signature(self._key, signed_bytes(SENDER, issuer, PROTOCOL, message)),
            "intermediateSigningKey": intermediate,
            "protocolVersion": PROTOCOL,
            "signedMessage": message,
        }
        return json.dumps(envelope).encode()


def _key(secret: bytes, name: bytes) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hmac.digest(secret, name, "sha256"), "big")
    return ec.derive_private_key(number >> 1 | 1, ec.SECP256R1())  # below the curve's order, and not 0


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _public(key: ec.EllipticCurvePrivateKey) -> str:
    encoded = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(encoded).decode("ascii")


def _signature(key: ec.EllipticCurvePrivateKey, signed: bytes) -> str:
    return base64.b64encode(key.sign(signed, ec.ECDSA(SHA256()))).decode("ascii")
