"""Routes of notification subscriptions."""

from __future__ import annotations

import secrets

import msgspec

from rxdesk import errors
from rxdesk.kit.clock import unix
from rxdesk.kit.signing import Signer, new_signing_secret
from rxdesk.kit.targets import TargetForbidden, TargetRefused, parse_target
from rxdesk.kit.uids import new_uid
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint
from rxdesk.webhooks import commands, queries, schemas
from rxdesk.webhooks.events import EVENT_TYPES, envelope
from rxdesk.webhooks.targets import check_header, forbidden, judged


@endpoint(
    "GET",
    "/notification-subscriptions",
    None,
    tag="Notification subscriptions",
    summary="List active subscriptions",
    answer=list[schemas.Subscription],
    answer_example=[schemas.SUBSCRIPTION_EXAMPLE],
)
async def list_subscriptions(call: Call) -> Answer:
    """Answer with a bare array of active subscriptions."""
    return await call.read(queries.SUBSCRIPTIONS)


@endpoint(
    "POST",
    "/notification-subscriptions",
    None,
    tag="Notification subscriptions",
    summary="Subscribe to an event type",
    description="The signing secret is shown this once. A subscription made by a key without `order:read` "
    "and `patient:read` gets events whose `data` is cut to uid, status and times.",
    status=201,
    idempotent=True,
    body=schemas.NewSubscription,
    body_example=schemas.NEW_EXAMPLE,
    answer=schemas.CreatedSubscription,
    answer_example=schemas.CREATED_EXAMPLE,
    errors=(409, 422),
)
async def create_subscription(call: Call) -> Answer:
    """Create a subscription whose target the address policy allows."""
    body = await call.body(schemas.NewSubscription)
    check_header(body.header_key, body.header_value)
    if (kept := await call.kept()) is not None:
        return kept
    target = await judged(call.services.egress, "target", body.target)
    return await call.write(commands.create_subscription, body, target)


@endpoint(
    "DELETE",
    "/notification-subscriptions",
    None,
    tag="Notification subscriptions",
    summary="Remove a subscription",
    description="By `target` and `notification_type`, as query parameters or as a JSON body.",
    status=204,
    query=schemas.SubscriptionReference,
    query_required=False,
    body=schemas.SubscriptionReference,
    body_required=False,
    body_example=schemas.REFERENCE_EXAMPLE,
    errors=(404,),
)
async def remove_subscription(call: Call) -> Answer:
    """Remove the active subscription; its deliveries stop, its log stays."""
    reference = await call.body_or_query(schemas.SubscriptionReference)
    try:
        key = parse_target(reference.target, call.services.egress.allow).url
    except TargetRefused:  # the policy was another one when it was made
        key = reference.target
    return await call.write(commands.remove_subscription, reference, key)


def _signed_sample(
    body: schemas.TestDelivery, signing: commands.SigningSecrets, now: int
) -> tuple[bytes, dict[str, str]]:
    """Give the bytes of a sample event, and the headers of a delivery of it."""
    content = msgspec.json.encode(envelope(body.event_type, now, EVENT_TYPES[body.event_type].sample(now)))
    signer = Signer(
        signing.secret,
        previous_secret=signing.previous_secret,
        vendor_secret=signing.vendor_secret,
        custom=(body.header_key, body.header_value) if body.header_key and body.header_value else None,
    )
    headers = signer.headers(
        event_type=body.event_type, message_id=new_uid("evt"), timestamp=now, body=content, test=True
    )
    return content, headers


@endpoint(
    "POST",
    "/notification-subscriptions/test",
    None,
    tag="Notification subscriptions",
    summary="Send a sample event at once",
    description="A target that fails is a 200 with `success` false. At most one a second per organisation.",
    body=schemas.TestDelivery,
    body_example=schemas.TEST_EXAMPLE,
    answer=schemas.TestResult,
    answer_example=schemas.TEST_RESULT_EXAMPLE,
    errors=(422,),
)
async def send_test(call: Call) -> Answer:
    """Send one signed sample event and say what became of it."""
    body = await call.body(schemas.TestDelivery)
    check_header(body.header_key, body.header_value)
    target = await judged(call.services.egress, "target_url", body.target_url)
    caller = await call.authorise()
    if not await call.services.limiter.may_test(caller.organisation_id):
        raise errors.too_many(1)
    kept = await call.services.access.write(
        caller, lambda tx: commands.signing_secrets(tx, body.event_type, target)
    )
    signing = kept or commands.SigningSecrets(new_signing_secret(secrets.token_bytes))
    content, headers = _signed_sample(body, signing, unix(call.now))
    settings = call.settings
    try:
        outcome = await call.services.egress.post(
            body.target_url,
            content,
            headers,
            total=settings.delivery_timeout_seconds,
            connect=settings.delivery_connect_seconds,
        )
    except TargetForbidden as error:  # the name resolves elsewhere than a moment ago
        raise forbidden("target_url") from error
    result = schemas.TestResult(
        success=outcome.error is None,
        status_code=outcome.status,
        duration_ms=outcome.duration_ms,
        error=outcome.error,
        signing_secret=None if kept else signing.secret,
    )
    return Answer(200, msgspec.json.encode(result))


ENDPOINTS = (list_subscriptions, create_subscription, remove_subscription, send_test)
