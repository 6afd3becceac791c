"""POST /notification-subscriptions/test (contract, section 2, route 18, and section 3): what is sent."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import standardwebhooks
from tests.api.webhooks.receivers import Pki, receiving
from tests.api.webhooks.sending import OK, SECOND, send, verify
from tests.conftest import InProcess
from tests.factories import Tenant, make_tenant

from rxdesk.db.pool import Connection
from rxdesk.kit.signing import vendor_signature
from rxdesk.routes import OPERATIONS
from rxdesk.webhooks.events import EVENT_TYPES


@pytest.mark.parametrize("event_type", EVENT_TYPES)
async def test_a_sample_of_each_event(sender: InProcess, pki: Pki, tenant: Tenant, event_type: str) -> None:
    async with receiving(OK, pki.good) as receiver:
        answer = await send(sender.client, tenant, receiver.url("/in?x=1"), event_type=event_type)
    assert answer.status_code == 200
    result = answer.json()
    secret, duration = result.pop("signing_secret"), result.pop("duration_ms")
    assert result == {"success": True, "status_code": 200, "error": None}
    assert isinstance(duration, int)
    assert duration >= 0
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    [received] = receiver.received
    assert received.line == "POST /in?x=1 HTTP/1.1"
    assert received.header("Content-Type") == "application/json"
    assert received.header("X-Webhook-Event") == event_type
    assert received.header("X-Webhook-Test") == "true"
    assert received.header("Host") == f"localhost:{receiver.port}"
    assert re.fullmatch(r"evt-[0-9A-HJKMNP-TV-Z]{26}", received.header("webhook-id"))
    now = int(sender.clock.moment.timestamp())
    assert received.header("webhook-timestamp") == str(now)
    body = verify(received, secret)
    data = body.pop("data")
    assert body == {"event_type": event_type, "timestamp": now, "payload_version": "1"}
    assert data == SAMPLES[event_type](now)
    assert list(json.loads(received.body)) == ["event_type", "timestamp", "payload_version", "data"]


def _pharmacy_order(now: int) -> dict[str, Any]:
    return {
        "uid": "po-sample",
        "status": "init",
        "name": "#1001",
        "data": {},
        "external_status": "OPEN",
        "created_at": now,
        "updated_at": now,
        "deleted_at": None,
        "pharmacy": {"uid": "ph-sample", "display_name": "City Pharmacy"},
        "order": {
            "uid": "ord-sample",
            "delivery_address": {
                "first_name": "Max",
                "last_name": "Mustermann",
                "street": "Hauptstr.",
                "house_number": "1",
                "zip_code": "10115",
                "city": "Berlin",
                "country": "Germany",
                "additional_address": None,
            },
            "invoice_address": {},
            "shipping_costs_amount": 490,
            "shipping_costs_currency": "EUR",
            "priority": 0,
        },
        "delivery_type": {"uid": "dt-sample", "display_name": "Standard Shipping", "identifier": "standard"},
        "order_items": [
            {
                "uid": "oi-sample",
                "amount": 1,
                "total_paid_amount": 1299,
                "sku": {
                    "uid": "sku-sample",
                    "display_name": "Medication X 100mg",
                    "pzn": "12345678",
                    "product_uid": "prod-sample",
                    "product_display_name": "Medication X",
                    "product_handle": "medication-x",
                },
                "pharmacy_sku": {"uid": "psku-sample", "external_id": "EXT-001", "price": 1299, "stock": 50},
            }
        ],
        "patient_data": {
            "uid": "pp-sample",
            "display_name": "Max Mustermann",
            "email": "max@example.com",
            "date_of_birth": "1990-01-15",
        },
    }


def _stock(now: int) -> dict[str, Any]:
    return {
        "uid": "psku-sample",
        "external_id": "EXT-001",
        "price": 1299,
        "stock": 49,
        "previous_stock": 50,
        "pharmacy": {"uid": "ph-sample", "display_name": "City Pharmacy"},
        "sku": {"uid": "sku-sample", "display_name": "Medication X 100mg", "pzn": "12345678"},
        "updated_at": now,
    }


def _thin(uid: str, status: str) -> Callable[[int], dict[str, Any]]:
    return lambda now: {"uid": uid, "status": status, "created_at": now, "updated_at": now}


SAMPLES: dict[str, Callable[[int], dict[str, Any]]] = {
    "pharmacy_order_created": _pharmacy_order,
    "pharmacy_order_updated": _pharmacy_order,
    "pharmacy_sku_stock_updated": _stock,
    "patient_doctor_meeting_updated": _thin("vr-sample", "allocated"),
    "appointment_reminder_due": _thin("apt-sample", "confirmed"),
    "order_created": _thin("ord-sample", "init"),
    "order_updated": _thin("ord-sample", "waiting for doctor"),
    "prescription_created": _thin("px-sample", "waiting_for_doctor"),
    "prescription_updated": _thin("px-sample", "signed"),
    "waiting_room_updated": _thin("q-sample", "waiting"),
    "notification_subscription_disabled": _thin("ns-sample", "failing"),
}


async def test_the_default_event_and_a_custom_header(sender: InProcess, pki: Pki, tenant: Tenant) -> None:
    async with receiving(OK, pki.good) as receiver:
        answer = await send(
            sender.client,
            tenant,
            receiver.url(),
            header_key="Authorization",
            header_value="Bearer t~ken value",
        )
    [received] = receiver.received
    assert received.header("Authorization") == "Bearer t~ken value"
    assert received.header("X-Webhook-Event") == "pharmacy_order_created"
    assert verify(received, answer.json()["signing_secret"])["event_type"] == "pharmacy_order_created"
    names = [name.lower() for name, _ in received.headers]
    assert len(names) == len(set(names))
    assert "cookie" not in names
    assert "x-api-key" not in names


async def test_the_secret_of_the_active_subscription(
    sender: InProcess, pki: Pki, tenant: Tenant, app_connection: Connection
) -> None:
    other = await make_tenant(app_connection)
    async with receiving(OK, pki.good) as receiver:
        reference = {"notification_type": "order_created", "target": receiver.url()}
        made = []
        for owner in (tenant, other):
            headers = await owner.headers()
            answer = await sender.client.post("/notification-subscriptions", json=reference, headers=headers)
            made.append(answer.json()["signing_secret"])
        # Another target, another type, another organisation's, and after removal: a fresh secret.
        third = await make_tenant(app_connection)
        fresh = await send(sender.client, third, receiver.url(), event_type="order_created")
        mine = await send(sender.client, tenant, receiver.url(), event_type="order_created")
        theirs = await send(sender.client, other, receiver.url(), event_type="order_updated")
        sender.clock.moment += SECOND
        await sender.client.delete(
            "/notification-subscriptions", params=reference, headers=await tenant.headers()
        )
        removed = await send(sender.client, tenant, receiver.url(), event_type="order_created")
        elsewhere = await send(sender.client, other, receiver.url("/elsewhere"), event_type="order_created")
    assert mine.json()["signing_secret"] is None
    assert mine.json()["success"] is True
    secrets = [answer.json()["signing_secret"] for answer in (fresh, theirs, removed, elsewhere)]
    assert len({*secrets, *made, None}) == 7
    for received, secret in zip(receiver.received, (secrets[0], made[0], *secrets[1:]), strict=True):
        verify(received, secret)


async def test_while_a_rotation_s_overlap_lasts(sender: InProcess, pki: Pki, tenant: Tenant) -> None:
    """As a delivery is signed: the vendor's header by the old secret until it is switched, the other one by both."""
    headers = await tenant.headers()
    operations = f"http://test{OPERATIONS.base}"
    async with receiving(OK, pki.good) as receiver:
        body = {"notification_type": "order_created", "target": receiver.url()}
        made = (await sender.client.post("/notification-subscriptions", json=body, headers=headers)).json()
        path = f"{operations}/subscriptions/{made['uid']}"
        rotated = await sender.client.post(f"{path}/rotate-secret", json={}, headers=headers)
        both = made["signing_secret"], rotated.json()["signing_secret"]
        await send(sender.client, tenant, receiver.url(), event_type="order_created")
        switched = await sender.client.post(f"{path}/switch-secret", headers=headers)
        assert switched.status_code == 204
        sender.clock.moment += SECOND
        await send(sender.client, tenant, receiver.url(), event_type="order_created")
        await tenant.update(
            "notification_subscriptions",
            made["uid"],
            previous_secret_until=sender.clock() - timedelta(seconds=1),
        )
        sender.clock.moment += SECOND
        await send(sender.client, tenant, receiver.url(), event_type="order_created")
    for received, vendor in zip(receiver.received[:2], both, strict=True):
        assert received.header("X-Webhook-Signature") == vendor_signature(vendor, received.body)
        assert len(received.header("webhook-signature").split()) == 2
        for secret in both:
            names = ("webhook-id", "webhook-timestamp", "webhook-signature")
            standardwebhooks.Webhook(secret).verify(
                received.body, {name: received.header(name) for name in names}
            )
    verify(receiver.received[2], both[1])
    assert len(receiver.received[2].header("webhook-signature").split()) == 1


async def test_a_custom_header_of_the_subscription_is_not_sent_for_the_asking(
    sender: InProcess, pki: Pki, tenant: Tenant
) -> None:
    """Only what the test itself names is sent: nobody learns the stored value from a test."""
    async with receiving(OK, pki.good) as receiver:
        body = {
            "notification_type": "order_created",
            "target": receiver.url(),
            "header_key": "X-Team",
            "header_value": "stored",
        }
        await sender.client.post("/notification-subscriptions", json=body, headers=await tenant.headers())
        await send(sender.client, tenant, receiver.url(), event_type="order_created")
    assert "x-team" not in [name.lower() for name, _ in receiver.received[0].headers]
