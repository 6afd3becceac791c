"""GET /patients/{patient_uid}/intent/{intent} (contract, section 2, route 8)."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import quote

import httpx
import pytest
from tests.conftest import InProcess
from tests.factories import LONG_AGO, Tenant

from rxdesk.organisations import commands

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


async def code(server: InProcess | httpx.AsyncClient, tenant: Tenant, patient: str, intent: str) -> str:
    client = server.client if isinstance(server, InProcess) else server
    answer = await client.get(
        f"/patients/{patient}/intent/{quote(intent, safe='')}", headers=await tenant.headers("patient:read")
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [*body] == ["return_code"]
    return str(body["return_code"])


async def sign(tenant: Tenant, patient: str, moment: datetime | None, intent: str = "repeat") -> str:
    return await tenant.insert("submissions", patient_uid=patient, intent=intent, signed_at=moment)


async def test_the_contracts_example(client: httpx.AsyncClient, tenant: Tenant) -> None:
    patient = await tenant.insert("patients", uid="pp-abc123")
    await tenant.enter()
    now = await tenant.connection.fetchval("SELECT now()")
    await sign(tenant, patient, now - DAY)
    headers = await tenant.headers("patient:read")
    for path in ("/patients/pp-abc123/intent/repeat", "/patients/pp-abc123/intent/repeat/"):
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json() == {"return_code": "VALID"}


async def test_the_boundary_second_is_valid(inside: InProcess, tenant: Tenant) -> None:
    patient = await tenant.insert("patients")
    await sign(tenant, patient, LONG_AGO)
    for moment, expected in (
        (LONG_AGO, "VALID"),
        (LONG_AGO + 365 * DAY - SECOND, "VALID"),
        (LONG_AGO + 365 * DAY, "VALID"),
        (LONG_AGO + 365 * DAY + SECOND - timedelta(microseconds=1), "VALID"),  # still in that second
        (LONG_AGO + 365 * DAY + SECOND, "EXPIRED"),
        (LONG_AGO + 3_650 * DAY, "EXPIRED"),
    ):
        inside.clock.moment = moment
        assert await code(inside, tenant, patient, "repeat") == expected, moment


async def test_the_last_signed_one_counts(inside: InProcess, tenant: Tenant, other: Tenant) -> None:
    inside.clock.moment = now = LONG_AGO + 1_000 * DAY
    patient = await tenant.insert("patients")
    stranger = await tenant.insert("patients")
    await other.insert("patients", uid=patient)
    await sign(other, patient, now)
    await sign(tenant, stranger, now)
    assert await code(inside, tenant, patient, "repeat") == "NOT_FOUND"
    await sign(tenant, patient, None)  # not signed yet
    await sign(tenant, patient, now, "another")
    deleted = await sign(tenant, patient, now)
    await tenant.update("submissions", deleted, deleted_at=now)
    assert await code(inside, tenant, patient, "repeat") == "NOT_FOUND"
    await sign(tenant, patient, now - 400 * DAY)
    assert await code(inside, tenant, patient, "repeat") == "EXPIRED"
    last = await sign(tenant, patient, now - 10 * DAY)
    await sign(tenant, patient, now - 500 * DAY)
    assert await code(inside, tenant, patient, "repeat") == "VALID"
    await tenant.update("submissions", last, deleted_at=now)
    assert await code(inside, tenant, patient, "repeat") == "EXPIRED"


async def test_one_signed_by_a_clock_ahead_of_ours_is_valid(inside: InProcess, tenant: Tenant) -> None:
    patient = await tenant.insert("patients")
    await sign(tenant, patient, inside.clock.moment + timedelta(minutes=5))
    assert await code(inside, tenant, patient, "repeat") == "VALID"


async def test_windows_are_set_per_organisation_and_intent(
    inside: InProcess, tenant: Tenant, other: Tenant
) -> None:
    inside.clock.moment = now = LONG_AGO + 1_000 * DAY
    for one in (tenant, other):
        await one.insert("patients", uid="pp-window")
        for intent in ("short", "none", "default"):
            await sign(one, "pp-window", now - 30 * DAY - SECOND, intent)
        await sign(one, "pp-window", now, "none")
    await tenant.enter()
    for intent, days in (("short", 30), ("none", 0), ("never heard of", 1)):
        await commands.set_intent_window(tenant.connection, tenant.id, intent=intent, days=days)
    for one, intent, expected in (
        (tenant, "short", "EXPIRED"),
        (tenant, "none", "VALID"),
        (tenant, "default", "VALID"),
        (tenant, "never heard of", "NOT_FOUND"),
        (other, "short", "VALID"),
    ):
        assert await code(inside, one, "pp-window", intent) == expected, intent
    inside.clock.moment = now + SECOND
    assert await code(inside, tenant, "pp-window", "none") == "EXPIRED"
    assert await code(inside, other, "pp-window", "none") == "VALID"
    await tenant.enter()
    await commands.set_intent_window(tenant.connection, tenant.id, intent="short", days=31)
    assert await code(inside, tenant, "pp-window", "short") == "VALID"


@pytest.mark.parametrize(
    "intent",
    [
        "Folgerezept",
        "re peat",
        "ä ö ß",
        "💊",
        "100%",
        "a+b",
        "a.b:c-d_e",
        "'; --",
        "x" * 256,
        "?a=b&c#d",
        "a;b",
        "a/b",
        "/",
        "../x",
    ],
)
async def test_odd_names(client: httpx.AsyncClient, tenant: Tenant, intent: str) -> None:
    patient = await tenant.insert("patients")
    assert await code(client, tenant, patient, intent) == "NOT_FOUND"
    await tenant.enter()
    await sign(tenant, patient, await tenant.connection.fetchval("SELECT now()"), intent)
    assert await code(client, tenant, patient, intent) == "VALID"
    assert await code(client, tenant, patient, intent.swapcase() + "x") == "NOT_FOUND"


@pytest.mark.parametrize("intent", ["x" * 10_000, "\x00", "a\x00b", "\ud800"])
async def test_names_that_cannot_be(client: httpx.AsyncClient, tenant: Tenant, intent: str) -> None:
    patient = await tenant.insert("patients")
    path = f"/patients/{patient}/intent/{quote(intent, safe='', errors='surrogatepass')}"
    answer = await client.get(path, headers=await tenant.headers("patient:read"))
    assert (answer.status_code, answer.json()) == (200, {"return_code": "NOT_FOUND"})


async def test_letter_case_matters(client: httpx.AsyncClient, tenant: Tenant) -> None:
    patient = await tenant.insert("patients")
    await tenant.enter()
    await sign(tenant, patient, await tenant.connection.fetchval("SELECT now()"))
    assert await code(client, tenant, patient, "Repeat") == "NOT_FOUND"
