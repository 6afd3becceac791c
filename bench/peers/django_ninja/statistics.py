"""What a doctor did in a period, counted live from the prescriptions: three queries.

One finds the doctor, the organisation's calendar and the doctor's newest work; one counts; one counts by day.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from django.contrib.postgres.fields import ArrayField
from django.db.models import Aggregate, BigIntegerField, Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Cast, Extract, Floor, TruncDate
from django.shortcuts import get_object_or_404
from ninja import Query, Router

from bench.peers import schemas
from bench.peers.django_ninja.auth import Key, Request
from bench.peers.django_ninja.models import Doctor, Organisation, Prescription
from bench.peers.django_ninja.reading import Values, uid_or_404
from bench.peers.rules import STATUSES, check_period, first_day, instant, statistics

router = Router()


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
    check_period(period.start, period.end)
    tenant = request.auth.organisation_id
    assigned = Prescription.objects.of(tenant, doctor_uid=doctor_uid)
    newest = assigned.order_by("-assigned_at").values("assigned_at")[:1]
    zone = Organisation.objects.filter(id=OuterRef("organisation_id")).values("time_zone")
    newest_at, zone_name = get_object_or_404(
        Doctor.objects.of(tenant, uid=uid_or_404(doctor_uid)).values_list(Subquery(newest), Subquery(zone))
    )
    start, end = instant(period.start), instant(period.end)
    rows = _within(assigned, start, end)
    counts = rows.aggregate(
        **{status: Count("uid", filter=Q(status=status)) for status in STATUSES},
        decided=Count("decided_at"),
        seconds=Sum(_SECONDS),
        percentiles=Percentiles(_SECONDS),
    )
    daily = _daily(rows, ZoneInfo(zone_name), end, newest_at)
    return statistics(doctor_uid, (period.start, period.end), counts, daily)


def _within(rows: QuerySet, start: datetime | None, end: datetime | None) -> QuerySet:
    if start is not None:
        rows = rows.filter(assigned_at__gte=start)
    return rows if end is None else rows.filter(assigned_at__lt=end)


def _daily(rows: QuerySet, zone: ZoneInfo, end: datetime | None, newest_at: datetime | None) -> list[Values]:
    days = (
        rows.filter(assigned_at__gte=first_day(zone, end, newest_at))
        .values(day=TruncDate("assigned_at", tzinfo=zone))
        .annotate(
            total=Count("*"),
            signed=Count("uid", filter=Q(status="signed")),
            declined=Count("uid", filter=Q(status="declined")),
        )
        .order_by("day")
    )
    return [{**row, "date": row["day"].isoformat()} for row in days]
