"""Routes of prescriptions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from rxdesk import history
from rxdesk.access import Transaction
from rxdesk.permissions import Permission
from rxdesk.prescriptions import commands, queries, schemas
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import Endpoint, endpoint
from rxdesk.web.paging import Paging

_UID = {"prescription_uid": "Uid of the prescription"}
_Command = Callable[[Transaction, str, Any], Awaitable[schemas.PrescriptionState]]


@endpoint(
    "GET",
    "/prescriptions/{prescription_uid}",
    Permission.PRESCRIPTION_READ,
    tag="Prescriptions",
    summary="Look up a prescription",
    path_parameters=_UID,
    answer=schemas.Prescription,
    answer_example=schemas.EXAMPLE,
)
async def get_prescription(call: Call) -> Answer:
    """Answer with one prescription."""
    return await call.read(queries.PRESCRIPTION, call.uid("prescription_uid"))


def _step(
    command: _Command,
    summary: str,
    example: msgspec.Struct,
    status: schemas.PrescriptionStatus,
    *,
    description: str = "",
    body_required: bool = True,
) -> Endpoint:
    """Declare the route of a step: they differ in the command and in what must be said with it."""
    kind, verb = type(example), command.__name__

    async def take(call: Call) -> Answer:
        body = await (call.body(kind) if body_required else call.body_if_any(kind))
        return await call.write(command, call.uid("prescription_uid"), body)

    take.__name__ = f"{verb}_prescription"
    return endpoint(
        "POST",
        f"/prescriptions/{{prescription_uid}}/{verb}",
        Permission.PRESCRIPTION_WRITE,
        tag="Prescriptions",
        summary=summary,
        path_parameters=_UID,
        idempotent=True,
        body=kind,
        body_example=example,
        answer=schemas.PrescriptionState,
        answer_example=schemas.state_example(status),
        description=description,
        body_required=body_required,
    )(take)


@endpoint(
    "GET",
    "/prescriptions/{prescription_uid}/history",
    Permission.PRESCRIPTION_READ,
    tag="Prescriptions",
    summary="What changed of a prescription",
    description="Oldest first; what was imported has no history from before.",
    path_parameters=_UID,
    query=Paging,
    answer=history.ChangePage,
    answer_example=schemas.CHANGES_EXAMPLE,
)
async def get_prescription_history(call: Call) -> Answer:
    """Answer with a page of the prescription's changes."""
    paging = call.query(Paging)
    return await call.read(queries.CHANGES, call.uid("prescription_uid"), paging.size, paging.offset)


ENDPOINTS = (get_prescription,)
OPERATIONS = (
    _step(
        commands.assign,
        "Give a prescription to a doctor",
        schemas.ASSIGNMENT_EXAMPLE,
        "waiting_for_doctor",
        description="While it waits or is on hold; what a doctor before decided is void.",
    ),
    _step(
        commands.approve,
        "Approve a prescription",
        schemas.BECAUSE_EXAMPLE,
        "approved",
        description="An active doctor must have it.",
        body_required=False,
    ),
    _step(
        commands.decline,
        "Decline a prescription",
        schemas.DECLINE_EXAMPLE,
        "declined",
        description="Its order becomes `prescription declined`.",
    ),
    _step(commands.hold, "Put a prescription on hold", schemas.HOLD_EXAMPLE, "on_hold"),
    _step(
        commands.resume,
        "Take a prescription off hold",
        schemas.BECAUSE_EXAMPLE,
        "waiting_for_doctor",
        description="It goes back to where it was held.",
        body_required=False,
    ),
    _step(
        commands.sign,
        "Sign an approved prescription",
        schemas.SIGNATURE_EXAMPLE,
        "signed",
        description="An active doctor who may sign must have it. With the last one signed, the order goes to a "
        "pharmacy.",
        body_required=False,
    ),
    _step(
        commands.cancel,
        "Cancel a prescription",
        schemas.BECAUSE_EXAMPLE,
        "cancelled",
        description="One that is signed or declined stays so.",
        body_required=False,
    ),
    get_prescription_history,
)
