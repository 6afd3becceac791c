"""What the contract rules and no framework knows, shared by the three peers: plain functions, and no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from rxdesk.kit.keys import KeyReference, read_key

PRESENT = ("waiting", "allocated")
STATUSES = (
    "waiting_for_doctor",
    "approved",
    "signed",
    "declined",
    "cancelled",
    "on_hold",
    "non_qes_signed",
    "externally_signed",
)
VISIT_EVENT = "waiting_room_updated"
PERSONAL = ("display_name", "first_name", "last_name")
NOT_FOUND = {"error": "Resource not found"}
_APPROVED = ("approved", "signed", "non_qes_signed", "externally_signed")
_LONGEST_HEADER = 256
_LONGEST_MESSAGE = 500
_LONGEST_INTENT = 256
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_MINUTES, _DOCTORS = 10, 1  # where the shop sets none
_VALID_DAYS = 365
_DAY = 86400
_MOST_DAYS = 366


class ApiError(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, body: Mapping[str, object]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class Caller:
    """A valid key."""

    organisation_id: int
    key_uid: str
    permissions: Sequence[str]


def absent() -> ApiError:
    """One answer for all that is not there."""
    return ApiError(404, NOT_FOUND)


def not_found(field: str) -> ApiError:
    """A body's reference that is not the organisation's."""
    return ApiError(404, {**NOT_FOUND, "field": field})


def invalid(field: str, location: str, message: str) -> ApiError:
    """A faulty member of the input."""
    details = [{"field": field, "location": location, "message": message}]
    return ApiError(400, {"error": "Validation failed", "details": details})


def key_reference(header: str | None) -> KeyReference:
    """Read the header's key. Raises the contract's 401."""
    if header is None:
        raise _refused(401, "authorization_header_missing", "Authorization header is expected")
    if not 0 < len(header) <= _LONGEST_HEADER or not header.isascii():
        raise _refused(
            401, "invalid_header", "X-API-Key must be sent once, as 1 to 256 printable ASCII characters"
        )
    reference = read_key(header)
    if reference is None:
        raise unknown_key()
    return reference


def unknown_key() -> ApiError:
    """A key that is none, or no longer one."""
    return _refused(401, "invalid_api_key", "The API key is not valid")


def permitted(caller: Caller, permission: str) -> Caller:
    """Give the caller. Raises the contract's 403."""
    if permission not in caller.permissions:
        raise _refused(403, "permission_denied", "The API key lacks the permission for this operation")
    return caller


def _refused(status: int, code: str, description: str) -> ApiError:
    return ApiError(status, {"code": code, "description": description})


def unix(moment: datetime) -> int:
    """Give whole Unix seconds."""
    return int(moment.timestamp() // 1)


def visit_event(uid: str, status: str, created_at: datetime, now: datetime) -> bytes:
    """Give the body of the event that tells of a visit's change."""
    data = {"uid": uid, "status": status, "created_at": unix(created_at), "updated_at": unix(now)}
    event = {"event_type": VISIT_EVENT, "timestamp": unix(now), "payload_version": "1", "data": data}
    return json.dumps(event, separators=(",", ":")).encode()


def patient_data(row: Any) -> dict[str, Any]:  # noqa: ANN401 (a row of any ORM)
    """Give a patient's profile, whose columns win over the members of the same name."""
    return {
        **row.profile,
        "display_name": row.display_name,
        "email": row.email,
        "date_of_birth": None if row.date_of_birth is None else row.date_of_birth.isoformat(),
    }


def intent_key(intent: str) -> str:
    """Give what the database can be asked for: a text that no intent can be is an unknown one."""
    return "" if "\x00" in intent or len(intent) > _LONGEST_INTENT else intent


def intent_code(signed_at: datetime | None, valid_days: int | None, now: datetime) -> str:
    """Say whether the newest signed submission still counts."""
    if signed_at is None:
        return "NOT_FOUND"
    days = _VALID_DAYS if valid_days is None else valid_days
    return "VALID" if unix(now) - unix(signed_at) <= days * _DAY else "EXPIRED"


def waiting_minutes(position: int, consultation_minutes: int | None, doctors_on_duty: int | None) -> int:
    """Give positions ahead × minutes ÷ doctors, rounded up."""
    minutes = _MINUTES if consultation_minutes is None else consultation_minutes
    doctors = max(1, _DOCTORS if doctors_on_duty is None else doctors_on_duty)
    return -(-(position - 1) * minutes // doctors)


def instant(seconds: int | None) -> datetime | None:
    """Give the instant of Unix seconds."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def check_period(first: int | None, last: int | None) -> None:
    """Raise 400 for a period that ends before it begins."""
    if first is not None and last is not None and first >= last:
        raise invalid("from", "query", "must be before 'to'")


def first_day(zone: ZoneInfo, end: datetime | None, newest_at: datetime | None) -> datetime:
    """Where the 366 days begin that are told one by one.

    They end with the period, and today at the latest unless there is later work.
    """
    last = datetime.now(zone).date()
    if newest_at is not None:
        last = max(last, newest_at.astimezone(zone).date())
    if end is not None:
        last = min(last, (end - timedelta(microseconds=1)).astimezone(zone).date())
    return _midnight(last - timedelta(days=_MOST_DAYS - 1), zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone)


def _rounded(dividend: int, divisor: int) -> int:
    """Divide and round half up."""
    return (2 * dividend + divisor) // (2 * divisor)


def statistics(
    doctor_uid: str,
    period: tuple[int | None, int | None],
    counts: Mapping[str, Any],
    daily: list[dict[str, Any]],
) -> dict[str, Any]:
    """Assemble a doctor's statistics.

    `counts` has a number by status, `decided`, and of the seconds to a decision the sum (`seconds`) and the median
    and 90th percentile (`percentiles`).
    """
    by_status = {status: counts[status] for status in STATUSES}
    approved = sum(by_status[status] for status in _APPROVED)
    judged = approved + by_status["declined"]
    decision = None
    if counts["decided"]:
        median, p90 = counts["percentiles"]
        mean = _rounded(int(counts["seconds"]), counts["decided"])
        decision = {"median": median, "p90": p90, "mean": mean}
    return {
        "doctor_uid": doctor_uid,
        "from": period[0],
        "to": period[1],
        "prescriptions": {"total": sum(by_status.values()), "by_status": by_status},
        "approval_rate": _rounded(100 * approved, judged) / 100 if judged else None,
        "decision_seconds": decision,
        "daily": daily,
    }


class UnfitError(Exception):
    """A message that cannot be queued; its text is the contract's error."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A pass as a message needs it: `values` are the fields, `personal` the names of who holds it."""

    status: str
    expires_at: datetime | None
    fields: Sequence[str]
    values: Mapping[str, Any]
    personal: Mapping[str, str | None]


def message(text: str, holder: Holder | None, now: datetime) -> str:
    """Fill in a message's placeholders. Raises UnfitError."""
    if holder is None:
        raise UnfitError("not_found")
    if holder.status == "active" and holder.expires_at is not None and holder.expires_at <= now:
        raise UnfitError("expired")
    if holder.status != "active":
        raise UnfitError(holder.status)

    def fill(match: re.Match[str]) -> str:
        name = match[1].strip()
        return _value(name, holder) if name else match[0]

    filled = _PLACEHOLDER.sub(fill, text)
    if len(filled) > _LONGEST_MESSAGE:
        raise UnfitError("too_long")
    return filled


def _value(name: str, holder: Holder) -> str:
    if name in PERSONAL:
        value = holder.personal[name]
    elif name in holder.fields:
        value = holder.values.get(name)
    else:
        raise UnfitError(f"unknown_placeholder:{name}")
    if value is None or value == "":
        raise UnfitError(f"empty_placeholder:{name}")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
