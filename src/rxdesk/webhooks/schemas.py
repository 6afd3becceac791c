"""What goes into and comes out of the subscription routes (contract, section 2, routes 15 to 18)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

EventTypeName = Literal[
    "pharmacy_order_created",
    "pharmacy_order_updated",
    "pharmacy_sku_stock_updated",
    "patient_doctor_meeting_updated",
    "appointment_reminder_due",
    "order_created",
    "order_updated",
    "prescription_created",
    "prescription_updated",
    "waiting_room_updated",
    "notification_subscription_disabled",
]
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=2048, description="https only")]


class NewSubscription(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A subscription to be: events of one type go to one target, with a header of the subscriber's own."""

    notification_type: EventTypeName
    target: Url
    meta_data: dict[str, Any] | None = None
    payload_version: Literal["1"] | None = None
    header_key: str | None = None
    header_value: str | None = None


class Subscription(msgspec.Struct, kw_only=True):
    """An active subscription."""

    uid: str
    notification_type: str
    target: str
    options: Literal["WEBHOOK"]
    payload_version: str


class CreatedSubscription(Subscription, kw_only=True):
    """A new subscription with its signing secret, which is shown this once."""

    signing_secret: str


class SubscriptionReference(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The active subscription of a type and a target."""

    notification_type: Annotated[str, msgspec.Meta(min_length=1)]
    target: Annotated[str, msgspec.Meta(min_length=1)]


class TestDelivery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A sample event to be sent at once; no subscription is needed."""

    target_url: Url
    event_type: EventTypeName = "pharmacy_order_created"
    header_key: str | None = None
    header_value: str | None = None


class TestResult(msgspec.Struct, kw_only=True):
    """What became of a test delivery.

    `signing_secret` is null when the secret of an active subscription signed it, else the fresh one that did.
    """

    success: bool
    status_code: int | None
    duration_ms: int
    error: Literal["dns", "connect", "tls", "timeout", "redirect", "status", "too_large"] | None
    signing_secret: str | None


SUBSCRIPTION_EXAMPLE = Subscription(
    uid="ns-abc123",
    notification_type="pharmacy_order_created",
    target="https://example.com/webhooks",
    options="WEBHOOK",
    payload_version="1",
)
NEW_EXAMPLE = NewSubscription(
    notification_type="pharmacy_order_created",
    target="https://example.com/webhooks",
    meta_data={"team": "logistics"},
    payload_version="1",
    header_key="Authorization",
    header_value="Bearer token-of-yours",
)
CREATED_EXAMPLE = CreatedSubscription(
    uid="ns-abc123",
    notification_type="pharmacy_order_created",
    target="https://example.com/webhooks",
    options="WEBHOOK",
    payload_version="1",
    signing_secret="whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",  # noqa: S106 (an example, 32 zero bytes)
)
REFERENCE_EXAMPLE = SubscriptionReference(
    notification_type="pharmacy_order_created", target="https://example.com/webhooks"
)
TEST_EXAMPLE = TestDelivery(target_url="https://example.com/webhooks", event_type="pharmacy_order_created")
TEST_RESULT_EXAMPLE = TestResult(
    success=True, status_code=200, duration_ms=87, error=None, signing_secret=None
)
