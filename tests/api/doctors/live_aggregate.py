"""What a doctor's statistics must be, counted from the rows in Python, without the database's help."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

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
_APPROVED = ("approved", "signed", "non_qes_signed", "externally_signed")
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Work:
    """A prescription as statistics see it."""

    doctor_uid: str
    status: str
    assigned_at: datetime
    decided_at: datetime | None

    @property
    def seconds(self) -> int | None:
        """Whole seconds from assignment to decision."""
        if self.decided_at is None:
            return None
        return (self.decided_at - self.assigned_at) // timedelta(seconds=1)


def half_up(number: Fraction, digits: int) -> Decimal:
    scaled = number * 10**digits
    return Decimal(math.floor(scaled + Fraction(1, 2))).scaleb(-digits)


def quantile(seconds: list[int], share: Fraction) -> int:
    """The nearest-rank quantile: the smallest value that at least this share does not exceed."""
    return sorted(seconds)[math.ceil(share * len(seconds)) - 1]


def statistics(
    work: list[Work], doctor: str, zone: ZoneInfo, start: int | None, end: int | None, now: datetime
) -> dict[str, Any]:
    """The whole answer; `decision_seconds` with exact quantiles."""
    all_of_doctor = [w for w in work if w.doctor_uid == doctor]
    found = [
        w
        for w in all_of_doctor
        if (start is None or w.assigned_at >= datetime.fromtimestamp(start, UTC))
        and (end is None or w.assigned_at < datetime.fromtimestamp(end, UTC))
    ]
    by_status = Counter(w.status for w in found)
    approved = sum(by_status[s] for s in _APPROVED)
    judged = approved + by_status["declined"]
    seconds = [w.seconds for w in found if w.seconds is not None]

    def day(moment: datetime) -> date:
        return moment.astimezone(zone).date()

    last = max([day(now), *(day(w.assigned_at) for w in all_of_doctor)])
    if end is not None:
        last = min(last, day(datetime.fromtimestamp(end, UTC) - _INSTANT))
    days: dict[date, list[Work]] = {}
    for w in found:
        if day(w.assigned_at) >= last - timedelta(days=365):
            days.setdefault(day(w.assigned_at), []).append(w)
    return {
        "doctor_uid": doctor,
        "from": start,
        "to": end,
        "prescriptions": {"total": len(found), "by_status": {s: by_status[s] for s in STATUSES}},
        "approval_rate": half_up(Fraction(approved, judged), 2) if judged else None,
        "decision_seconds": {
            "median": quantile(seconds, Fraction(1, 2)),
            "p90": quantile(seconds, Fraction(9, 10)),
            "mean": int(half_up(Fraction(sum(seconds), len(seconds)), 0)),
        }
        if seconds
        else None,
        "daily": [
            {
                "date": d.isoformat(),
                "total": len(days[d]),
                "signed": sum(w.status == "signed" for w in days[d]),
                "declined": sum(w.status == "declined" for w in days[d]),
            }
            for d in sorted(days)
        ],
    }


def same(given: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether an answer equals the live aggregate; median and p90 may be off by 1 %."""
    given, expected = dict(given), dict(expected)
    took, should = given.pop("decision_seconds"), expected.pop("decision_seconds")
    if given != expected or (took is None) != (should is None):
        return False
    if took is None:
        return True
    return (
        took.keys() == should.keys()
        and took["mean"] == should["mean"]
        and all(abs(took[name] - should[name]) * 100 <= should[name] for name in ("median", "p90"))
    )


def rollup(work: list[Work], zone: ZoneInfo) -> dict[tuple[str, str, date | None], tuple[int, ...]]:
    """The rollup's rows: by doctor, span and first day (None for the span of all) the counts by status,
    the decided ones and the sum of their seconds.
    """
    rows: dict[tuple[str, str, date | None], list[int]] = {}
    for w in work:
        day = w.assigned_at.astimezone(zone).date()
        for key in (
            (w.doctor_uid, "day", day),
            (w.doctor_uid, "month", day.replace(day=1)),
            (w.doctor_uid, "all", None),
        ):
            row = rows.setdefault(key, [0] * 10)
            row[STATUSES.index(w.status)] += 1
            if w.seconds is not None:
                row[8] += 1
                row[9] += w.seconds
    return {key: tuple(row) for key, row in rows.items()}
