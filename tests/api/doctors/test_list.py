"""GET /doctors (contract, section 2, route 4)."""

from __future__ import annotations

import httpx
from tests.api.lists import check_order_and_pages, check_paging
from tests.factories import LONG_AGO, Tenant


async def test_whole_rows(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    await tenant.insert(
        "doctors",
        uid="doc-456",
        display_name="Dr. Schmidt",
        email="Schmidt@example.com",
        minutes_to_respond=60,
    )
    await tenant.insert(
        "doctors", uid="doc-1", display_name="dr. zacharias", can_sign_prescriptions=False, active=False
    )
    await tenant.insert("doctors", display_name="Dr. Fort", deleted_at=LONG_AGO)
    await other.insert("doctors", display_name="Dr. Fremd")
    headers = await tenant.headers("doctor:read")
    for path in ("/doctors", "/doctors/"):
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        # An inactive doctor is listed: `active` says so.
        assert answer.json() == {
            "data": [
                {
                    "uid": "doc-456",
                    "display_name": "Dr. Schmidt",
                    "email": "Schmidt@example.com",
                    "minutes_to_respond": 60,
                    "can_sign_prescriptions": True,
                    "active": True,
                },
                {
                    "uid": "doc-1",
                    "display_name": "dr. zacharias",
                    "email": None,
                    "minutes_to_respond": None,
                    "can_sign_prescriptions": False,
                    "active": False,
                },
            ],
            "totalRegistries": 2,
            "totalPages": 1,
        }


async def test_order(client: httpx.AsyncClient, tenant: Tenant) -> None:
    await check_order_and_pages(client, tenant, "/doctors", "doctors", "data", "doctor:read")


async def test_paging(client: httpx.AsyncClient, tenant: Tenant) -> None:
    await check_paging(client, tenant, "/doctors", "doctors", "data", "doctor:read")
