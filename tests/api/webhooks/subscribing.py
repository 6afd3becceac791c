"""Subscriptions over HTTP, and as rows."""

from __future__ import annotations

from typing import Any

import httpx
from tests.factories import Tenant

PATH = "/notification-subscriptions"
TYPE = "pharmacy_order_created"
TARGET = "https://93.184.216.34/hooks?a=1&b=ä".replace("ä", "%C3%A4")


async def create(
    client: httpx.AsyncClient, headers: dict[str, str], target: str = TARGET, kind: str = TYPE, **more: object
) -> httpx.Response:
    return await client.post(
        PATH, json={"notification_type": kind, "target": target, **more}, headers=headers
    )


async def listed(client: httpx.AsyncClient, headers: dict[str, str]) -> list[dict[str, Any]]:
    answer = await client.get(PATH, headers=headers)
    assert answer.status_code == 200
    body: list[dict[str, Any]] = answer.json()
    assert isinstance(body, list)
    return body


async def rows(tenant: Tenant) -> list[dict[str, Any]]:
    return await tenant.rows("SELECT * FROM notification_subscriptions WHERE organisation_id = $1")


def fields_of(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert body["error"] == "Validation failed"
    assert {detail["location"] for detail in body["details"]} <= {"body"}
    return [detail["field"] for detail in body["details"]]
