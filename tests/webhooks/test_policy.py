"""When a delivery is tried again, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxdesk.webhooks import policy

NOW = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)


def test_ten_attempts_over_75_hours() -> None:
    assert policy.MOST_ATTEMPTS == 10
    middle = [policy.retry_seconds(number, chance=0.5) for number in range(1, 10)]
    assert middle == [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert 75 <= sum(filter(None, middle)) / 3600 < 76
    assert policy.retry_seconds(10, chance=0.5) is None


@given(st.integers(1, 9), st.floats(0, 1, exclude_max=True))
def test_each_within_a_fifth(failures: int, chance: float) -> None:
    step = policy.STEPS[failures - 1]
    seconds = policy.retry_seconds(failures, chance=chance)
    assert seconds is not None
    assert 0.8 * step <= seconds <= 1.2 * step


@given(st.integers(1, 9), st.floats(0, 1, exclude_max=True), st.floats(0, 1e9))
def test_what_the_receiver_asks_for_counts_within_bounds(failures: int, chance: float, asked: float) -> None:
    step = policy.STEPS[failures - 1]
    seconds = policy.retry_seconds(failures, chance=chance, retry_after=asked)
    assert seconds is not None
    assert step <= seconds <= 2 * step
    if asked <= 2 * step:
        assert seconds >= asked


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 70, None),
        ("9999999999", None),
        ("Wed, 04 Mar 2026 10:01:00 GMT", 60),
        ("Wed, 04 Mar 2026 09:59:00 GMT", 0),
        ("Wed, 04 Mar 2026 10:01:00", 60),
        ("Wed, 99 Mar 2026 10:01:00 GMT", None),
        ("\u0663", None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert policy.retry_after_seconds(text, NOW) == seconds


def test_when_a_subscription_is_disabled() -> None:
    assert policy.disabled_for(410, NOW, NOW) == "gone"
    assert policy.disabled_for(500, NOW - timedelta(days=5, seconds=-1), NOW) is None
    assert policy.disabled_for(None, NOW - timedelta(days=5), NOW) == "failing"
