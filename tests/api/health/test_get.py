"""GET /health/ (contract, section 2, route 19)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx
import pytest
from tests.conftest import BASE, ENCRYPTION_KEYS, InProcess, settings_for
from tests.factories import Tenant

from rxdesk.app import create_app
from rxdesk.db.pool import Connection


async def test_any_valid_key(client: httpx.AsyncClient, tenant: Tenant) -> None:
    for headers in (
        {"X-API-Key": await tenant.key()},
        await tenant.headers("order:read"),
        await tenant.headers(),
    ):
        for path in ("/health/", "/health", "/health/?page=-1"):
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, answer.content) == (200, b'{"status":"ok"}')
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["ratelimit"]
            assert not answer.history


async def test_head_answers_without_a_body(client: httpx.AsyncClient, tenant: Tenant) -> None:
    answer = await client.head("/health/", headers=await tenant.headers())
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "15"


async def test_without_a_key(client: httpx.AsyncClient) -> None:
    for path in ("/health/", "/health"):
        answer = await client.get(path)
        assert answer.status_code == 401
        assert answer.json()["code"] == "authorization_header_missing"


async def test_another_method(client: httpx.AsyncClient, tenant: Tenant) -> None:
    for path in ("/health/", "/health"):
        answer = await client.post(path, headers=await tenant.headers())
        assert (answer.status_code, answer.json()) == (405, {"error": "Method not allowed"})
        assert answer.headers["allow"] == "GET, HEAD"


async def test_one_statement(inside: InProcess, tenant: Tenant) -> None:
    headers = await tenant.headers()
    await inside.client.get("/health/", headers=headers)
    inside.statements.clear()
    assert (await inside.client.get("/health/", headers=headers)).status_code == 200
    assert len(inside.statements) == 1


async def hang() -> Connection:
    await asyncio.sleep(3600)
    raise AssertionError


async def refuse() -> Connection:
    raise ConnectionRefusedError


@pytest.mark.parametrize("connect", [refuse, hang])
async def test_a_database_that_is_away(tenant: Tenant, connect: Callable[[], Awaitable[Connection]]) -> None:
    app = create_app(settings_for(), connect, ENCRYPTION_KEYS)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test" + BASE) as client:
        began = time.monotonic()
        answer = await client.get("/health/", headers=await tenant.headers())
        assert time.monotonic() - began < 4, "far from the client's patience"
        assert (answer.status_code, answer.content) == (503, b'{"status":"unavailable"}')
        assert answer.headers["retry-after"] == "1"
        assert (await client.get("/health/")).status_code == 401
        assert (await client.get("/health/", headers={"X-API-Key": "x"})).status_code == 401
    await app.close()
