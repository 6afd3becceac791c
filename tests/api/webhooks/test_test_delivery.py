"""POST /notification-subscriptions/test (contract, section 2, route 18, and section 3)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import standardwebhooks
import svix
from tests.api.webhooks.receivers import (
    Behaviour,
    Pki,
    Received,
    answering,
    make_pki,
    receiving,
    silent,
)
from tests.conftest import BASE, FixedClock, InProcess, Live, in_process, start_live, stop_live
from tests.factories import Tenant, make_tenant

from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.kit.signing import vendor_signature
from rxdesk.routes import OPERATIONS
from rxdesk.webhooks.events import EVENT_TYPES

PATH = "/notification-subscriptions/test"
OK = answering("200 OK", body=b"thanks")
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


async def resolve(name: str, _port: int) -> list[str]:
    if name != "internal.example":
        raise OSError("unknown")
    return ["10.0.0.1"]


@asynccontextmanager
async def sending(cluster: embedded.Address, pki: Pki, **changes: object) -> AsyncIterator[InProcess]:
    """Run an application that may reach the loopback interface and knows the authority of the receivers."""
    async with in_process(
        cluster,
        FixedClock(datetime.now(UTC)),
        resolve,
        egress_allow="127.0.0.1/32:*",
        egress_ca_file=str(pki.ca_file),
        **changes,
    ) as running:
        yield running


@pytest.fixture
async def sender(cluster: embedded.Address, pki: Pki) -> AsyncIterator[InProcess]:
    async with sending(cluster, pki) as running:
        yield running


async def send(client: httpx.AsyncClient, tenant: Tenant, url: str, **more: object) -> httpx.Response:
    return await client.post(
        PATH, json={"target_url": url, **more}, headers={"X-API-Key": await tenant.key()}
    )


def verify(received: Received, secret: str) -> dict[str, Any]:
    """Judge a delivery as a receiver does: the vendor's signature by hand, the standard one by libraries."""
    assert (
        received.header("X-Webhook-Signature")
        == hmac.new(secret.encode(), received.body, hashlib.sha256).hexdigest()
    )
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    headers = {name: received.header(name) for name in names}
    for library in (standardwebhooks.Webhook(secret), svix.Webhook(secret)):
        library.verify(received.body, headers)
    body: dict[str, Any] = json.loads(received.body)
    return body


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


@pytest.mark.parametrize(
    ("behave", "status", "error"),
    [
        (answering("204 No Content"), 204, None),
        (answering("201 Created"), 201, None),
        (answering("301 Moved", "Location: https://localhost/"), 301, "redirect"),
        (answering("307 Temporary", "Location: /elsewhere"), 307, "redirect"),
        (answering("304 Not Modified"), 304, "redirect"),
        (answering("400 Bad Request"), 400, "status"),
        (answering("401 Unauthorized"), 401, "status"),
        (answering("404 Not Found"), 404, "status"),
        (answering("410 Gone"), 410, "status"),
        (answering("429 Slow down", "Retry-After: 1"), 429, "status"),
        (answering("500 Oops"), 500, "status"),
        (answering("200 OK", body=b"x" * ((1 << 20) + 1)), 200, "too_large"),
    ],
)
async def test_how_a_target_may_fail(
    sender: InProcess, pki: Pki, tenant: Tenant, behave: Behaviour, status: int, error: str | None
) -> None:
    async with receiving(behave, pki.good) as receiver:
        answer = await send(sender.client, tenant, receiver.url())
    assert answer.status_code == 200
    result = answer.json()
    assert result.pop("signing_secret").startswith("whsec_")
    assert result.pop("duration_ms") >= 0
    assert result == {"success": error is None, "status_code": status, "error": error}
    assert len(receiver.received) == 1


async def failure(sender: InProcess, tenant: Tenant, url: str) -> tuple[bool, int | None, str]:
    answer = await send(sender.client, tenant, url)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    return result["success"], result["status_code"], result["error"]


async def test_a_target_that_says_nothing(cluster: embedded.Address, pki: Pki, tenant: Tenant) -> None:
    async with (
        receiving(silent, pki.good) as receiver,
        sending(cluster, pki, delivery_timeout_seconds=1.0, delivery_connect_seconds=0.5) as hasty,
    ):
        assert await failure(hasty, tenant, receiver.url()) == (False, None, "timeout")


async def test_a_certificate_that_does_not_hold(sender: InProcess, pki: Pki, tenant: Tenant) -> None:
    async with receiving(OK, pki.unknown) as receiver:
        assert await failure(sender, tenant, receiver.url()) == (False, None, "tls")
    assert receiver.received == []


async def test_nobody_listens(sender: InProcess, tenant: Tenant) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert await failure(sender, tenant, f"https://127.0.0.1:{port}/") == (False, None, "connect")


async def test_a_name_that_does_not_resolve(sender: InProcess, tenant: Tenant) -> None:
    assert await failure(sender, tenant, "https://nowhere.example/") == (False, None, "dns")


async def test_forbidden_and_invalid_targets(
    sender: InProcess, client: httpx.AsyncClient, tenant: Tenant
) -> None:
    headers = await tenant.headers()
    for url in (
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/",
        "https://internal.example/",
    ):
        answer = await sender.client.post(PATH, json={"target_url": url}, headers=headers)
        assert (answer.status_code, answer.json()) == (
            422,
            {
                "error": "The target is, or resolves to, an address that is not allowed",
                "field": "target_url",
            },
        )
    for url in ("http://localhost:1/", "x", "https://u:p@localhost/", "https://localhost/#x"):
        answer = await sender.client.post(PATH, json={"target_url": url}, headers=headers)
        assert answer.status_code == 400
        assert [detail["field"] for detail in answer.json()["details"]] == ["target_url"]


async def test_one_a_second_and_organisation(
    sender: InProcess, pki: Pki, tenant: Tenant, other: Tenant
) -> None:
    async with receiving(OK, pki.good) as receiver:
        # What is refused for its form uses nothing up.
        headers = await tenant.headers()
        for body, status in (
            ({}, 400),
            ({"target_url": "x"}, 400),
            ({"target_url": receiver.url(), "event_type": "x"}, 400),
            ({"target_url": receiver.url(), "header_key": "Host", "header_value": "x"}, 400),
            ({"target_url": receiver.url(), "extra": 1}, 400),
            ({"target_url": "https://10.0.0.1/"}, 422),
        ):
            assert (await sender.client.post(PATH, json=body, headers=headers)).status_code == status
        body = {"target_url": receiver.url()}
        keys = [await tenant.headers("order:read") for _ in range(5)]
        answers = await asyncio.gather(*(sender.client.post(PATH, json=body, headers=key) for key in keys))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200, 429, 429, 429, 429]
        [refused] = {answer.content for answer in answers if answer.status_code == 429}
        assert refused == b'{"error":"Rate limit exceeded"}'
        assert {a.headers["retry-after"] for a in answers if a.status_code == 429} == {"1"}
        assert (await send(sender.client, other, receiver.url())).status_code == 200
        assert len(receiver.received) == 2
        sender.clock.moment += SECOND - timedelta(milliseconds=1)
        assert (await send(sender.client, tenant, receiver.url())).status_code == 429
        sender.clock.moment += timedelta(milliseconds=1)
        assert (await send(sender.client, tenant, receiver.url())).status_code == 200


async def test_the_idempotency_key_has_no_say_here(sender: InProcess, pki: Pki, tenant: Tenant) -> None:
    headers = {**await tenant.headers(), "Idempotency-Key": "k"}
    async with receiving(OK, pki.good) as receiver:
        body = {"target_url": receiver.url()}
        first = await sender.client.post(PATH, json=body, headers=headers)
        again = await sender.client.post(PATH, json=body, headers=headers)
        assert (first.status_code, again.status_code) == (200, 429)
        sender.clock.moment += SECOND
        third = await sender.client.post(
            PATH,
            json=body,
            headers=[*headers.items(), ("Idempotency-Key", ""), ("Idempotency-Key", "x" * 300)],
        )
        assert third.status_code == 200
        assert third.json()["signing_secret"] != first.json()["signing_secret"]
    assert len(receiver.received) == 2
    assert await tenant.rows("SELECT uid FROM idempotency_keys WHERE organisation_id = $1") == []


async def test_no_transaction_is_open_while_the_target_is_waited_for(
    sender: InProcess, pki: Pki, tenant: Tenant, app_connection: Connection
) -> None:
    states: list[str] = []

    async def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        states.extend(
            row["state"]
            for row in await app_connection.fetch(
                "SELECT state FROM pg_stat_activity WHERE application_name = 'tests' "
                "AND datname = current_database() AND backend_start >= $1",
                begun,
            )
        )
        await OK(_, writer)

    begun = await app_connection.fetchval("SELECT clock_timestamp()")
    async with receiving(look, pki.good) as receiver:
        assert (await send(sender.client, tenant, receiver.url())).status_code == 200
    assert set(states) == {"idle"}


@pytest.fixture(scope="module")
def live_sender(cluster: embedded.Address, pki: Pki) -> Iterator[Live]:
    server = start_live(cluster, egress_allow="127.0.0.1/32:*", egress_ca_file=str(pki.ca_file))
    yield server
    stop_live(server)


async def test_from_a_real_server(live_sender: Live, pki: Pki, tenant: Tenant) -> None:
    headers = await tenant.headers("order:read")
    async with (
        receiving(OK, pki.good) as receiver,
        httpx.AsyncClient(base_url=live_sender.url + BASE, trust_env=False, timeout=15) as client,
    ):
        for path in (PATH, PATH + "/"):
            answer = await client.post(path, json={"target_url": receiver.url()}, headers=headers)
            if path == PATH:
                assert answer.json()["success"] is True
                verify(receiver.received[0], answer.json()["signing_secret"])
            else:
                assert answer.status_code == 429
