"""Why a delivery does not verify: what a receiver's author has in hand is looked at, and each fault is named.

Pure, and made for people: a receiver in production compares in constant time and says nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rxdesk.kit.signing import SECRET_BYTES, SECRET_PREFIX, standard_signature, vendor_signature

TOLERANCE_SECONDS = 300
_VENDOR = "x-webhook-signature"
_ID, _TIMESTAMP, _STANDARD = "webhook-id", "webhook-timestamp", "webhook-signature"
_SECONDS_DIGITS = 15
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: its name, whether it is well, and what to say of it."""

    name: str
    well: bool
    message: str


def diagnose(secret: str, headers: Sequence[tuple[str, str]], body: bytes, now: int) -> list[Finding]:
    """Look at a delivery as it arrived; `now` in Unix seconds. It verifies when every finding is well."""
    given = {name.strip().lower(): value.strip() for name, value in headers}
    findings = [_secret(secret)]
    if not findings[0].well:
        return findings
    findings += [_vendor(secret, given, body), *_standard(secret, given, body, now)]
    return [*findings, *_explained(secret, given, body, findings)]


def _secret(secret: str) -> Finding:
    def wrong(message: str) -> Finding:
        return Finding("secret", well=False, message=message)

    if secret != secret.strip():
        return wrong("has white space around it: take it off")
    if not secret.startswith(SECRET_PREFIX):
        return wrong(f"is of a wrong form: it begins with {SECRET_PREFIX}, and that belongs to it")
    text = secret.removeprefix(SECRET_PREFIX)
    if "-" in text or "_" in text:
        return wrong("is of a wrong form: it is standard base64 (+ and /), not the URL's")
    try:
        size = len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return wrong(f"is of a wrong form: after {SECRET_PREFIX} comes padded base64; is it whole?")
    if size != SECRET_BYTES:
        return wrong(f"is of a wrong form: it holds {size} bytes and not {SECRET_BYTES}; is it whole?")
    return Finding("secret", well=True, message="is of the right form")


def _vendor(secret: str, given: dict[str, str], body: bytes) -> Finding:
    name = "X-Webhook-Signature"
    value = given.get(_VENDOR)
    if value is None:
        return Finding(name, well=False, message="is missing")
    if hmac.compare_digest(value.encode(), vendor_signature(secret, body).encode()):
        return Finding(name, well=True, message="is that of this body and secret")
    if len(value) != 64 or not set(value) <= _HEX:  # noqa: PLR2004 (hex of SHA-256)
        return Finding(name, well=False, message="is not 64 lower-case hex digits: it was changed on its way")
    return Finding(name, well=False, message="is not that of this body and secret")


def _standard(secret: str, given: dict[str, str], body: bytes, now: int) -> Iterator[Finding]:
    missing = [name for name in (_ID, _TIMESTAMP, _STANDARD) if name not in given]
    yield from (Finding(name, well=False, message="is missing") for name in missing)
    timestamp = given.get(_TIMESTAMP, "")
    if timestamp:
        yield _moment(timestamp, now)
    if missing or not _is_seconds(timestamp):
        return
    expected = standard_signature(secret, given[_ID], int(timestamp), body)
    offered = given[_STANDARD].split()
    if expected in offered:
        which = f", the {offered.index(expected) + 1}. of {len(offered)}" if len(offered) > 1 else ""
        message = f"is that of this body, id, timestamp and secret{which}"
        yield Finding(_STANDARD, well=True, message=message)
    elif not any(one.startswith("v1,") for one in offered):
        yield Finding(
            _STANDARD, well=False, message="has no signature of version v1: it was changed on its way"
        )
    else:
        yield Finding(_STANDARD, well=False, message="is not that of this body, id, timestamp and secret")


def _is_seconds(timestamp: str) -> bool:
    return timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _SECONDS_DIGITS


def _moment(timestamp: str, now: int) -> Finding:
    if not _is_seconds(timestamp):
        return Finding(_TIMESTAMP, well=False, message="is not a number of Unix seconds")
    away = now - int(timestamp)
    if abs(away) <= TOLERANCE_SECONDS:
        return Finding(_TIMESTAMP, well=True, message=f"is {abs(away)} s {'old' if away >= 0 else 'ahead'}")
    what = "old: replayed, or kept too long" if away > 0 else "ahead"
    message = f"is {abs(away)} s {what}, or this clock is wrong; receivers accept {TOLERANCE_SECONDS} s"
    return Finding(_TIMESTAMP, well=False, message=message)


def _explained(
    secret: str, given: dict[str, str], body: bytes, findings: Sequence[Finding]
) -> Iterator[Finding]:
    """Name the cause behind signatures that do not fit, where one can be told."""
    verdicts = {one.name.lower(): one.well for one in findings}
    vendor, standard = verdicts.get(_VENDOR), verdicts.get(_STANDARD)
    if vendor and standard is False and _STANDARD in given:
        yield Finding(
            "cause",
            well=False,
            message="the body and the secret are right: webhook-id or webhook-timestamp is not",
        )
    elif standard and vendor is False and _VENDOR in given:
        yield Finding(
            "cause",
            well=False,
            message="the body and the secret are right: a rotation lasts, and the vendor's header is still the old "
            "secret's; verify webhook-signature, or wait until the overlap ends",
        )
    elif False in (vendor if _VENDOR in given else None, standard if _STANDARD in given else None):
        yield Finding("cause", well=False, message=_cause(secret, given, body))


def _cause(secret: str, given: dict[str, str], body: bytes) -> str:
    for what, change in _CHANGES:
        other = change(body)
        if other is not None and other != body and _fits(secret, given, other):
            return what
    if body in (_compact(body), _as_imported(body)):
        return "the body looks as it was sent, so the secret is another one: a different subscription's, or an old one"
    if _compact(body) is None:
        return "the body is no JSON: it was cut or changed on its way, or the wrong bytes were kept"
    return (
        "the body was changed: it is not written as RxDesk writes it (members in another order?), or the secret is "
        "another one as well. Keep the raw bytes before any parser sees them"
    )


def _fits(secret: str, given: dict[str, str], body: bytes) -> bool:
    if given.get(_VENDOR) == vendor_signature(secret, body):
        return True
    timestamp = given.get(_TIMESTAMP, "")
    if _ID not in given or not _is_seconds(timestamp):
        return False
    return standard_signature(secret, given[_ID], int(timestamp), body) in given.get(_STANDARD, "").split()


def _compact(body: bytes) -> bytes | None:
    """Write a JSON text as RxDesk does for a change: no white space, no needless escapes, members in their order."""
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except (ValueError, RecursionError):
        return None


def _as_imported(body: bytes) -> bytes | None:
    """Write a JSON text as RxDesk does for what an import tells of, which is as PostgreSQL writes it."""
    try:
        return _spaced(json.loads(body), ()).encode()
    except (ValueError, RecursionError):
        return None


def _spaced(value: object, path: tuple[str, ...]) -> str:
    """Write `json` with its spaces; what is stored as `jsonb` has one less in each of its members."""
    colon = ": " if any(path[: len(stored)] == stored for stored in _STORED) else " : "
    if isinstance(value, dict):
        members = (
            f"{json.dumps(name, ensure_ascii=False)}{colon}{_spaced(one, (*path, name))}"
            for name, one in value.items()
        )
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_spaced(one, path) for one in value)}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


# The members of a pharmacy order's event that are columns of type jsonb.
_STORED = (("data", "data"), ("data", "order", "delivery_address"), ("data", "order", "invoice_address"))
_RESERIALISED = (
    "the body was read and written again (re-serialised): it verifies as {}. Keep the raw bytes before any parser sees "
    "them, and sign those"
)
_CHANGES: tuple[tuple[str, Callable[[bytes], bytes | None]], ...] = (
    (
        "there is a line feed after the body that was not sent: an editor or `echo` put it there",
        lambda body: body.rstrip(b"\r\n"),
    ),
    (
        "there is a byte order mark before the body that was not sent",
        lambda body: body.removeprefix(b"\xef\xbb\xbf"),
    ),
    (_RESERIALISED.format("compact JSON"), _compact),
    (_RESERIALISED.format("JSON with the spaces of an import's events"), _as_imported),
)
