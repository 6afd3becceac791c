"""Pharmacies with orders and stock, for the tests of their API."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from tests.factories import LONG_AGO, Tenant

ADDRESS = {
    "first_name": "Max",
    "last_name": "Mustermann",
    "street": "Hauptstr.",
    "house_number": "1",
    "zip_code": "10115",
    "city": "Berlin",
    "country": "Germany",
    "additional_address": None,
}
CREATED = int(LONG_AGO.timestamp())


@dataclass(frozen=True)
class Counter:
    """A pharmacy of a tenant, and what it sells."""

    tenant: Tenant
    uid: str
    skus: dict[str, str] = field(default_factory=dict)  # pharmacy SKU to SKU

    async def headers(self, *permissions: str) -> dict[str, str]:
        return await self.tenant.pharmacy_headers(self.uid, *permissions)

    async def offer(self, sku: str | None = None, **columns: Any) -> str:
        """A pharmacy SKU, of a product of its own unless the SKU is given."""
        tenant = self.tenant
        if sku is None:
            product = await tenant.insert("products", display_name="Medication X", handle="medication-x")
            sku = await tenant.insert("skus", product_uid=product, display_name="X 100mg", pzn="12345678")
        columns = {"price": 1299, "stock": 50, "external_id": "EXT-001", **columns}
        offered = await tenant.insert("pharmacy_skus", sku_uid=sku, pharmacy_uid=self.uid, **columns)
        self.skus[offered] = sku
        return offered

    async def order(self, *items: tuple[str, int], status: str = "init", **columns: Any) -> str:
        """A pharmacy order of these amounts of its SKUs, for the whole of an order."""
        order = columns.pop("order_uid", None) or await self.tenant.insert("orders")
        for position, (offered, amount) in enumerate(items):
            await self.tenant.insert(
                "order_items",
                order_uid=order,
                sku_uid=self.skus[offered],
                quantity=amount,
                position=position,
                total_paid_amount=1299,
            )
        columns = {"pharmacy_uid": self.uid, "order_uid": order, "status": status, **columns}
        return await self.tenant.insert("pharmacy_orders", **columns)

    async def stock(self) -> dict[str, int | None]:
        rows = await self.tenant.rows(
            "SELECT uid, stock FROM pharmacy_skus WHERE organisation_id = $1 AND pharmacy_uid = $2", self.uid
        )
        return {row["uid"]: row["stock"] for row in rows}


async def open_counter(tenant: Tenant, **columns: Any) -> Counter:
    """A pharmacy without anything."""
    return Counter(tenant, await tenant.insert("pharmacies", **{"display_name": "City Pharmacy", **columns}))


async def whole_order(counter: Counter) -> tuple[str, dict[str, Any]]:
    """An order with all that there can be, and the body that tells it (contract, section 3)."""
    tenant = counter.tenant
    offered = await counter.offer()
    other = await counter.offer(price=None, stock=None, external_id=None)
    patient = await tenant.insert(
        "patients", email="max@example.com", date_of_birth=date(1990, 1, 15), profile={"secret": "x"}
    )
    order = await tenant.insert(
        "orders",
        patient_uid=patient,
        delivery_address=ADDRESS,
        shipping_costs_amount=490,
        shipping_costs_currency="EUR",
    )
    part = await tenant.insert("fulfillment_orders", order_uid=order)
    item = await tenant.insert(
        "order_items", order_uid=order, sku_uid=counter.skus[offered], quantity=1, total_paid_amount=1299
    )
    # Of the order, but of another part of it: not this pharmacy's to send.
    await tenant.insert("order_items", order_uid=order, sku_uid=counter.skus[other], quantity=7)
    await tenant.insert(
        "fulfillment_order_items", order_uid=order, fulfillment_order_uid=part, order_item_uid=item
    )
    delivery = await tenant.insert("delivery_types", identifier="standard", display_name="Standard Shipping")
    uid = await counter.order(
        order_uid=order,
        fulfillment_order_uid=part,
        delivery_type_uid=delivery,
        name="#1001",
        external_status="OPEN",
    )
    [sku] = await tenant.rows(
        "SELECT product_uid FROM skus WHERE organisation_id = $1 AND uid = $2", counter.skus[offered]
    )
    return uid, {
        "uid": uid,
        "status": "init",
        "name": "#1001",
        "data": {},
        "external_status": "OPEN",
        "created_at": CREATED,
        "updated_at": CREATED,
        "deleted_at": None,
        "pharmacy": {"uid": counter.uid, "display_name": "City Pharmacy"},
        "order": {
            "uid": order,
            "delivery_address": ADDRESS,
            "invoice_address": {},
            "shipping_costs_amount": 490,
            "shipping_costs_currency": "EUR",
            "priority": 0,
        },
        "delivery_type": {"uid": delivery, "display_name": "Standard Shipping", "identifier": "standard"},
        "order_items": [
            {
                "uid": item,
                "amount": 1,
                "total_paid_amount": 1299,
                "sku": {
                    "uid": counter.skus[offered],
                    "display_name": "X 100mg",
                    "pzn": "12345678",
                    "product_uid": sku["product_uid"],
                    "product_display_name": "Medication X",
                    "product_handle": "medication-x",
                },
                "pharmacy_sku": {"uid": offered, "external_id": "EXT-001", "price": 1299, "stock": 50},
            }
        ],
        "patient_data": {
            "uid": patient,
            "display_name": "Max Mustermann",
            "email": "max@example.com",
            "date_of_birth": "1990-01-15",
        },
    }
