"""GET /patients/{patient_uid} (contract, section 2, route 7)."""

from __future__ import annotations

from datetime import date

import httpx
from tests.factories import LONG_AGO, Tenant


async def test_the_contracts_example(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    await tenant.insert(
        "patients",
        uid="pp-abc123",
        display_name="Max Mustermann",
        email="max@example.com",
        date_of_birth=date(1990, 1, 15),
    )
    await other.insert("patients", uid="pp-abc123", display_name="Fremd")
    headers = await tenant.headers("patient:read")
    for path in ("/patients/pp-abc123", "/patients/pp-abc123/"):
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json() == {
            "uid": "pp-abc123",
            "data": {
                "display_name": "Max Mustermann",
                "email": "max@example.com",
                "date_of_birth": "1990-01-15",
            },
        }


async def test_nulls_and_further_fields(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers("patient:read")
    bare = await tenant.insert("patients", display_name=None)
    answer = await client.get(f"/patients/{bare}", headers=headers)
    nothing = {"display_name": None, "email": None, "date_of_birth": None}
    assert answer.json() == {"uid": bare, "data": nothing}
    # A configured field never hides one of the three, and comes with the type it has.
    profile = {
        "height_cm": 178,
        "weight": 71.5,
        "smoker": False,
        "allergies": ["Nüsse", "💊"],
        "insurance": {"kind": "statutory"},
        "email": "false@example.com",
        "": None,
    }
    full = await tenant.insert("patients", email="Grüße@Example.com", display_name="Jürgen", profile=profile)
    answer = await client.get(f"/patients/{full}", headers=headers)
    assert answer.json() == {
        "uid": full,
        "data": {**profile, "display_name": "Jürgen", "email": "Grüße@Example.com", "date_of_birth": None},
    }


async def test_deleted_unknown_foreign_and_malformed_are_the_same(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    deleted = await tenant.insert("patients", deleted_at=LONG_AGO)
    foreign = await other.insert("patients")
    headers = await tenant.headers("patient:read")
    for uid in (deleted, foreign, "none", "%00", "a" * 10_000, "%F0%9F%92%8A", "'--", "max@example.com"):
        for path in (f"/patients/{uid}", f"/patients/{uid}/intent/repeat"):
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, answer.content) == (404, b'{"error":"Resource not found"}')


async def test_a_refusal_says_nothing_of_existence(client: httpx.AsyncClient, tenant: Tenant) -> None:
    uid = await tenant.insert("patients")
    headers = await tenant.headers("order:read")
    for end in ("", "/intent/repeat"):
        answers = [await client.get(f"/patients/{u}{end}", headers=headers) for u in (uid, "none", "%00")]
        assert {(a.status_code, a.content) for a in answers} == {(403, answers[0].content)}
