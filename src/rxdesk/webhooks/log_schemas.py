"""What goes into and comes out of the operations routes of events, deliveries and subscriptions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from rxdesk.webhooks.events import EVENT_TYPES, envelope
from rxdesk.webhooks.schemas import EventTypeName

_PAGE_NAMES = {"total_registries": "totalRegistries", "total_pages": "totalPages"}
MAX_NUMBER = 9_999_999_999  # ten digits, as every number in a query
MAX_LIMIT = 200
LONGEST_OVERLAP = 7 * 86400
DeliveryStatus = Literal["pending", "delivered", "failed", "cancelled"]
Moment = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER, description="Unix seconds", examples=[1711900000])]
Limit = Annotated[
    int, msgspec.Meta(ge=1, le=MAX_NUMBER, description="Rows a page; above 200 it is 200", examples=[50])
]
Reference = Annotated[str, msgspec.Meta(max_length=64, examples=["ns-abc123"])]


class EventsAfter(msgspec.Struct, kw_only=True, rename={"kind": "type"}):
    """Which events: those after the one that `after` names, or from the oldest kept on; of one type, or all."""

    after: Annotated[
        str,
        msgspec.Meta(max_length=64, description="Uid of the last event you have", examples=["evt-abc123"]),
    ] = ""
    limit: Limit = 50
    kind: (
        Annotated[EventTypeName, msgspec.Meta(description="Event type", examples=["order_updated"])] | None
    ) = None


class Event(msgspec.Struct, kw_only=True):
    """An event; `body` is what is sent, cut to uid, status and times for a key that may not read the data."""

    uid: str
    event_type: str
    subject_uid: str
    occurred_at: int
    body: dict[str, Any]


class Events(msgspec.Struct, kw_only=True):
    """Events in the order they happened; `next` is what to give as `after` for those that follow."""

    data: list[Event]
    next: str | None


class DeliveriesWanted(
    msgspec.Struct,
    kw_only=True,
    rename={"subscription_uid": "subscription", "event_uid": "event", "kind": "type"},
):
    """Which deliveries: of a subscription, an event, a status, a type, made in [since, until)."""

    page: Annotated[
        int,
        msgspec.Meta(ge=0, le=MAX_NUMBER, description="0-based number of the page", examples=[0]),
    ] = 0
    limit: Limit = 50
    subscription_uid: Annotated[Reference, msgspec.Meta(description="Uid of a subscription")] | None = None
    event_uid: Annotated[str, msgspec.Meta(max_length=64, description="Uid of an event")] | None = None
    status: Annotated[DeliveryStatus, msgspec.Meta(description="What became of them")] | None = None
    kind: (
        Annotated[EventTypeName, msgspec.Meta(description="Event type", examples=["order_updated"])] | None
    ) = None
    since: Moment | None = None
    until: Moment | None = None


class Delivery(msgspec.Struct, kw_only=True):
    """One event to one subscription. `attempt_count` is of the present run: a retry or replay begins a new one."""

    uid: str
    status: DeliveryStatus
    event_uid: str
    event_type: str
    subject_uid: str
    subscription_uid: str
    target: str
    attempt_count: int
    created_at: int
    next_attempt_at: int | None
    ended_at: int | None
    last_status_code: int | None
    last_error: str | None


class DeliveryPage(msgspec.Struct, kw_only=True, rename=_PAGE_NAMES):
    """A page of deliveries, newest first."""

    data: list[Delivery]
    total_registries: int
    total_pages: int


class Attempt(msgspec.Struct, kw_only=True):
    """One attempt; `error` is null when it was delivered, `answer` the beginning of what the receiver said."""

    number: int
    started_at: int
    duration_ms: int
    status_code: int | None
    error: str | None
    answer: str


class DeliveryDetail(Delivery, kw_only=True):
    """A delivery with all its attempts, oldest first."""

    attempts: list[Attempt]


class Armed(msgspec.Struct, kw_only=True):
    """A delivery that will be attempted at once."""

    uid: str
    status: Literal["pending"]
    next_attempt_at: int


class Replay(
    msgspec.Struct,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"kind": "type", "everything": "all"},
):
    """What to send again: events that happened in [since, until) and were not delivered, or `all` of them.

    Without `subscription_uid` it is for all active subscriptions, and for each of them from its making on. A named
    one also gets events from before it was made.
    """

    since: Moment
    until: Moment | None = None
    subscription_uid: Reference | None = None
    kind: EventTypeName | None = None
    everything: bool = False
    after: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Replayed(msgspec.Struct, kw_only=True):
    """How many deliveries will be attempted at once; `next`, if not null, is the `after` to go on with."""

    armed: int
    next: str | None


class SubscriptionsWanted(msgspec.Struct, kw_only=True):
    """The page of a list: `page` is 0-based; a page beyond the end has no rows."""

    page: Annotated[
        int, msgspec.Meta(ge=0, le=MAX_NUMBER, description="0-based number of the page", examples=[0])
    ] = 0
    limit: Limit = 50


class KeptSubscription(msgspec.Struct, kw_only=True):
    """A subscription, active or not.

    `deactivated_reason` is `removed` (by its owner), `gone` (the receiver answered 410) or `failing` (nothing but
    failures for days). `failing_since` is the first failure since the last success.
    """

    uid: str
    notification_type: str
    target: str
    payload_version: str
    pharmacy_uid: str | None
    full_data: bool
    created_at: int
    deactivated_at: int | None
    deactivated_reason: Literal["removed", "gone", "failing"] | None
    failing_since: int | None
    previous_secret_until: int | None


class SubscriptionPage(msgspec.Struct, kw_only=True, rename=_PAGE_NAMES):
    """A page of subscriptions, newest first."""

    data: list[KeptSubscription]
    total_registries: int
    total_pages: int


class ReplayHint(msgspec.Struct, kw_only=True):
    """The body for `/deliveries/replay` that brings what was missed."""

    subscription_uid: str
    since: int


class Enabled(msgspec.Struct, kw_only=True):
    """A subscription that is active; `replay` is null when it was active already."""

    uid: str
    notification_type: str
    target: str
    replay: ReplayHint | None


class Rotation(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How to rotate: for `overlap_seconds` both secrets sign `webhook-signature`.

    The vendor's header can carry one signature: the old secret's until the overlap ends, or with `switch_now` the
    new one's at once.
    """

    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_OVERLAP)] = 86400
    switch_now: bool = False


class Rotated(msgspec.Struct, kw_only=True):
    """The new signing secret, shown this once, and until when the old one signs beside it."""

    uid: str
    signing_secret: str
    previous_secret_until: int | None


_TIME = 1711900000
EVENT_EXAMPLE = Event(
    uid="evt-abc123",
    event_type="order_updated",
    subject_uid="ord-sample",
    occurred_at=_TIME,
    body=envelope("order_updated", _TIME, EVENT_TYPES["order_updated"].sample(_TIME)),
)
EVENTS_EXAMPLE = Events(data=[EVENT_EXAMPLE], next="evt-abc123")
DELIVERY_EXAMPLE = DeliveryDetail(
    uid="dlv-abc123.abc123",
    status="pending",
    event_uid="evt-abc123",
    event_type="order_updated",
    subject_uid="ord-abc123",
    subscription_uid="ns-abc123",
    target="https://example.com/webhooks",
    attempt_count=1,
    created_at=_TIME,
    next_attempt_at=_TIME + 5,
    ended_at=None,
    last_status_code=503,
    last_error="status",
    attempts=[
        Attempt(
            number=1, started_at=_TIME, duration_ms=87, status_code=503, error="status", answer="try later"
        )
    ],
)
DELIVERIES_EXAMPLE = DeliveryPage(
    data=[Delivery(**{name: getattr(DELIVERY_EXAMPLE, name) for name in Delivery.__struct_fields__})],
    total_registries=1,
    total_pages=1,
)
ARMED_EXAMPLE = Armed(uid="dlv-abc123.abc123", status="pending", next_attempt_at=_TIME)
REPLAY_EXAMPLE = Replay(since=_TIME, until=_TIME + 86400, subscription_uid="ns-abc123")
REPLAYED_EXAMPLE = Replayed(armed=42, next=None)
SUBSCRIPTIONS_EXAMPLE = SubscriptionPage(
    data=[
        KeptSubscription(
            uid="ns-abc123",
            notification_type="order_updated",
            target="https://example.com/webhooks",
            payload_version="1",
            pharmacy_uid=None,
            full_data=True,
            created_at=_TIME,
            deactivated_at=_TIME + 500_000,
            deactivated_reason="failing",
            failing_since=_TIME + 60_000,
            previous_secret_until=None,
        )
    ],
    total_registries=1,
    total_pages=1,
)
ENABLED_EXAMPLE = Enabled(
    uid="ns-abc123",
    notification_type="order_updated",
    target="https://example.com/webhooks",
    replay=ReplayHint(subscription_uid="ns-abc123", since=_TIME + 60_000),
)
ROTATION_EXAMPLE = Rotation(overlap_seconds=86400, switch_now=False)
ROTATED_EXAMPLE = Rotated(
    uid="ns-abc123",
    signing_secret="whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",  # noqa: S106 (an example, 32 zero bytes)
    previous_secret_until=_TIME + 86400,
)
