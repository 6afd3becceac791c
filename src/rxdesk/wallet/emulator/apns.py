"""Apple's push service (APNs) as its documentation describes it, for pass certificates: HTTP/2, mutual TLS, reasons."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rxdesk.kit.clock import Clock

_PATH = re.compile(r"/3/device/([^/?]*)")
_TOKEN = re.compile(r"[0-9a-fA-F]{64,200}")
_NUMBER = re.compile(r"[0-9]{1,12}")
_LONGEST_PAYLOAD = 4096
_LONGEST_COLLAPSE_ID = 64
_PRIORITIES = ("1", "5", "10")
_PUSH_TYPES = frozenset({"alert", "background"})

STATUS: Final[Mapping[str, int]] = {
    "BadCollapseId": 400,
    "BadDeviceToken": 400,
    "BadExpirationDate": 400,
    "BadMessageId": 400,
    "BadPriority": 400,
    "BadTopic": 400,
    "DeviceTokenNotForTopic": 400,
    "DuplicateHeaders": 400,
    "IdleTimeout": 400,
    "InvalidPushType": 400,
    "MissingDeviceToken": 400,
    "MissingTopic": 400,
    "PayloadEmpty": 400,
    "TopicDisallowed": 400,
    "BadCertificate": 403,
    "BadCertificateEnvironment": 403,
    "ExpiredProviderToken": 403,
    "Forbidden": 403,
    "InvalidProviderToken": 403,
    "MissingProviderToken": 403,
    "UnrelatedKeyIdInToken": 403,
    "BadPath": 404,
    "MethodNotAllowed": 405,
    "ExpiredToken": 410,
    "Unregistered": 410,
    "PayloadTooLarge": 413,
    "TooManyProviderTokenUpdates": 429,
    "TooManyRequests": 429,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "Shutdown": 503,
}
"""Each reason that Apple documents, with its status."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not 200: a reason of `STATUS`, and for 410 since when, in Unix milliseconds."""

    reason: str
    timestamp: int | None = None


class Devices:
    """The devices that the push service knows, by token, and what is to happen when one is pushed.

    `known` takes what a push does: it is called with the topic. A token that was forgotten is answered 410.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, Callable[[str], None]] = {}
        self._forgotten: dict[str, int] = {}

    def know(self, token: str, pushed: Callable[[str], None]) -> None:
        """Let a device be pushed."""
        self._forgotten.pop(token, None)
        self._known[token] = pushed

    def forget(self, token: str) -> None:
        """Let pushes to a device be answered 410 from now on."""
        if self._known.pop(token, None) is not None:
            self._forgotten[token] = int(self._clock().timestamp() * 1000)

    def push(self, token: str, topic: str) -> Refusal | None:
        """Push to a device; None when it is there."""
        if token in self._forgotten:
            return Refusal("Unregistered", self._forgotten[token])
        if token not in self._known:
            return Refusal("BadDeviceToken")
        self._known[token](topic)
        return None


def judge_request(
    fields: Sequence[tuple[str, str]], body: bytes, pass_type: str | None, devices: Devices
) -> Refusal | None:
    """Judge a request as Apple documents it, and push when there is nothing to say against it.

    `fields` are all header fields, pseudo-headers among them; `pass_type` is what the client's certificate names.
    """
    fault = _fault_of_head(fields) or _fault_of_body(body)
    if fault is not None:
        return Refusal(fault)
    headers = dict(fields)
    if pass_type is None:
        return Refusal("BadCertificate")
    topic = headers.get("apns-topic", pass_type)
    if topic != pass_type:
        return Refusal("TopicDisallowed")
    path = _PATH.fullmatch(headers[":path"])
    token = path[1] if path else ""
    if not token:
        return Refusal("MissingDeviceToken")
    if _TOKEN.fullmatch(token) is None:
        return Refusal("BadDeviceToken")
    return devices.push(token, topic)


def _fault_of_head(fields: Sequence[tuple[str, str]]) -> str | None:
    headers = dict(fields)
    repeated = Counter(name for name, _ in fields if name.startswith("apns-")).most_common(1)
    rules = (
        (headers.get(":method") != "POST", "MethodNotAllowed"),
        (_PATH.fullmatch(headers.get(":path", "")) is None, "BadPath"),
        (bool(repeated) and repeated[0][1] > 1, "DuplicateHeaders"),
        ("apns-id" in headers and not _is_uuid(headers["apns-id"]), "BadMessageId"),
        (headers.get("apns-priority", "10") not in _PRIORITIES, "BadPriority"),
        (_NUMBER.fullmatch(headers.get("apns-expiration", "0")) is None, "BadExpirationDate"),
        (len(headers.get("apns-collapse-id", "").encode()) > _LONGEST_COLLAPSE_ID, "BadCollapseId"),
        (headers.get("apns-push-type", "alert") not in _PUSH_TYPES, "InvalidPushType"),
    )
    return next((reason for broken, reason in rules if broken), None)


def _fault_of_body(body: bytes) -> str | None:
    if not body:
        return "PayloadEmpty"
    return "PayloadTooLarge" if len(body) > _LONGEST_PAYLOAD else None


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
