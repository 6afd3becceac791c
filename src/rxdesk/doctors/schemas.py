"""What the doctor routes give (contract, section 2, routes 4 and 5)."""

from __future__ import annotations

from typing import Annotated

import msgspec

_PAGE_NAMES = {"total_registries": "totalRegistries", "total_pages": "totalPages"}
MAX_SECONDS = 9_999_999_999  # ten digits, as every number in a query
UnixSeconds = Annotated[int, msgspec.Meta(description="Unix seconds")]


class Doctor(msgspec.Struct, kw_only=True):
    """A doctor; `minutes_to_respond` is null where nothing was agreed."""

    uid: str
    display_name: str
    email: str | None
    minutes_to_respond: int | None
    can_sign_prescriptions: bool
    active: bool


class DoctorPage(msgspec.Struct, kw_only=True, rename=_PAGE_NAMES):
    """A page of doctors, by name."""

    data: list[Doctor]
    total_registries: int
    total_pages: int


class Period(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """The half-open period [from, to) in Unix seconds; either bound may be left out."""

    start: (
        Annotated[
            int,
            msgspec.Meta(
                ge=0, le=MAX_SECONDS, description="First second, in Unix seconds, such as 1711700000"
            ),
        ]
        | None
    ) = None
    end: (
        Annotated[
            int, msgspec.Meta(ge=0, le=MAX_SECONDS, description="Second after the last, in Unix seconds")
        ]
        | None
    ) = None


class StatusCounts(msgspec.Struct, kw_only=True):
    """Prescriptions by their present status; all eight are always there."""

    waiting_for_doctor: int
    approved: int
    signed: int
    declined: int
    cancelled: int
    on_hold: int
    non_qes_signed: int
    externally_signed: int


class PrescriptionCounts(msgspec.Struct, kw_only=True):
    """Prescriptions assigned to the doctor within the period."""

    total: int
    by_status: StatusCounts


class DecisionSeconds(msgspec.Struct, kw_only=True):
    """Seconds from assignment to decision; median and p90 are exact within 1 %."""

    median: int
    p90: int
    mean: int


class Day(msgspec.Struct, kw_only=True):
    """One day of the organisation's calendar."""

    date: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    total: int
    signed: int
    declined: int


class DoctorStatistics(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """What a doctor did in a period, counted by the time of assignment.

    `approval_rate` and `decision_seconds` are null when nothing was decided; days without work are left out.
    """

    doctor_uid: str
    start: UnixSeconds | None
    end: UnixSeconds | None
    prescriptions: PrescriptionCounts
    approval_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] | None
    decision_seconds: DecisionSeconds | None
    daily: list[Day]


PAGE_EXAMPLE = DoctorPage(
    data=[
        Doctor(
            uid="doc-456",
            display_name="Dr. Schmidt",
            email="schmidt@example.com",
            minutes_to_respond=60,
            can_sign_prescriptions=True,
            active=True,
        )
    ],
    total_registries=12,
    total_pages=1,
)
STATISTICS_EXAMPLE = DoctorStatistics(
    doctor_uid="doc-456",
    start=1711700000,
    end=1714300000,
    prescriptions=PrescriptionCounts(
        total=120,
        by_status=StatusCounts(
            waiting_for_doctor=3,
            approved=2,
            signed=101,
            declined=10,
            cancelled=1,
            on_hold=1,
            non_qes_signed=2,
            externally_signed=0,
        ),
    ),
    approval_rate=0.91,
    decision_seconds=DecisionSeconds(median=840, p90=5400, mean=1710),
    daily=[Day(date="2024-03-29", total=12, signed=10, declined=1)],
)
