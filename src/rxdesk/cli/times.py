"""Times as operators write them: `90d`, `12h`, `2w`, or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from rxdesk.cli.common import CliError

_SPAN = re.compile(r"([0-9]{1,6})\s*([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def span(text: str) -> timedelta:
    """Read `30m`, `12h`, `90d` or `2w`. Raises CliError."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        message = f"{text!r} is no length of time: write 30m, 12h, 90d or 2w"
        raise CliError(message)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def moment(text: str) -> datetime:
    """Read an instant: ISO 8601 (UTC where no zone is named) or Unix seconds. Raises CliError."""
    try:
        if re.fullmatch(r"[0-9]{1,11}", text.strip()):
            return datetime.fromtimestamp(int(text), UTC)
        read = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError, OSError) as error:
        message = f"{text!r} is no time: write 2026-12-31, 2026-12-31T18:00:00Z or Unix seconds"
        raise CliError(message) from error
    try:
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except OverflowError as error:  # its zone moves it out of the years 1 to 9999
        message = f"{text!r} is too far away"
        raise CliError(message) from error


def past(text: str, now: datetime) -> datetime:
    """Read a time: a length of time before now, or an instant. Raises CliError."""
    if _SPAN.fullmatch(text.strip()) is None:
        return moment(text)
    return _away(text, now, -1)


def _away(text: str, now: datetime, sign: int) -> datetime:
    try:
        return now + sign * span(text)
    except OverflowError as error:
        message = f"{text!r} is too far away"
        raise CliError(message) from error


def expiry(text: str, now: datetime) -> datetime:
    """Read when a key ends: a length of time from now, or a date. Raises CliError when that has passed."""
    if _SPAN.fullmatch(text.strip()):
        ends = _away(text, now, 1)
    elif re.match(r"[0-9]{4}-", text.strip()):
        ends = moment(text)
    else:
        message = f"{text!r} is no expiry: write a length of time (12h, 90d, 2w) or a date (2026-12-31)"
        raise CliError(message)
    if ends <= now:
        message = f"the expiry {text} is not in the future"
        raise CliError(message)
    return ends
