"""Routes of doctors."""

from __future__ import annotations

from rxdesk import errors
from rxdesk.doctors import queries, schemas
from rxdesk.permissions import Permission
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint
from rxdesk.web.paging import Paging


@endpoint(
    "GET",
    "/doctors",
    Permission.DOCTOR_READ,
    tag="Doctors",
    summary="List doctors",
    description="By name (case aside), then uid.",
    query=Paging,
    answer=schemas.DoctorPage,
    answer_example=schemas.PAGE_EXAMPLE,
)
async def list_doctors(call: Call) -> Answer:
    """Answer with a page of doctors."""
    paging = call.query(Paging)
    return await call.read(queries.DOCTORS, paging.size, paging.offset)


@endpoint(
    "GET",
    "/doctors/{doctor_uid}/statistics",
    Permission.DOCTOR_STATISTICS_READ,
    tag="Doctors",
    summary="What a doctor did in a period",
    description="Counted by the time a prescription was assigned to the doctor, its present one.",
    path_parameters={"doctor_uid": "Uid of the doctor"},
    query=schemas.Period,
    answer=schemas.DoctorStatistics,
    answer_example=schemas.STATISTICS_EXAMPLE,
)
async def get_doctor_statistics(call: Call) -> Answer:
    """Answer with counts, rates and times of one doctor."""
    period = call.query(schemas.Period)
    if period.start is not None and period.end is not None and period.start >= period.end:
        raise errors.invalid(errors.fault("from", "query", "must be before 'to'"))
    uid = call.uid("doctor_uid")
    return await call.read(queries.STATISTICS, uid, period.start, period.end, call.now)


ENDPOINTS = (list_doctors, get_doctor_statistics)
