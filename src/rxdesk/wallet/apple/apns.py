"""Telling Apple's push service (APNs) that a pass has changed; the device then comes and fetches it."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path
from typing import Literal

import msgspec

from rxdesk.kit.clock import Clock, unix
from rxdesk.kit.egress import Egress
from rxdesk.kit.http2 import Http2Answer, Http2Client, client_tls
from rxdesk.wallet.apple.certificates import CertificateError, as_pem

Verdict = Literal["sent", "gone", "retry", "refused"]

# The device is told when it is next reached, within so many seconds.
_KEPT_SECONDS = 30 * 86_400
_TOKEN = re.compile(r"[0-9a-fA-F]{2,200}")
_PAYLOAD = b"{}"
_REASON = re.compile(r"[A-Za-z]{1,64}")
# The last that a time can be here, that of the year 9999.
_LAST_MILLISECOND = 253_402_300_799_999
_OK, _FORBIDDEN, _GONE, _TOO_MANY, _FAULT = 200, 403, 410, 429, 500
# An operator can put these right, so that the push is still wanted.
_CERTIFICATE_REASONS = frozenset({"BadCertificate", "BadCertificateEnvironment"})


class Pushed(msgspec.Struct, frozen=True):
    """What became of a push.

    `sent`: Apple has taken it. `gone`: the device has no pass of this type any more (410); forget it, unless it has
    registered anew since `unregistered_at`, in Unix milliseconds (None: Apple names no time). `retry`: later, the same
    again. `refused`: never will this be taken as it is.
    `reason` is Apple's word for it, or `dns`, `connect`, `tls`, `timeout`, `too_large` where no answer came; None when
    sent. `retry_after` is the header of that name, unread.
    """

    verdict: Verdict
    status: int | None
    reason: str | None
    unregistered_at: int | None = None
    retry_after: str | None = None


class ApnsClient:
    """Pushes to devices that hold passes of one type, over one connection at a time.

    `url` is Apple's (`https://api.push.apple.com`) or an emulator's; `topic` the pass type that the certificate names.
    """

    def __init__(self, egress: Egress, url: str, tls: ssl.SSLContext, topic: str, clock: Clock) -> None:
        self._http = Http2Client(egress, url, tls)
        self._topic = topic
        self._clock = clock

    async def push(self, token: str, *, total: float = 10.0) -> Pushed:
        """Push to one device by the token that it registered with, within `total` seconds.

        A push may reach a device twice; the second one shows nothing. Raises TargetInvalid or TargetForbidden when the
        policy refuses the URL.
        """
        if _TOKEN.fullmatch(token) is None:
            return Pushed("refused", None, "BadDeviceToken")
        headers = {
            "apns-topic": self._topic,
            "apns-expiration": str(unix(self._clock()) + _KEPT_SECONDS),
            "content-length": str(len(_PAYLOAD)),
            "user-agent": "RxDesk",
        }
        return judge(await self._http.request("POST", f"/3/device/{token}", headers, _PAYLOAD, total=total))

    async def close(self) -> None:
        """Close the connection."""
        await self._http.close()


def apns_tls(certificate_file: Path, key_file: Path, password: str, ca_file: Path | None) -> ssl.SSLContext:
    """Make the TLS of a client that proves itself with the pass certificate. `ca_file` names further authorities.

    Raises CertificateError when a file is missing, neither PEM nor DER, or its key does not belong to it.
    """
    try:
        with as_pem(certificate_file, key_file, password) as (certificate, key, opening):
            return client_tls(ca_file, certificate, key, opening)
    except OSError as error:
        raise CertificateError(
            f"{certificate_file} and {key_file} cannot be used for pushes: {error.strerror or 'unreadable'}"
        ) from error


def judge(answer: Http2Answer) -> Pushed:
    """Say what an answer means for the push."""
    if answer.status is None:
        return Pushed("retry", None, answer.error or "connect")
    if answer.status == _OK:
        return Pushed("sent", _OK, None)
    reason, unregistered_at = _read(answer.body)
    retry_after = answer.headers.get("retry-after")
    if answer.status == _GONE:
        return Pushed("gone", _GONE, reason, unregistered_at)
    if (
        answer.status == _TOO_MANY
        or answer.status >= _FAULT
        or (answer.status == _FORBIDDEN and reason in _CERTIFICATE_REASONS)
    ):
        return Pushed("retry", answer.status, reason, retry_after=retry_after)
    return Pushed("refused", answer.status, reason)


def _read(body: bytes) -> tuple[str | None, int | None]:
    """Read the reason and the timestamp of a refusal; None for what is not of the documented form."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(said, dict):
        return None, None
    reason, timestamp = said.get("reason"), said.get("timestamp")
    return (
        reason if isinstance(reason, str) and _REASON.fullmatch(reason) else None,
        timestamp if type(timestamp) is int and 0 < timestamp <= _LAST_MILLISECOND else None,
    )
