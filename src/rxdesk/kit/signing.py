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
    return hmac.digest(secret.encode(), body, "sha256").hex()


def standard_signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign a delivery for `webhook-signature` (Standard Webhooks): `v1,` and the base64 of an HMAC-SHA256.

    The key is the decoded part after `whsec_`; what is signed is `<message_id>.<timestamp>.<body>`, with the
    timestamp in Unix seconds. Raises ValueError when the secret is not of that form.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key or not secret.startswith(SECRET_PREFIX):
        raise ValueError("the signing secret is not whsec_ and base64")
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode("ascii")


def delivery_headers(  # noqa: PLR0913 - what a delivery is made of, by name
    *,
    event_type: str,
    secret: str,
    message_id: str,
    timestamp: int,
    body: bytes,
    test: bool = False,
    custom: tuple[str, str] | None = None,
    previous_secret: str | None = None,
    vendor_secret: str | None = None,
) -> dict[str, str]:
    """Build all headers of one delivery attempt.

    While the overlap of a rotation lasts, `previous_secret` signs besides in `webhook-signature`, which can carry two;
    `vendor_secret` is the one of both that signs in the vendor's header, which can carry one (default: `secret`).

    `timestamp` is the time of this attempt in Unix seconds (a receiver's replay protection looks at it),
    `message_id` stays the same over all attempts. `custom` is the subscription's own (name, value). Raises
    ValueError when the secret is not of our form or the custom header is not acceptable.
    """
    secrets = [secret] if previous_secret is None else [secret, previous_secret]
    headers = {
        "Content-Type": "application/json",
        "X-Webhook-Event": event_type,
        "X-Webhook-Signature": vendor_signature(vendor_secret or secret, body),
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(
            standard_signature(one, message_id, timestamp, body) for one in secrets
        ),
    }
    if test:
        headers["X-Webhook-Test"] = "true"
    if custom is not None:
        # Judged when it was stored, and again here: no way into the table may let it replace one of ours.
        reason = check_custom_header(*custom)
        if reason is not None:
            raise ValueError(reason)
        headers[custom[0]] = custom[1]
    return headers
