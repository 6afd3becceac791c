"""A write of one statement takes its key for what it was when last seen: whatever has changed since is heeded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.conftest import InProcess
from tests.factories import LONG_AGO, Tenant

Ask = Callable[[], Awaitable[httpx.Response]]
WRITE = "waiting_room:write"


@pytest.fixture
async def patient(tenant: Tenant) -> str:
    return await tenant.insert("patients")


@pytest.fixture
async def shop(tenant: Tenant) -> str:
    return await tenant.insert("shops")


@pytest.fixture(params=["register", "cancel"])
async def way(
    request: pytest.FixtureRequest, tenant: Tenant, inside: InProcess, shop: str, patient: str
) -> Callable[[str], Ask]:
    """The two routes that presume: what is asked with a key."""
    waiting = await tenant.insert(
        "waiting_room_visits", shop_uid=shop, patient_uid=await tenant.insert("patients"), turn=1000
    )

    def asks(key: str) -> Ask:
        async def register() -> httpx.Response:
            body = {"shop_uid": shop, "patient_profile_uid": patient}
            return await inside.client.post("/waiting-room/register", json=body, headers={"X-API-Key": key})

        async def cancel() -> httpx.Response:
            return await inside.client.delete(f"/waiting-room/{waiting}", headers={"X-API-Key": key})

        return register if request.param == "register" else cancel

    return asks


async def seen(inside: InProcess, key: str) -> None:
    """Have the server see the key on both routes, which share the permission, without any change."""
    answer = await inside.client.delete("/waiting-room/q-none", headers={"X-API-Key": key})
    assert answer.status_code == 404


async def kept(tenant: Tenant) -> list[dict[str, Any]]:
    found = []
    for table in ("waiting_room_visits", "waiting_rooms", "events", "changes"):
        found += await tenant.rows(f"SELECT * FROM {table} WHERE organisation_id = $1")
    return found


async def test_the_second_request_is_one_statement(
    inside: InProcess, tenant: Tenant, way: Callable[[str], Ask]
) -> None:
    key = await tenant.key(WRITE)
    ask = way(key)
    await seen(inside, key)
    inside.statements.clear()
    assert (await ask()).status_code in (201, 204)
    asked = [one for one in inside.statements if "api_keys" in one]
    assert len(asked) == 1
    assert "waiting_room_visits" in asked[0]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"revoked_at": LONG_AGO}, 401),
        ({"expires_at": LONG_AGO}, 401),
        ({"permissions": ["order:read"]}, 403),
    ],
)
async def test_a_key_that_has_lost_its_right_changes_nothing(
    inside: InProcess, tenant: Tenant, way: Callable[[str], Ask], change: dict[str, Any], status: int
) -> None:
    made = await tenant.new_key(WRITE)
    ask = way(made.key)
    await seen(inside, made.key)
    before = await kept(tenant)
    await tenant.update("api_keys", made.uid, **change)
    for _ in range(2):
        assert (await ask()).status_code == status
    assert await kept(tenant) == before


async def test_a_revoked_key_is_told_so_before_its_fault(
    inside: InProcess, tenant: Tenant, shop: str
) -> None:
    made = await tenant.new_key(WRITE)
    await seen(inside, made.key)
    await tenant.update("api_keys", made.uid, revoked_at=LONG_AGO)
    for content in (b"{", b'{"shop_uid": 1}', b'{"shop_uid": "none", "patient_profile_uid": "none"}'):
        answer = await inside.client.post(
            "/waiting-room/register",
            content=content,
            headers={"X-API-Key": made.key, "Content-Type": "application/json"},
        )
        assert answer.status_code == 401


async def test_new_limits_hold_at_once(inside: InProcess, tenant: Tenant, way: Callable[[str], Ask]) -> None:
    inside.clock.moment = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
    made = await tenant.new_key(WRITE)
    ask = way(made.key)
    await seen(inside, made.key)
    await tenant.update("api_keys", made.uid, rate_limit_per_minute=1)
    answer = await ask()
    assert answer.status_code in (201, 204)
    assert answer.headers["ratelimit"].startswith('"minute";r=0')
    before = await kept(tenant)
    assert (await ask()).status_code == 429
    assert await kept(tenant) == before
    await tenant.update("api_keys", made.uid, rate_limit_per_minute=0)
    assert (await ask()).status_code in (409, 204)


async def test_a_request_is_counted_once(inside: InProcess, tenant: Tenant, shop: str, patient: str) -> None:
    key = await tenant.key(WRITE, per_minute=10)
    await seen(inside, key)
    lefts = []
    for body in (
        {"shop_uid": 1},
        {"shop_uid": shop, "patient_profile_uid": "none"},
        {"shop_uid": shop, "patient_profile_uid": patient},
    ):
        answer = await inside.client.post("/waiting-room/register", json=body, headers={"X-API-Key": key})
        lefts.append((answer.status_code, answer.headers["ratelimit"].partition(";t=")[0]))
    assert lefts == [(400, '"minute";r=8'), (404, '"minute";r=7'), (201, '"minute";r=6')]


async def test_a_revoked_key_over_its_limit_is_revoked(
    inside: InProcess, tenant: Tenant, way: Callable[[str], Ask]
) -> None:
    made = await tenant.new_key(WRITE, per_minute=1)
    ask = way(made.key)
    await seen(inside, made.key)
    assert (await ask()).status_code == 429
    await tenant.update("api_keys", made.uid, revoked_at=LONG_AGO)
    assert (await ask()).status_code == 401


async def test_an_idempotency_key_s_request_is_judged_first(
    inside: InProcess, tenant: Tenant, shop: str, patient: str
) -> None:
    key = await tenant.key(WRITE)
    await seen(inside, key)
    headers = {"X-API-Key": key, "Idempotency-Key": "once"}
    body = {"shop_uid": shop, "patient_profile_uid": patient}
    first, second = [
        await inside.client.post("/waiting-room/register", json=body, headers=headers) for _ in range(2)
    ]
    assert first.status_code == 201
    assert second.json() == first.json()
