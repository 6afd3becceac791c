"""GET /patients?email= (contract, section 2, route 6)."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import httpx
import pytest
from tests.factories import LONG_AGO, Tenant

NOT_FOUND = (404, b'{"error":"Resource not found"}')
LATER, LATEST = LONG_AGO + timedelta(days=1), LONG_AGO + timedelta(days=2)


async def search(client: httpx.AsyncClient, tenant: Tenant, query: str) -> tuple[int, str | None]:
    """The status, and the uid that was found. `query` is sent as it stands."""
    answer = await client.get(f"/patients?{query}", headers=await tenant.headers("patient:read"))
    return answer.status_code, answer.json().get("uid")


async def by_email(client: httpx.AsyncClient, tenant: Tenant, email: str) -> tuple[int, str | None]:
    return await search(client, tenant, "email=" + quote(email, safe=""))


async def test_one_object_and_no_list(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    uid = await tenant.insert("patients", email="Max@Example.com", profile={"city": "Köln"})
    await other.insert("patients", email="max@example.com", created_at=LATER)
    headers = await tenant.headers("patient:read")
    for path in ("/patients", "/patients/"):
        answer = await client.get(path, params={"email": "max@example.com"}, headers=headers)
        assert answer.status_code == 200
        assert answer.json() == {
            "uid": uid,
            "data": {
                "display_name": "Max Mustermann",
                "email": "Max@Example.com",
                "date_of_birth": None,
                "city": "Köln",
            },
        }


async def test_by_an_orders_email(client: httpx.AsyncClient, tenant: Tenant) -> None:
    own = await tenant.insert("patients", email="own@example.com")
    await tenant.insert("orders", patient_uid=own, email="Order@example.com")
    await tenant.insert("orders", patient_uid=own, email="order@example.com")
    await tenant.insert("orders", email="nobody@example.com")
    assert await by_email(client, tenant, "order@example.com") == (200, own)
    assert await by_email(client, tenant, "own@example.com") == (200, own)
    assert await by_email(client, tenant, "nobody@example.com") == (404, None)


async def test_the_newest_created_patient_wins(client: httpx.AsyncClient, tenant: Tenant) -> None:
    email = "shared@example.com"
    first = await tenant.insert("patients", email=email, created_at=LATER)
    assert await by_email(client, tenant, email) == (200, first)
    # The patient's age counts, neither the order's nor which of the two has the e-mail.
    older = await tenant.insert("patients", created_at=LONG_AGO)
    await tenant.insert("orders", patient_uid=older, email=email, created_at=LATEST)
    assert await by_email(client, tenant, email) == (200, first)
    newer = await tenant.insert("patients", created_at=LATEST)
    await tenant.insert("orders", patient_uid=newer, email=email, created_at=LONG_AGO)
    assert await by_email(client, tenant, email) == (200, newer)
    # Of two of one instant it is always the same one.
    twins = [await tenant.insert("patients", email=email, created_at=LATEST) for _ in range(2)]
    assert await by_email(client, tenant, email) == (200, max(*twins, newer))


async def test_what_is_deleted_does_not_count(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    email = "gone@example.com"
    await tenant.insert("patients", email=email, created_at=LATEST, deleted_at=LATEST)
    gone = await tenant.insert("patients", created_at=LATEST, deleted_at=LATEST)
    await tenant.insert("orders", patient_uid=gone, email=email)
    alive = await tenant.insert("patients")
    await tenant.insert("orders", patient_uid=alive, email=email, deleted_at=LATEST)
    await other.insert("patients", email=email)
    answer = await client.get(f"/patients?email={email}", headers=await tenant.headers("patient:read"))
    assert (answer.status_code, answer.content) == NOT_FOUND
    await tenant.insert("orders", patient_uid=alive, email=email)
    assert await by_email(client, tenant, email) == (200, alive)


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("max@example.com", "MAX@EXAMPLE.COM"),
        ("MAX@Example.Com", "max@example.com"),
        ("max@example.com", "  max@example.com\t\n"),
        (" max@example.com ", "max@example.com"),
        ("jürgen@example.com", "JÜRGEN@example.com"),
        ("ju\u0308rgen@example.com", "jürgen@example.com"),
        ("jürgen@example.com", "JU\u0308RGEN@example.com"),
        ("groß@example.com", "GROSS@example.com"),
        ("GROẞ@example.com", "groß@example.com"),
        ("İz@example.com", "i\u0307z@example.com"),
        ("ΣΑΣ@example.com", "σας@example.com"),
        ("\u0345\u0301a@example.com", "\u0301\u0345a@example.com"),
        ("ǰ@example.com", "J\u030c@example.com"),
        ("o'brien@example.com", "O'Brien@example.com"),
        ("100%_@example.com", "100%_@EXAMPLE.com"),
        ("a&b=c@example.com", "A&B=C@example.com"),
        ("a" * 242 + "@example.com", "A" * 242 + "@example.com"),
    ],
)
async def test_letter_case_spelling_and_spaces_aside(
    client: httpx.AsyncClient, tenant: Tenant, stored: str, asked: str
) -> None:
    uid = await tenant.insert("patients", email=stored)
    patient = await tenant.insert("patients", created_at=LATER)
    assert await by_email(client, tenant, asked) == (200, uid)
    await tenant.insert("orders", patient_uid=patient, email=stored)
    assert await by_email(client, tenant, asked) == (200, patient)


async def test_no_letter_is_taken_for_another(client: httpx.AsyncClient, tenant: Tenant) -> None:
    await tenant.insert("patients", email="muller_@example.com")
    for email in ("müller_@example.com", "muller%@example.com", "mullerx@example.com", "mullér_@example.com"):
        assert await by_email(client, tenant, email) == (404, None)


@pytest.mark.parametrize("query", ["email=max+tag@example.com", "email=max%2Btag@example.com"])
async def test_a_plus_inside_an_address_is_a_plus(
    client: httpx.AsyncClient, tenant: Tenant, query: str
) -> None:
    # An address cannot hold a space, which is what form rules would make of a plus that was not encoded.
    uid = await tenant.insert("patients", email="Max+Tag@example.com")
    assert await search(client, tenant, query) == (200, uid)


async def test_pluses_side_by_side_and_at_the_ends(client: httpx.AsyncClient, tenant: Tenant) -> None:
    double = await tenant.insert("patients", email="a++b+@example.com")
    leading = await tenant.insert("patients", email="+a@example.com")
    assert await search(client, tenant, "x=1&email=a++b+@example.com&y=+") == (200, double)
    # At an end it is a space of a form, and spaces there are trimmed; encoded it is a plus.
    assert await search(client, tenant, "email=++a++b%2B@example.com++") == (200, double)
    assert await search(client, tenant, "email=+a@example.com") == (404, None)
    assert await search(client, tenant, "email=%2Ba@example.com") == (200, leading)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "email",
        "email=",
        "email=%20",
        "email=+",
        "Email=max@example.com",
        "email=max",
        "email=@example.com",
        "email=max@",
        "email=max@example",
        "email=max@@example.com",
        "email=a@b@example.com",
        "email=max%20m@example.com",
        "email=max@example.com,moritz@example.com%20",
        "email=max@exam%0Aple.com",
        "email=max%00@example.com",
        "email=max%FF@example.com",
        "email=%ED%A0%80@example.com",
        "email=max@example.com&email=max@example.com",
        "email=" + "a" * 243 + "@example.com",
        "email=" + "a" * 10_000 + "@example.com",
        "email=" + "%C3%A4" * 2_000,
    ],
)
async def test_missing_or_no_address(client: httpx.AsyncClient, tenant: Tenant, query: str) -> None:
    answer = await client.get(f"/patients?{query}", headers=await tenant.headers("patient:read"))
    assert answer.status_code == 400
    body = answer.json()
    assert [*body] == ["error", "details"]
    assert body["error"] == "Validation failed"
    assert [(d["field"], d["location"]) for d in body["details"]] == [("email", "query")]
    assert (await client.get(f"/patients?{query}")).status_code == 401
    denied = await client.get(f"/patients?{query}", headers=await tenant.headers("order:read"))
    assert denied.status_code == 403
