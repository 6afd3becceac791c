"""Routes of the waiting room."""

from __future__ import annotations

import msgspec

from rxdesk.permissions import Permission
from rxdesk.waiting_room import commands, live, queries, schemas
from rxdesk.waiting_room.forecasts import NEWEST, Forecasts
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint

_QUEUE_UID = {"queue_uid": "Uid that the registration gave"}


@endpoint(
    "POST",
    "/waiting-room/register",
    Permission.WAITING_ROOM_WRITE,
    tag="Waiting room",
    summary="Take a place in a shop's queue",
    status=201,
    idempotent=True,
    body=schemas.Registration,
    body_example=schemas.REGISTRATION_EXAMPLE,
    answer=schemas.Place,
    answer_example=schemas.PLACE_EXAMPLE,
    errors=(404, 409),
)
async def register_visit(call: Call) -> Answer:
    """Register a patient; first come, first served per shop."""
    caller = await call.presume()
    body = await call.body(schemas.Registration)
    forecast = await call.services.part(Forecasts).of(caller.organisation_id, body.shop_uid, NEWEST)
    return await call.write(commands.register, body, forecast.next_ones, at_once=True)


@endpoint(
    "GET",
    "/waiting-room/{queue_uid}/status",
    Permission.WAITING_ROOM_READ,
    tag="Waiting room",
    summary="Where a visit stands",
    path_parameters=_QUEUE_UID,
    answer=schemas.Status,
    answer_example=schemas.STATUS_EXAMPLE,
    conditional=True,
)
async def get_visit_status(call: Call) -> Answer:
    """Answer with status, position and estimate."""
    text = await call.found(queries.STATUS, call.uid("queue_uid"))
    standing = msgspec.json.decode(text, type=schemas.Standing)
    caller = await call.authorise()
    status = await call.services.part(Forecasts).status(caller.organisation_id, standing)
    return Answer(call.operation.status, msgspec.json.encode(status))


@endpoint(
    "GET",
    "/waiting-room/{queue_uid}/events",
    Permission.WAITING_ROOM_READ,
    tag="Waiting room",
    summary="Where a visit stands, live",
    description="Server-Sent Events: `snapshot`, the status as its route gives it, whenever it is another; `step`, "
    "each step of the visit, as `waiting_room_updated` tells of it; `end`, with a `reason`, after which nothing comes. "
    "The `id` of an event is its position among the organisation's events, and of `end` has `-end` behind it. 204 when "
    "the client has seen the end.",
    path_parameters=_QUEUE_UID,
    nothing=204,
    streams=True,
    answer_example=schemas.EVENTS_EXAMPLE,
)
async def follow_visit(call: Call) -> Answer:
    """Answer with the visit's stream."""
    return await live.open_visit(call, call.uid("queue_uid"))


@endpoint(
    "DELETE",
    "/waiting-room/{queue_uid}",
    Permission.WAITING_ROOM_WRITE,
    tag="Waiting room",
    summary="Cancel a visit",
    description="Again is 204 again; an allocated visit may still be cancelled, a completed one is 409.",
    path_parameters=_QUEUE_UID,
    status=204,
    errors=(409,),
)
async def cancel_visit(call: Call) -> Answer:
    """Cancel; the others move up at once."""
    await call.presume()
    return await call.write(commands.cancel, call.uid("queue_uid"), at_once=True)


ENDPOINTS = (register_visit, get_visit_status, follow_visit, cancel_visit)
