"""Routes of the Operations API for events, deliveries and subscriptions."""

from __future__ import annotations

from rxdesk import errors
from rxdesk.permissions import Permission
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint
from rxdesk.webhooks import commands, log, log_schemas, redelivery, rotation

_NOT_FOUND = 404


@endpoint(
    "GET",
    "/events",
    Permission.EVENT_READ,
    tag="Events",
    summary="Poll events, oldest first",
    description="Give `next` as `after` the next time: no event is missed, and none comes twice. Without the "
    "permissions that a type asks for, its `data` is cut to uid, status and times. An `after` that is not kept any "
    "more is a 404: begin anew without it.",
    query=log_schemas.EventsAfter,
    answer=log_schemas.Events,
    answer_example=log_schemas.EVENTS_EXAMPLE,
    errors=(404,),
)
async def list_events(call: Call) -> Answer:
    """Answer with the events after one."""
    wanted = call.query(log_schemas.EventsAfter)
    size = min(wanted.limit, log_schemas.MAX_LIMIT)
    try:
        return await call.read(log.EVENTS, wanted.after, size, wanted.kind, *log.WHOLE_FOR)
    except errors.ApiError as error:
        raise errors.not_found("after") if error.status == _NOT_FOUND else error from error


@endpoint(
    "GET",
    "/events/{event_uid}",
    Permission.EVENT_READ,
    tag="Events",
    summary="Look up an event",
    path_parameters={"event_uid": "Uid of the event, its `webhook-id`"},
    answer=log_schemas.Event,
    answer_example=log_schemas.EVENT_EXAMPLE,
)
async def get_event(call: Call) -> Answer:
    """Answer with one event."""
    return await call.read(log.EVENT, call.uid("event_uid"), *log.WHOLE_FOR)


@endpoint(
    "GET",
    "/deliveries",
    Permission.DELIVERY_READ,
    tag="Deliveries",
    summary="List deliveries, newest first",
    query=log_schemas.DeliveriesWanted,
    answer=log_schemas.DeliveryPage,
    answer_example=log_schemas.DELIVERIES_EXAMPLE,
)
async def list_deliveries(call: Call) -> Answer:
    """Answer with a page of deliveries."""
    read, arguments = log.deliveries(call.query(log_schemas.DeliveriesWanted))
    return await call.read(read, *arguments)


@endpoint(
    "GET",
    "/deliveries/{delivery_uid}",
    Permission.DELIVERY_READ,
    tag="Deliveries",
    summary="Look up a delivery with its attempts",
    path_parameters={"delivery_uid": "Uid of the delivery"},
    answer=log_schemas.DeliveryDetail,
    answer_example=log_schemas.DELIVERY_EXAMPLE,
)
async def get_delivery(call: Call) -> Answer:
    """Answer with one delivery and its attempts."""
    return await call.read(log.DELIVERY, call.uid("delivery_uid"))


@endpoint(
    "POST",
    "/deliveries/{delivery_uid}/retry",
    Permission.DELIVERY_WRITE,
    tag="Deliveries",
    summary="Attempt a delivery again at once",
    description="Whatever became of it. 409 when its subscription is not active.",
    status=202,
    idempotent=True,
    path_parameters={"delivery_uid": "Uid of the delivery"},
    answer=log_schemas.Armed,
    answer_example=log_schemas.ARMED_EXAMPLE,
    errors=(409,),
)
async def retry_delivery(call: Call) -> Answer:
    """Arm a delivery anew."""
    return await call.write(redelivery.retry, call.uid("delivery_uid"))


@endpoint(
    "POST",
    "/deliveries/replay",
    Permission.DELIVERY_WRITE,
    tag="Deliveries",
    summary="Send again what happened since a time",
    description="What was not delivered, also what a subscription missed while it was not active; with `all` "
    "everything. A receiver knows an event that comes twice by its `webhook-id`. As long as `next` is not null there "
    "is more: call again with it as `after`; one that is not kept any more is a 404.",
    status=202,
    idempotent=True,
    body=log_schemas.Replay,
    body_example=log_schemas.REPLAY_EXAMPLE,
    answer=log_schemas.Replayed,
    answer_example=log_schemas.REPLAYED_EXAMPLE,
    errors=(404, 409),
)
async def replay_deliveries(call: Call) -> Answer:
    """Arm deliveries anew and make those that are missing."""
    body = await call.body(log_schemas.Replay)
    if body.until is not None and body.until <= body.since:
        raise errors.invalid(errors.fault("until", "body", "must be after since"))
    return await call.write(redelivery.replay, body)


@endpoint(
    "GET",
    "/subscriptions",
    Permission.DELIVERY_READ,
    tag="Subscriptions",
    summary="List all subscriptions, newest first",
    description="Those of pharmacies and those that are not active any more included.",
    query=log_schemas.SubscriptionsWanted,
    answer=log_schemas.SubscriptionPage,
    answer_example=log_schemas.SUBSCRIPTIONS_EXAMPLE,
)
async def list_all_subscriptions(call: Call) -> Answer:
    """Answer with a page of subscriptions."""
    wanted = call.query(log_schemas.SubscriptionsWanted)
    size = min(wanted.limit, log_schemas.MAX_LIMIT)
    return await call.read(log.SUBSCRIPTIONS, size, wanted.page * size)


@endpoint(
    "POST",
    "/subscriptions/{subscription_uid}/enable",
    Permission.DELIVERY_WRITE,
    tag="Subscriptions",
    summary="Make a subscription active again",
    description="One that ended by itself (`gone`, `failing`). Nothing is sent again by this: `replay` in the answer "
    "is the body for POST `/deliveries/replay` that brings what was missed.",
    idempotent=True,
    path_parameters={"subscription_uid": "Uid of the subscription"},
    answer=log_schemas.Enabled,
    answer_example=log_schemas.ENABLED_EXAMPLE,
    errors=(409,),
)
async def enable_subscription(call: Call) -> Answer:
    """Make a subscription active again."""
    return await call.write(commands.enable_subscription, call.uid("subscription_uid"))


@endpoint(
    "POST",
    "/subscriptions/{subscription_uid}/disable",
    Permission.DELIVERY_WRITE,
    tag="Subscriptions",
    summary="End a subscription",
    description="Any of the organisation, a pharmacy's too: what waits for it is cancelled, and it cannot be enabled "
    "again. One that was removed already stays so.",
    status=204,
    idempotent=True,
    path_parameters={"subscription_uid": "Uid of the subscription"},
)
async def disable_subscription(call: Call) -> Answer:
    """End a subscription."""
    return await call.write(commands.disable_subscription, call.uid("subscription_uid"))


@endpoint(
    "POST",
    "/subscriptions/{subscription_uid}/rotate-secret",
    Permission.DELIVERY_WRITE,
    tag="Subscriptions",
    summary="Give a subscription a new signing secret",
    description="Shown this once. While the overlap lasts `webhook-signature` carries a signature of each secret; the "
    "vendor's header stays with the old one until then, or switches at once with `switch_now`.",
    idempotent=True,
    path_parameters={"subscription_uid": "Uid of the subscription"},
    body=log_schemas.Rotation,
    body_example=log_schemas.ROTATION_EXAMPLE,
    answer=log_schemas.Rotated,
    answer_example=log_schemas.ROTATED_EXAMPLE,
    errors=(409,),
)
async def rotate_secret(call: Call) -> Answer:
    """Replace a signing secret."""
    body = await call.body(log_schemas.Rotation)
    return await call.write(rotation.rotate, call.uid("subscription_uid"), body)


@endpoint(
    "POST",
    "/subscriptions/{subscription_uid}/switch-secret",
    Permission.DELIVERY_WRITE,
    tag="Subscriptions",
    summary="Sign the vendor's header with the new secret from now on",
    description="While a rotation's overlap lasts: `X-Webhook-Signature` can carry one signature, and is the old "
    "secret's until then. `webhook-signature` goes on carrying both.",
    status=204,
    idempotent=True,
    path_parameters={"subscription_uid": "Uid of the subscription"},
    errors=(409,),
)
async def switch_secret(call: Call) -> Answer:
    """Switch the vendor's signature during an overlap."""
    return await call.write(rotation.switch_now, call.uid("subscription_uid"))


ENDPOINTS = (
    list_events,
    get_event,
    list_deliveries,
    replay_deliveries,  # before the routes whose uid could be called `replay`
    get_delivery,
    retry_delivery,
    list_all_subscriptions,
    enable_subscription,
    disable_subscription,
    rotate_secret,
    switch_secret,
)
