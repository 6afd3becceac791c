"""How a receiver verifies both signatures; written by their descriptions, with no code of RxDesk in it."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections.abc import Mapping

_TOLERANCE_SECONDS = 300


def fault(secret: str, headers: Mapping[str, str], body: bytes) -> str | None:
    """Say what is wrong with a request, whose header names are in lower case; None when both signatures verify."""
    if headers.get("content-type") != "application/json":
        return "its content is not application/json"
    try:
        told = json.loads(body)["event_type"]
    except (ValueError, KeyError, TypeError):
        return "its body is not an event"
    if headers.get("x-webhook-event") != told:
        return "x-webhook-event is not the body's"
    vendor = hmac.new(secret.encode(), body, "sha256").hexdigest()
    if not hmac.compare_digest(headers.get("x-webhook-signature", "").encode(), vendor.encode()):
        return "x-webhook-signature does not verify"
    return _standard_fault(secret, headers, body)


def _standard_fault(secret: str, headers: Mapping[str, str], body: bytes) -> str | None:
    identity, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not identity:
        return "webhook-id is missing"
    if not moment.isdecimal() or abs(int(moment) - time.time()) > _TOLERANCE_SECONDS:
        return "webhook-timestamp is not of now"
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        return "the secret is not base64"
    signed = b".".join([identity.encode(), moment.encode(), body])
    wanted = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    given = headers.get("webhook-signature", "").split(" ")
    if not any(hmac.compare_digest(one.encode(), wanted.encode()) for one in given):
        return "webhook-signature does not verify"
    return None
