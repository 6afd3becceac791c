"""Test deliveries, asked for and judged."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import standardwebhooks
import svix
from tests.api.webhooks.receivers import Pki, Received, answering
from tests.conftest import FixedClock, InProcess, in_process
from tests.factories import Tenant

from rxdesk.db import embedded

PATH = "/notification-subscriptions/test"
OK = answering("200 OK", body=b"thanks")
SECOND = timedelta(seconds=1)


async def resolve(name: str, _port: int) -> list[str]:
    if name != "internal.example":
        raise OSError("unknown")
    return ["10.0.0.1"]


@asynccontextmanager
async def sending(cluster: embedded.Address, pki: Pki, **changes: Any) -> AsyncIterator[InProcess]:
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
