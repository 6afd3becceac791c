"""What a doctor did in a period, counted live from the prescriptions: three queries.

One finds the doctor, the organisation's calendar and the doctor's newest work; one counts; one counts by day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.contrib.postgres.fields import ArrayField
from django.db.models import Aggregate, BigIntegerField, Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Cast, Extract, Floor, TruncDate
from django.shortcuts import get_object_or_404
from ninja import Query, Router

from bench.peers.django_ninja import schemas
from bench.peers.django_ninja.auth import Key, Request
from bench.peers.django_ninja.errors import invalid
from bench.peers.django_ninja.models import Doctor, Organisation, Prescription
from bench.peers.django_ninja.reading import Values, uid_or_404

router = Router()

_STATUSES = (
    "waiting_for_doctor",
    "approved",
    "signed",
    "declined",
    "cancelled",
    "on_hold",
    "non_qes_signed",
    "externally_signed",
)
_MOST_DAYS = 366


class Percentiles(Aggregate):
    """Median and 90th percentile of one sort: the first value that so many are not above."""

    template = "percentile_disc(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = ArrayField(BigIntegerField())


_SECONDS = Cast(Floor(Extract(F("decided_at") - F("assigned_at"), "epoch")), BigIntegerField())


@router.get(
    "/doctors/{doctor_uid}/statistics",
    auth=Key("doctor_statistics:read"),
    response=schemas.DoctorStatistics,
    by_alias=True,
)
def get_doctor_statistics(request: Request, doctor_uid: str, period: Query[schemas.Period]) -> Values:
    """Answer with counts, rates and times of one doctor."""
    if period.start is not None and period.end is not None and period.start >= period.end:
        raise invalid("from", "query", "must be before 'to'")
    tenant = request.auth.organisation_id
    assigned = Prescription.objects.of(tenant, doctor_uid=doctor_uid)
    newest = assigned.order_by("-assigned_at").values("assigned_at")[:1]
    zone = Organisation.objects.filter(id=OuterRef("organisation_id")).values("time_zone")
    newest_at, zone_name = get_object_or_404(
        Doctor.objects.of(tenant, uid=uid_or_404(doctor_uid)).values_list(Subquery(newest), Subquery(zone))
    )
    start, end = _instant(period.start), _instant(period.end)
    rows = _within(assigned, start, end)
    counts = rows.aggregate(
        **{status: Count("uid", filter=Q(status=status)) for status in _STATUSES},
        decided=Count("decided_at"),
        seconds=Sum(_SECONDS),
        percentiles=Percentiles(_SECONDS),
    )
    by_status = {status: counts[status] for status in _STATUSES}
    return {
        "doctor_uid": doctor_uid,
        "from": period.start,
        "to": period.end,
        "prescriptions": {"total": sum(by_status.values()), "by_status": by_status},
        "approval_rate": _approval_rate(by_status),
        "decision_seconds": _decision_seconds(counts),
        "daily": _daily(rows, ZoneInfo(zone_name), end, newest_at),
    }


def _instant(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _within(rows: QuerySet, start: datetime | None, end: datetime | None) -> QuerySet:
    if start is not None:
        rows = rows.filter(assigned_at__gte=start)
    return rows if end is None else rows.filter(assigned_at__lt=end)


def _rounded(dividend: int, divisor: int) -> int:
    """Divide and round half up."""
    return (2 * dividend + divisor) // (2 * divisor)


def _approval_rate(by_status: dict[str, int]) -> float | None:
    approved = sum(
        by_status[status] for status in ("approved", "signed", "non_qes_signed", "externally_signed")
    )
    judged = approved + by_status["declined"]
    return _rounded(100 * approved, judged) / 100 if judged else None


def _decision_seconds(counts: Values) -> Values | None:
    if not counts["decided"]:
        return None
    median, p90 = counts["percentiles"]
    return {"median": median, "p90": p90, "mean": _rounded(int(counts["seconds"]), counts["decided"])}


def _daily(rows: QuerySet, zone: ZoneInfo, end: datetime | None, newest_at: datetime | None) -> list[Values]:
    """Count the last 366 days of the period, which ends today at the latest unless there is later work."""
    last = datetime.now(zone).date()
    if newest_at is not None:
        last = max(last, newest_at.astimezone(zone).date())
    if end is not None:
        last = min(last, (end - timedelta(microseconds=1)).astimezone(zone).date())
    days = (
        rows.filter(assigned_at__gte=_midnight(last - timedelta(days=_MOST_DAYS - 1), zone))
        .values(day=TruncDate("assigned_at", tzinfo=zone))
        .annotate(
            total=Count("*"),
            signed=Count("uid", filter=Q(status="signed")),
            declined=Count("uid", filter=Q(status="declined")),
        )
        .order_by("day")
    )
    return [{**row, "date": row["day"].isoformat()} for row in days]


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone)
