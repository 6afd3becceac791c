"""Routes of the doctor's side of the waiting room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec

from rxdesk import history
from rxdesk.access import Transaction
from rxdesk.db.pool import DatabaseUnavailableError
from rxdesk.kit.uids import is_uid
from rxdesk.permissions import Permission
from rxdesk.waiting_room import calibration, calling, desk_queries, desk_schemas, duty, live, visits
from rxdesk.waiting_room.hearing import Hearing
from rxdesk.waiting_room.lifecycle import Rules
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import Endpoint, endpoint
from rxdesk.web.paging import Paging

_TAG = "Waiting room"
_DOCTOR = "/waiting-room/doctors/{doctor_uid}"
_DOCTOR_UID = {"doctor_uid": "Uid of the doctor"}
_VISIT = "/waiting-room/visits/{queue_uid}"
_QUEUE_UID = {"queue_uid": "Uid that the registration gave"}


@endpoint(
    "GET",
    "/waiting-room/shops/{shop_uid}",
    Permission.WAITING_ROOM_READ,
    tag=_TAG,
    summary="A shop's board",
    description="Its doctors on duty, whom they have, and a page of those who wait, first one first.",
    path_parameters={"shop_uid": "Uid of the shop"},
    query=Paging,
    answer=desk_schemas.Board,
    answer_example=desk_schemas.BOARD_EXAMPLE,
)
async def get_board(call: Call) -> Answer:
    """Answer with who is on duty, who is seen and who waits."""
    paging = call.query(Paging)
    since = call.now - Rules.of(call.settings).heartbeat
    return await call.read(desk_queries.BOARD, call.uid("shop_uid"), since, paging.size, paging.offset)


@endpoint(
    "GET",
    "/waiting-room/events",
    Permission.WAITING_ROOM_READ,
    tag=_TAG,
    summary="A shop's board, live",
    description="Server-Sent Events: `snapshot`, the first page of the board as its route gives it, whenever it is "
    "another; `step`, each step of a visit of the shop, as `waiting_room_updated` tells of it. The `id` of an event is "
    "its position among the organisation's events.",
    query=desk_schemas.OfShop,
    streams=True,
    answer_example=desk_schemas.BOARD_EVENTS_EXAMPLE,
    errors=(404,),
)
async def follow_board(call: Call) -> Answer:
    """Answer with the shop's stream."""
    shop_uid = call.query(desk_schemas.OfShop).shop_uid
    return await live.open_board(call, shop_uid if is_uid(shop_uid) else "")


@endpoint(
    "GET",
    "/waiting-room/calibration",
    Permission.WAITING_ROOM_READ,
    tag=_TAG,
    summary="How far off estimated waits were",
    description="What patients were told as they registered, in the last 30 days, against the waits that came: of all, "
    "and of each shop. Those who were not there when they were called, cancelled before, or registered with no "
    "doctor on duty, are counted beside it.",
    answer=calibration.Calibration,
    answer_example=calibration.EXAMPLE,
)
async def get_calibration(call: Call) -> Answer:
    """Answer with error, bias and coverage."""
    since = call.now - timedelta(days=calibration.DAYS)
    return await call.read(calibration.CALIBRATION, since, calibration.DAYS)


@endpoint(
    "GET",
    _DOCTOR,
    Permission.WAITING_ROOM_OPERATE,
    tag=_TAG,
    summary="A doctor's duty and patients",
    path_parameters=_DOCTOR_UID,
    answer=desk_schemas.Duty,
    answer_example=desk_schemas.DUTY_EXAMPLE,
)
async def get_duty(call: Call) -> Answer:
    """Answer with the duty and the visits that the doctor has."""
    since = call.now - Rules.of(call.settings).heartbeat
    return await call.read(desk_queries.DUTY, call.uid("doctor_uid"), since)


def _changes(path: str, path_parameters: dict[str, str], name: str, summary: str) -> Endpoint:
    """Declare the route of a history."""
    [uid] = path_parameters
    read = desk_queries.VISIT_CHANGES if uid == "queue_uid" else desk_queries.DUTY_CHANGES

    async def answer(call: Call) -> Answer:
        paging = call.query(Paging)
        return await call.read(read, call.uid(uid), paging.size, paging.offset)

    answer.__name__ = name
    return endpoint(
        "GET",
        path + "/history",
        Permission.WAITING_ROOM_READ,
        tag=_TAG,
        summary=summary,
        description="Oldest first.",
        path_parameters=path_parameters,
        query=Paging,
        answer=history.ChangePage,
        answer_example=desk_schemas.CHANGES_EXAMPLE,
    )(answer)


_OnDoctor = Callable[..., Awaitable[desk_schemas.Duty]]


def _duty(
    command: _OnDoctor,
    verb: str,
    name: str,
    summary: str,
    *,
    body: msgspec.Struct | None = None,
    body_required: bool = True,
    description: str = "",
) -> Endpoint:
    """Declare the route of a step of a duty: they differ in the command and in what must be said with it."""
    kind = None if body is None else type(body)

    async def take(call: Call) -> Answer:
        rules = Rules.of(call.settings)
        if kind is None:
            return await call.write(command, call.uid("doctor_uid"), rules)
        given = await (call.body(kind) if body_required else call.body_if_any(kind))
        return await call.write(command, call.uid("doctor_uid"), given, rules)

    take.__name__ = name
    return endpoint(
        "POST",
        f"{_DOCTOR}/{verb}",
        Permission.WAITING_ROOM_OPERATE,
        tag=_TAG,
        summary=summary,
        description=description,
        path_parameters=_DOCTOR_UID,
        idempotent=True,
        body=kind,
        body_example=body,
        body_required=body_required,
        answer=desk_schemas.Duty,
        answer_example=desk_schemas.DUTY_EXAMPLE,
    )(take)


@endpoint(
    "POST",
    _DOCTOR + "/heartbeat",
    Permission.WAITING_ROOM_OPERATE,
    tag=_TAG,
    summary="A doctor's sign of life",
    description="Whatever else a doctor on duty does is one too.",
    path_parameters=_DOCTOR_UID,
    idempotent=True,
    status=204,
)
async def send_heartbeat(call: Call) -> Answer:
    """Note that the doctor is there."""
    try:
        return await call.write(duty.heartbeat, call.uid("doctor_uid"))
    except DatabaseUnavailableError:
        call.services.part(Hearing).begin_anew()
        raise


@endpoint(
    "POST",
    _DOCTOR + "/call-next",
    Permission.WAITING_ROOM_OPERATE,
    tag=_TAG,
    summary="Call the patient who is due",
    description="First come, first served in each shop of the duty; of several shops' the one who has waited longest. "
    "204 when nobody is due. Another call gives another patient: with an `Idempotency-Key` an answer that was lost is "
    "given again.",
    path_parameters=_DOCTOR_UID,
    idempotent=True,
    answer=desk_schemas.Visit,
    answer_example=desk_schemas.VISIT_EXAMPLE,
    nothing=204,
)
async def call_next(call: Call) -> Answer:
    """Allocate a visit to the doctor."""
    heard_since = call.services.part(Hearing).since
    return await call.write(calling.call_next, call.uid("doctor_uid"), Rules.of(call.settings), heard_since)


_OnVisit = Callable[[Transaction, str, Any], Awaitable[desk_schemas.Visit]]


def _visit(
    command: _OnVisit,
    verb: str,
    name: str,
    summary: str,
    example: msgspec.Struct,
    answered: desk_schemas.Visit,
    *,
    body_required: bool = True,
    description: str = "",
) -> Endpoint:
    """Declare the route of a step of a visit."""
    kind = type(example)

    async def take(call: Call) -> Answer:
        body = await (call.body(kind) if body_required else call.body_if_any(kind))
        return await call.write(command, call.uid("queue_uid"), body)

    take.__name__ = name
    return endpoint(
        "POST",
        f"{_VISIT}/{verb}",
        Permission.WAITING_ROOM_OPERATE,
        tag=_TAG,
        summary=summary,
        description=description,
        path_parameters=_QUEUE_UID,
        idempotent=True,
        body=kind,
        body_example=example,
        body_required=body_required,
        answer=desk_schemas.Visit,
        answer_example=answered,
    )(take)


@endpoint(
    "POST",
    _VISIT + "/hand-over",
    Permission.WAITING_ROOM_OPERATE,
    tag=_TAG,
    summary="Hand a patient over to a colleague",
    description="The colleague is on duty in the visit's shop; the video room stays the same.",
    path_parameters=_QUEUE_UID,
    idempotent=True,
    body=desk_schemas.HandOver,
    body_example=desk_schemas.HAND_OVER_EXAMPLE,
    answer=desk_schemas.Visit,
    answer_example=desk_schemas.visit_example("allocated", doctor_uid="doc-789"),
)
async def hand_over_visit(call: Call) -> Answer:
    """Give the visit to another doctor."""
    body = await call.body(desk_schemas.HandOver)
    return await call.write(visits.hand_over, call.uid("queue_uid"), body, Rules.of(call.settings))


_ENDED = {"ended_at": 1711701200}
ENDPOINTS = (
    get_board,
    follow_board,
    get_calibration,
    get_duty,
    _changes(_DOCTOR, _DOCTOR_UID, "get_duty_history", "When a doctor was on duty"),
    _duty(
        duty.go_on,
        "on-duty",
        "go_on_duty",
        "Go on duty",
        body=desk_schemas.SHOPS_EXAMPLE,
        description="In these shops and no others; it ends a pause too.",
    ),
    _duty(
        duty.pause,
        "pause",
        "pause_duty",
        "Pause a duty",
        body=desk_schemas.PAUSE_EXAMPLE,
        body_required=False,
        description="No further patients, whom the doctor has stay. Patients who want this doctor may wait for the end "
        "of a pause of which it is said when that is.",
    ),
    _duty(duty.resume, "resume", "resume_duty", "End a pause"),
    _duty(
        duty.go_off,
        "off-duty",
        "go_off_duty",
        "Go off duty",
        description="409 with `queue_uid` while the doctor still has a patient.",
    ),
    send_heartbeat,
    call_next,
    _visit(
        visits.complete,
        "complete",
        "complete_visit",
        "End a consultation",
        desk_schemas.COMPLETION_EXAMPLE,
        desk_schemas.visit_example("completed", outcome="treated", **_ENDED),
        description="409 when it is not allocated, or another doctor has it.",
    ),
    _visit(
        visits.no_show,
        "no-show",
        "note_no_show",
        "The patient was not there",
        desk_schemas.ABSENCE_EXAMPLE,
        desk_schemas.visit_example(
            "waiting", doctor_uid=None, video_room_id=None, allocated_at=None, no_shows=1
        ),
        description="Twice the visit goes to the end of the queue, the third time it is cancelled.",
    ),
    hand_over_visit,
    _visit(
        visits.cancel,
        "cancel",
        "cancel_visit_of_doctor",
        "Cancel a visit from the doctor's side",
        desk_schemas.CANCELLATION_EXAMPLE,
        desk_schemas.visit_example("cancelled", end_reason="doctor", **_ENDED),
        body_required=False,
    ),
    _changes(_VISIT, _QUEUE_UID, "get_visit_history", "What became of a visit"),
)
