"""Signatures of webhook deliveries: the vendor's own, and Standard Webhooks beside it."""

import base64
import binascii
import hmac
from collections.abc import Callable

from rxdesk.kit.headers import check_custom_header

SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix, not a secret
SECRET_BYTES = 32


def new_signing_secret(random_bytes: Callable[[int], bytes]) -> str:
    """Make a signing secret: `whsec_` and the standard padded base64 of 32 bytes from `random_bytes(32)`."""
    return SECRET_PREFIX + base64.b64encode(random_bytes(SECRET_BYTES)).decode("ascii")


def vendor_signature(secret: str, body: bytes) -> str:
    """Sign a body for `X-Webhook-Signature`: lower-case hex HMAC-SHA256.

    The key is the UTF-8 bytes of the whole secret, its prefix included.
    """
    return _vendor(secret.encode(), body)


def standard_signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign a delivery for `webhook-signature` (Standard Webhooks): `v1,` and the base64 of an HMAC-SHA256.

    The key is the decoded part after `whsec_`; what is signed is `<message_id>.<timestamp>.<body>`, with the
    timestamp in Unix seconds. Raises ValueError when the secret is not of that form.
    """
    return _standard(_key(secret), f"{message_id}.{timestamp}.".encode() + body)


def _vendor(key: bytes, body: bytes) -> str:
    return hmac.digest(key, body, "sha256").hex()


def _standard(key: bytes, signed: bytes) -> str:
    return "v1," + binascii.b2a_base64(hmac.digest(key, signed, "sha256"), newline=False).decode("ascii")


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key or not secret.startswith(SECRET_PREFIX):
        raise ValueError("the signing secret is not whsec_ and base64")
    return key


class Signer:
    """Signs deliveries of one subscription: its secrets and its own header are looked at once, for many of them.

    While the overlap of a rotation lasts, `previous_secret` signs besides in `webhook-signature`, which can carry two;
    `vendor_secret` is the one of both that signs in the vendor's header, which can carry one (default: `secret`).
    `custom` is the subscription's own (name, value). Raises ValueError when a secret is not of our form or the custom
    header is not acceptable.
    """

    __slots__ = ("_custom", "_keys", "_vendor_key")

    def __init__(
        self,
        secret: str,
        *,
        previous_secret: str | None = None,
        vendor_secret: str | None = None,
        custom: tuple[str, str] | None = None,
    ) -> None:
        self._keys = [_key(one) for one in (secret, previous_secret) if one is not None]
        self._vendor_key = (vendor_secret or secret).encode()
        # Judged when it was stored, and again here: no way into the table may let it replace one of ours.
        reason = None if custom is None else check_custom_header(*custom)
        if reason is not None:
            raise ValueError(reason)
        self._custom = custom

    def headers(
        self, *, event_type: str, message_id: str, timestamp: int, body: bytes, test: bool = False
    ) -> dict[str, str]:
        """Build all headers of one delivery attempt.

        `timestamp` is the time of this attempt in Unix seconds (a receiver's replay protection looks at it),
        `message_id` stays the same over all attempts, `test` says that it is a trial.
        """
        moment = str(timestamp)
        signed = f"{message_id}.{moment}.".encode() + body
        headers = {
            "Content-Type": "application/json",
            "X-Webhook-Event": event_type,
            "X-Webhook-Signature": _vendor(self._vendor_key, body),
            "webhook-id": message_id,
            "webhook-timestamp": moment,
            "webhook-signature": " ".join([_standard(key, signed) for key in self._keys]),
        }
        if test:
            headers["X-Webhook-Test"] = "true"
        if self._custom is not None:
            headers[self._custom[0]] = self._custom[1]
        return headers


def delivery_headers(
    *, event_type: str, secret: str, message_id: str, timestamp: int, body: bytes, test: bool = False
) -> dict[str, str]:
    """Build all headers of one delivery attempt, as a `Signer` of one secret does. Raises ValueError."""
    return Signer(secret).headers(
        event_type=event_type, message_id=message_id, timestamp=timestamp, body=body, test=test
    )
