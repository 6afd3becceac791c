"""When a delivery is tried again, and when a subscription has had its chances. Pure: time and chance are arguments."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# Seconds after each failure; ten attempts over 75 hours.
STEPS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
MOST_ATTEMPTS = len(STEPS) + 1
SPREAD = 0.2
PATIENCE = timedelta(days=5)
"""For so long a subscription may fail, and nothing else, before it is disabled."""
GONE = 410

_SECONDS = re.compile(r"[0-9]{1,9}")
_LONGEST_RETRY_AFTER = 64  # characters


def retry_seconds(failures: int, *, chance: float, retry_after: float | None = None) -> float | None:
    """Give the seconds from the last failure to the next attempt, None when there is none.

    `failures` counts the attempts so far, all failed; `chance` is uniform in [0, 1). With d the step's seconds: within
    d ± 20 %, or, where the receiver asked for `retry_after` seconds, that and up to a fifth more, within [d, 2d].
    """
    if not 1 <= failures < MOST_ATTEMPTS:
        return None
    step = STEPS[failures - 1]
    if retry_after is None:
        return step * (1 - SPREAD + 2 * SPREAD * chance)
    return min(max(retry_after * (1 + SPREAD * chance), step), 2 * step)


def retry_after_seconds(text: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header, seconds or an HTTP date; None when there is none or it is neither."""
    if text is None or len(text) > _LONGEST_RETRY_AFTER:
        return None
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def disabled_for(status: int | None, failing_since: datetime, now: datetime) -> str | None:
    """Give the reason for which a failure ends its subscription: `gone`, `failing`, or None when it does not."""
    if status == GONE:
        return "gone"
    return "failing" if now - failing_since >= PATIENCE else None
