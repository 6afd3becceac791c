"""POST /notification-subscriptions/test: targets that answer badly, cannot be reached or are not allowed."""

from __future__ import annotations

import socket

import httpx
import pytest
from tests.api.webhooks.receivers import Behaviour, Pki, answering, receiving, silent
from tests.api.webhooks.sending import OK, PATH, send, sending
from tests.conftest import InProcess
from tests.factories import Tenant

from rxdesk.db import embedded


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
