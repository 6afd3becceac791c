"""GET /prescriptions/{prescription_uid} (contract, section 2, route 2)."""

from __future__ import annotations

import httpx

from tests.factories import Tenant


async def prescription(tenant: Tenant, **columns: object) -> str:
    order = await tenant.insert("orders")
    return await tenant.insert("prescriptions", order_uid=order, **columns)


async def test_with_a_doctor(client: httpx.AsyncClient, tenant: Tenant) -> None:
    doctor = await tenant.insert("doctors", display_name="Dr. Schmidt")
    uid = await prescription(tenant, status="signed", doctor_uid=doctor, rendered=True)
    headers = await tenant.headers("prescription:read")
    for path in (f"/prescriptions/{uid}", f"/prescriptions/{uid}/"):
        answer = await client.get(path, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {
            "uid": uid,
            "status": "signed",
            "doctor": {"uid": doctor, "display_name": "Dr. Schmidt"},
            "rendered": True,
        }


async def test_without_a_doctor(client: httpx.AsyncClient, tenant: Tenant) -> None:
    uid = await prescription(tenant)
    answer = await client.get(f"/prescriptions/{uid}", headers=await tenant.headers("prescription:read"))
    assert answer.json() == {"uid": uid, "status": "waiting_for_doctor", "doctor": None, "rendered": False}


async def test_deleted_unknown_foreign_and_malformed_are_the_same(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    deleted = await prescription(tenant, deleted_at=tenant_time())
    foreign = await prescription(other)
    headers = await tenant.headers("prescription:read")
    for uid in (deleted, foreign, "px-none", "%00", "a" * 10_000, "%F0%9F%92%8A", "'--"):
        answer = await client.get(f"/prescriptions/{uid}", headers=headers)
        assert (answer.status_code, answer.content) == (404, b'{"error":"Resource not found"}')


async def test_one_statement(inside, tenant: Tenant) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    uid = await prescription(tenant)
    headers = await tenant.headers("prescription:read")
    await inside.client.get(f"/prescriptions/{uid}", headers=headers)
    inside.statements.clear()
    answer = await inside.client.get(f"/prescriptions/{uid}", headers=headers)
    assert answer.status_code == 200
    assert len(inside.statements) == 1


def tenant_time() -> object:
    from tests.factories import LONG_AGO

    return LONG_AGO
