"""Both signatures of a delivery, as one who sends webhooks without RxDesk would make them."""

from __future__ import annotations

import base64
import hmac
import time


def headers(event_type: str, uid: str, body: bytes, secret: bytes, key: bytes) -> dict[str, str]:
    """Sign a delivery: the vendor's header by the whole secret, Standard Webhooks' by the key within it."""
    moment = str(int(time.time()))
    signed = b"%b.%b.%b" % (uid.encode(), moment.encode(), body)
    return {
        "Content-Type": "application/json",
        "X-Webhook-Event": event_type,
        "X-Webhook-Signature": hmac.digest(secret, body, "sha256").hex(),
        "webhook-id": uid,
        "webhook-timestamp": moment,
        "webhook-signature": "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode(),
    }


def key_of(secret: str) -> bytes:
    """Give the key within a secret."""
    return base64.b64decode(secret.removeprefix("whsec_"))
