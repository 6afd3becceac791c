"""GET /prescriptions/{prescription_uid} (contract, section 2, route 2)."""

from __future__ import annotations

import typing

import httpx
import pytest
from tests.factories import LONG_AGO, Tenant

from rxdesk.prescriptions.schemas import PrescriptionStatus


async def prescription(tenant: Tenant, **columns: object) -> str:
    order = await tenant.insert("orders")
    return await tenant.insert("prescriptions", order_uid=order, **columns)


async def test_the_contracts_example(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    for owner, name in ((tenant, "Dr. Schmidt"), (other, "Dr. Fremd")):
        await owner.insert("doctors", uid="doc-456", display_name=name)
        await prescription(owner, uid="px-abc123", status="signed", doctor_uid="doc-456", rendered=True)
    headers = await tenant.headers("prescription:read")
    for path in ("/prescriptions/px-abc123", "/prescriptions/px-abc123/"):
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json() == {
            "uid": "px-abc123",
            "status": "signed",
            "doctor": {"uid": "doc-456", "display_name": "Dr. Schmidt"},
            "rendered": True,
        }


async def test_without_a_doctor(client: httpx.AsyncClient, tenant: Tenant) -> None:
    uid = await prescription(tenant)
    answer = await client.get(f"/prescriptions/{uid}", headers=await tenant.headers("prescription:read"))
    assert answer.json() == {"uid": uid, "status": "waiting_for_doctor", "doctor": None, "rendered": False}


async def test_with_a_deleted_doctor(client: httpx.AsyncClient, tenant: Tenant) -> None:
    doctor = await tenant.insert("doctors", deleted_at=LONG_AGO)
    uid = await prescription(tenant, doctor_uid=doctor, status="declined")
    answer = await client.get(f"/prescriptions/{uid}", headers=await tenant.headers("prescription:read"))
    assert answer.json() == {"uid": uid, "status": "declined", "doctor": None, "rendered": False}


@pytest.mark.parametrize("status", typing.get_args(PrescriptionStatus))
async def test_every_status(client: httpx.AsyncClient, tenant: Tenant, status: str) -> None:
    uid = await prescription(tenant, status=status)
    answer = await client.get(f"/prescriptions/{uid}", headers=await tenant.headers("prescription:read"))
    assert answer.json()["status"] == status


async def test_a_name_of_any_script(client: httpx.AsyncClient, tenant: Tenant) -> None:
    name = 'Dr. Ä"ß\\é 💊 سالم \u2028'
    uid = await prescription(tenant, doctor_uid=await tenant.insert("doctors", display_name=name))
    answer = await client.get(f"/prescriptions/{uid}", headers=await tenant.headers("prescription:read"))
    assert answer.json()["doctor"]["display_name"] == name


async def test_deleted_unknown_foreign_and_malformed_are_the_same(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    deleted = await prescription(tenant, deleted_at=LONG_AGO)
    foreign = await prescription(other)
    headers = await tenant.headers("prescription:read")
    for uid in (deleted, foreign, "px-none", "%00", "a" * 10_000, "%F0%9F%92%8A", "'--"):
        answer = await client.get(f"/prescriptions/{uid}", headers=headers)
        assert (answer.status_code, answer.content) == (404, b'{"error":"Resource not found"}')


async def test_a_refusal_says_nothing_of_existence(client: httpx.AsyncClient, tenant: Tenant) -> None:
    uid = await prescription(tenant)
    headers = await tenant.headers("order:read")
    answers = [await client.get(f"/prescriptions/{u}", headers=headers) for u in (uid, "none", "%00")]
    assert {(a.status_code, a.content) for a in answers} == {(403, answers[0].content)}
