"""Routes of prescriptions."""

from __future__ import annotations

from rxdesk.permissions import Permission
from rxdesk.prescriptions import queries, schemas
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint


@endpoint(
    "GET",
    "/prescriptions/{prescription_uid}",
    Permission.PRESCRIPTION_READ,
    tag="Prescriptions",
    summary="Look up a prescription",
    path_parameters={"prescription_uid": "Uid of the prescription"},
    answer=schemas.Prescription,
    answer_example=schemas.EXAMPLE,
)
async def get_prescription(call: Call) -> Answer:
    """Answer with one prescription."""
    return await call.read(queries.PRESCRIPTION, call.uid("prescription_uid"))


ENDPOINTS = (get_prescription,)
