"""An organisation that can take an order from its making to the pharmacy, and a client of the Operations API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from tests.conftest import Live
from tests.factories import Tenant

from rxdesk.routes import OPERATIONS


@dataclass
class Desk:
    """Who works on orders: an organisation with what an order needs, and a key that may do all."""

    tenant: Tenant
    client: httpx.AsyncClient
    headers: dict[str, str]
    uids: dict[str, str] = field(default_factory=dict)

    def body(self, **changes: Any) -> dict[str, Any]:
        """The least that an order needs, with changes."""
        items = [{"sku_uid": self.uids["sku"], "quantity": 1}]
        return {
            "shop_uid": self.uids["shop"],
            "patient_profile_uid": self.uids["patient"],
            "items": items,
            **changes,
        }

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.client.post(path, json=body, headers={**self.headers, **headers})

    async def done(self, path: str, body: Any = None) -> Any:
        """Expect success; give the answer."""
        answer = await self.post(path, body)
        assert answer.is_success, answer.text
        return answer.json()

    async def refused(self, path: str, body: Any = None) -> Any:
        """Expect a 409; give the answer."""
        answer = await self.post(path, body)
        assert answer.status_code == 409, answer.text
        return answer.json()

    async def order(self, prescriptions: int = 1, *, assigned: bool = True, **changes: Any) -> dict[str, Any]:
        """Make an order whose prescriptions the doctor has."""
        made: dict[str, Any] = await self.done("/orders", self.body(prescriptions=prescriptions, **changes))
        for uid in made["prescription_uids"] if assigned else ():
            await self.done(f"/prescriptions/{uid}/assign", {"doctor_uid": self.uids["doctor"]})
        return made

    async def status(self, table: str, uid: str) -> str:
        rows = await self.tenant.rows(
            f"SELECT status FROM {table} WHERE organisation_id = $1 AND uid = $2", uid
        )
        return str(rows[0]["status"])

    async def history(self, uid: str) -> list[tuple[str, str | None, str | None]]:
        """What changed of a row: member, old, new; oldest first."""
        rows = await self.tenant.rows(
            "SELECT what, old_value, new_value FROM changes WHERE organisation_id = $1 AND subject_uid = $2 "
            "ORDER BY changed_at, uid",
            uid,
        )
        return [(row["what"], row["old_value"], row["new_value"]) for row in rows]

    async def events(self, uid: str) -> list[tuple[str, str]]:
        """What was told of a row: type and status, in order."""
        rows = await self.tenant.rows(
            "SELECT event_type, body FROM events WHERE organisation_id = $1 AND subject_uid = $2 ORDER BY position",
            uid,
        )
        return [(row["event_type"], json.loads(row["body"])["data"]["status"]) for row in rows]

    async def offer(self, *, stock: int | None = 5, price: int | None = 1000, sku: str = "") -> str:
        """A further pharmacy that offers a SKU."""
        pharmacy = await self.tenant.insert("pharmacies")
        await self.tenant.insert(
            "pharmacy_skus", sku_uid=sku or self.uids["sku"], pharmacy_uid=pharmacy, stock=stock, price=price
        )
        return pharmacy

    async def pharmacy_orders(self, order_uid: str) -> list[dict[str, Any]]:
        return await self.tenant.rows(
            "SELECT uid, pharmacy_uid, status, delivery_type_uid, name FROM pharmacy_orders "
            "WHERE organisation_id = $1 AND order_uid = $2 ORDER BY position",
            order_uid,
        )


@pytest.fixture(scope="session")
async def operations(live: Live) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server, at the base path of the Operations API."""
    async with httpx.AsyncClient(base_url=live.url + OPERATIONS.base, trust_env=False, timeout=15) as session:
        yield session


@pytest.fixture
async def desk(tenant: Tenant, operations: httpx.AsyncClient) -> Desk:
    """A desk with a shop, a patient, a doctor who may sign, a SKU, and no pharmacy."""
    made = Desk(tenant, operations, await tenant.headers())
    product = await tenant.insert("products")
    made.uids = {
        "shop": await tenant.insert("shops"),
        "patient": await tenant.insert("patients"),
        "doctor": await tenant.insert("doctors"),
        "sku": await tenant.insert("skus", product_uid=product),
        "delivery": await tenant.insert("delivery_types"),
        "product": product,
    }
    return made
