"""GET /orders/{order_uid} (contract, section 2, route 1)."""

from __future__ import annotations

import typing
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.factories import LONG_AGO, Tenant

from rxdesk.orders.schemas import OrderStatus
from rxdesk.prescriptions.schemas import PrescriptionStatus

NOT_FOUND = (404, b'{"error":"Resource not found"}')
THEN = datetime.fromtimestamp(1_711_700_000, UTC)


async def arrange_example(tenant: Tenant) -> None:
    """The rows behind the contract's example."""
    times = {"created_at": THEN, "updated_at": THEN}
    await tenant.insert("shops", uid="shop-456", identifier="my-shop")
    await tenant.insert("doctors", uid="doc-456", display_name="Dr. Schmidt")
    await tenant.insert("products", uid="prod-1")
    await tenant.insert("skus", uid="sku-456", product_uid="prod-1")
    await tenant.insert("patients", uid="pp-123", **times)
    await tenant.insert(
        "orders", uid="ord-abc123", status="waiting for pharmacy", patient_uid="pp-123", **times
    )
    order = {"order_uid": "ord-abc123"}
    await tenant.insert("shop_orders", uid="so-789", shop_uid="shop-456", external_id="EXT-12345", **order)
    await tenant.insert("order_items", uid="oi-789", quantity=1, sku_uid="sku-456", **order)
    await tenant.insert("fulfillment_orders", uid="fo-001", **order)
    part = {**order, "fulfillment_order_uid": "fo-001"}
    await tenant.insert("fulfillment_order_items", uid="foi-001", order_item_uid="oi-789", **part)
    await tenant.insert("prescriptions", uid="px-001", status="signed", doctor_uid="doc-456", **part)


EXAMPLE: dict[str, Any] = {
    "uid": "ord-abc123",
    "status": "waiting for pharmacy",
    "created_at": 1711700000,
    "updated_at": 1711700000,
    "shop_orders": [
        {
            "uid": "so-789",
            "shop": {"uid": "shop-456", "identifier": "my-shop"},
            "external_id": "EXT-12345",
        }
    ],
    "patient_profile": {"uid": "pp-123", "created_at": 1711700000, "updated_at": 1711700000},
    "items": [{"uid": "oi-789", "quantity": 1, "sku_uid": "sku-456"}],
    "fulfillment_orders": [
        {
            "uid": "fo-001",
            "items": [
                {"uid": "foi-001", "order_item": {"uid": "oi-789", "quantity": 1, "sku_uid": "sku-456"}}
            ],
            "prescriptions": [
                {
                    "uid": "px-001",
                    "status": "signed",
                    "doctor": {"uid": "doc-456", "display_name": "Dr. Schmidt"},
                }
            ],
        }
    ],
    "prescriptions": [{"uid": "px-001", "status": "signed"}],
}


async def test_the_contracts_example(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    await arrange_example(tenant)
    # The other organisation has the same uids, and something more under each.
    await arrange_example(other)
    await other.insert("order_items", order_uid="ord-abc123", sku_uid="sku-456")
    await other.insert("shop_orders", order_uid="ord-abc123", shop_uid="shop-456")
    await other.insert("fulfillment_orders", order_uid="ord-abc123")
    await other.insert("prescriptions", order_uid="ord-abc123", fulfillment_order_uid="fo-001")
    headers = await tenant.headers("order:read", "prescription:read")
    for path in ("/orders/ord-abc123", "/orders/ord-abc123/"):
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json() == EXAMPLE
        # Members stand in the contract's order too.
        assert [*answer.json()] == [*EXAMPLE]


async def test_without_prescription_read_both_arrays_are_empty(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    await arrange_example(tenant)
    answer = await client.get("/orders/ord-abc123", headers=await tenant.headers("order:read"))
    part = {**EXAMPLE["fulfillment_orders"][0], "prescriptions": []}
    assert answer.json() == {**EXAMPLE, "fulfillment_orders": [part], "prescriptions": []}


async def test_a_bare_order(client: httpx.AsyncClient, tenant: Tenant) -> None:
    made = datetime(2026, 1, 1, 12, 0, 0, 999_999, tzinfo=UTC)  # whole seconds, never rounded up
    uid = await tenant.insert("orders", created_at=made, updated_at=made)
    answer = await client.get(f"/orders/{uid}", headers=await tenant.headers("order:read"))
    assert answer.json() == {
        "uid": uid,
        "status": "init",
        "created_at": int(made.timestamp()),
        "updated_at": int(made.timestamp()),
        "shop_orders": [],
        "patient_profile": None,
        "items": [],
        "fulfillment_orders": [],
        "prescriptions": [],
    }


@pytest.mark.parametrize("status", typing.get_args(OrderStatus))
async def test_every_status(client: httpx.AsyncClient, tenant: Tenant, status: str) -> None:
    uid = await tenant.insert("orders", status=status)
    answer = await client.get(f"/orders/{uid}", headers=await tenant.headers("order:read"))
    assert answer.json()["status"] == status


async def test_children_come_in_creation_order_and_only_this_orders(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    shop = await tenant.insert("shops")
    product = await tenant.insert("products")
    sku = await tenant.insert("skus", product_uid=product)
    order, stranger = await tenant.insert("orders"), await tenant.insert("orders")
    places = [3, 0, 2, 1, 10]  # inserted in this order; `position` is the order of creation
    uids: dict[str, dict[int, str]] = {}

    async def put(table: str, place: int, **columns: object) -> None:
        for parent in (order, stranger):
            mine = {k: v[parent] if isinstance(v, dict) else v for k, v in columns.items()}
            # uids that sort the other way round
            uid = f"{table[:5]}-{99 - place}-{parent}"
            await tenant.insert(table, uid=uid, order_uid=parent, position=place, **mine)
            if parent == order:
                uids.setdefault(table, {})[place] = uid

    for place in places:
        await put("shop_orders", place, shop_uid=shop, external_id=None)
        await put("order_items", place, sku_uid=sku, quantity=place + 1)
        await put("fulfillment_orders", place)
    first_part = {parent: f"fulfi-99-{parent}" for parent in (order, stranger)}
    for place in places:
        item = {parent: f"order-{99 - place}-{parent}" for parent in (order, stranger)}
        await tenant.connection.execute("SELECT 1")
        for parent in (order, stranger):
            uid = f"foi-{99 - place}-{parent}"
            await tenant.insert(
                "fulfillment_order_items",
                uid=uid,
                order_uid=parent,
                fulfillment_order_uid=first_part[parent],
                order_item_uid=item[parent],
                position=place,
            )
            if parent == order:
                uids.setdefault("fulfillment_order_items", {})[place] = uid
        await put("prescriptions", place, fulfillment_order_uid=first_part)
    headers = await tenant.headers("order:read", "prescription:read")
    body = (await client.get(f"/orders/{order}", headers=headers)).json()

    def given(rows: list[dict[str, Any]]) -> list[str]:
        return [row["uid"] for row in rows]

    def expected(table: str) -> list[str]:
        return [uids[table][place] for place in sorted(places)]

    assert given(body["shop_orders"]) == expected("shop_orders")
    assert [row["external_id"] for row in body["shop_orders"]] == [None] * 5
    assert given(body["items"]) == expected("order_items")
    assert [row["quantity"] for row in body["items"]] == [1, 2, 3, 4, 11]
    assert given(body["fulfillment_orders"]) == expected("fulfillment_orders")
    part, *rest = body["fulfillment_orders"]
    assert given(part["items"]) == expected("fulfillment_order_items")
    assert [row["order_item"] for row in part["items"]] == body["items"]
    assert given(part["prescriptions"]) == given(body["prescriptions"]) == expected("prescriptions")
    assert [row["doctor"] for row in part["prescriptions"]] == [None] * 5
    assert all(row["items"] == row["prescriptions"] == [] for row in rest)


async def test_every_prescription_status_and_one_without_a_fulfillment_order(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    order = await tenant.insert("orders")
    statuses = typing.get_args(PrescriptionStatus)
    for position, status in enumerate(statuses):
        await tenant.insert("prescriptions", order_uid=order, status=status, position=position)
    headers = await tenant.headers("order:read", "prescription:read")
    body = (await client.get(f"/orders/{order}", headers=headers)).json()
    assert [row["status"] for row in body["prescriptions"]] == [*statuses]
    assert body["fulfillment_orders"] == []


@pytest.mark.parametrize(
    ("table", "uid", "change"),
    [
        ("shop_orders", "so-789", {"shop_orders": []}),
        ("shops", "shop-456", {"shop_orders": []}),
        ("patients", "pp-123", {"patient_profile": None}),
        ("fulfillment_orders", "fo-001", {"fulfillment_orders": []}),
        (
            "fulfillment_order_items",
            "foi-001",
            {"fulfillment_orders": [{**EXAMPLE["fulfillment_orders"][0], "items": []}]},
        ),
        (
            "order_items",
            "oi-789",
            {"items": [], "fulfillment_orders": [{**EXAMPLE["fulfillment_orders"][0], "items": []}]},
        ),
        (
            "prescriptions",
            "px-001",
            {
                "prescriptions": [],
                "fulfillment_orders": [{**EXAMPLE["fulfillment_orders"][0], "prescriptions": []}],
            },
        ),
        (
            "doctors",
            "doc-456",
            {
                "fulfillment_orders": [
                    {
                        **EXAMPLE["fulfillment_orders"][0],
                        "prescriptions": [{"uid": "px-001", "status": "signed", "doctor": None}],
                    }
                ]
            },
        ),
    ],
)
async def test_deleted_rows_are_absent(
    client: httpx.AsyncClient, tenant: Tenant, table: str, uid: str, change: dict[str, Any]
) -> None:
    await arrange_example(tenant)
    await tenant.update(table, uid, deleted_at=LONG_AGO)
    headers = await tenant.headers("order:read", "prescription:read")
    answer = await client.get("/orders/ord-abc123", headers=headers)
    assert answer.json() == {**EXAMPLE, **change}


async def test_deleted_unknown_foreign_and_malformed_are_the_same(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    deleted = await tenant.insert("orders", deleted_at=LONG_AGO)
    foreign = await other.insert("orders")
    headers = await tenant.headers("order:read")
    for uid in (
        deleted,
        foreign,
        "none",
        "%00",
        "a" * 10_000,
        "a" * 64,
        "%F0%9F%92%8A",
        "'--",
        "a%20b",
        "...",
    ):
        answer = await client.get(f"/orders/{uid}", headers=headers)
        assert (answer.status_code, answer.content) == NOT_FOUND


async def test_a_refusal_says_nothing_of_existence(client: httpx.AsyncClient, tenant: Tenant) -> None:
    uid = await tenant.insert("orders")
    headers = await tenant.headers("prescription:read", "patient:read")
    answers = [await client.get(f"/orders/{u}", headers=headers) for u in (uid, "none", "%00")]
    assert {(a.status_code, a.content) for a in answers} == {(403, answers[0].content)}
    assert answers[0].json()["code"] == "permission_denied"
