"""An event reaches its subscribers, signed, and what became of it is recorded."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from tests.conftest import FixedClock
from tests.factories import Tenant
from tests.webhooks.engine import (
    EVENT,
    Post,
    answering,
    command,
    eventually,
    happen,
    receiving,
    settled,
    subscribe,
    worker,
)

from rxdesk.db import embedded
from rxdesk.kit.signing import vendor_signature
from rxdesk.webhooks import commands

pytestmark = pytest.mark.usefixtures("queue")


async def deliveries(tenant: Tenant) -> list[dict[str, Any]]:
    return await tenant.rows("SELECT * FROM deliveries WHERE organisation_id = $1 ORDER BY uid")


async def attempts(tenant: Tenant) -> list[dict[str, Any]]:
    return await tenant.rows(
        "SELECT * FROM delivery_attempts WHERE organisation_id = $1 ORDER BY delivery_uid, number"
    )


async def test_an_event_is_delivered_and_recorded(cluster: embedded.Address, tenant: Tenant) -> None:
    async with receiving(answering(202, body=b"thanks")) as receiver:
        uid, secret = await subscribe(tenant, receiver.url("/a?b=c"), header=("X-Token", "t-1"))
        async with worker(cluster):
            [event] = await happen(tenant)
            await receiver.got(1)
            await settled(tenant)
    [post] = receiver.posts
    assert post.path == "/a?b=c"
    [stored] = await tenant.rows("SELECT body FROM events WHERE organisation_id = $1")
    assert post.body == stored["body"]
    assert json.loads(post.body)["event_type"] == EVENT
    assert post.headers["x-token"] == "t-1"
    assert post.headers["x-webhook-event"] == EVENT
    assert "x-webhook-test" not in post.headers
    assert post.id == event
    assert post.headers["x-webhook-signature"] == vendor_signature(secret, post.body)
    Webhook(secret).verify(post.body, post.headers)
    [delivery] = await deliveries(tenant)
    assert (delivery["status"], delivery["attempts"], delivery["attempted"]) == ("delivered", 1, 1)
    assert delivery["subscription_uid"] == uid
    assert delivery["next_attempt_at"] is None
    assert delivery["ended_at"] is not None
    [attempt] = await attempts(tenant)
    assert attempt["uid"] == delivery["uid"] + ":1"
    assert (attempt["status_code"], attempt["error"], attempt["answer"]) == (202, None, b"thanks")
