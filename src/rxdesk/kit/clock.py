"""The clock, handed in everywhere, so that a schedule of days is a test of milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Give the present instant, in UTC."""
    return datetime.now(UTC)


def unix(moment: datetime) -> int:
    """Give whole Unix seconds of an instant."""
    return int(moment.timestamp() // 1)
