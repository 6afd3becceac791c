"""Test deliveries, asked for and judged."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import httpx
import standardwebhooks
import svix
from tests.api.webhooks.receivers import Received, answering
from tests.factories import Tenant

PATH = "/notification-subscriptions/test"
OK = answering("200 OK", body=b"thanks")


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
