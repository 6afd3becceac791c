"""GET /products (contract, section 2, route 3)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.api.lists import check_order_and_pages, check_paging
from tests.factories import LONG_AGO, Tenant


async def arrange_example(tenant: Tenant) -> None:
    """The one product of the contract's example."""
    await tenant.insert("shops", uid="shop-001")
    await tenant.insert("pharmacies", uid="ph-xyz")
    await tenant.insert("products", uid="prod-abc123", display_name="Medication X")
    await tenant.insert(
        "skus",
        uid="sku-456",
        product_uid="prod-abc123",
        display_name="Medication X 100mg",
        pzn="12345678",
    )
    await tenant.insert(
        "shop_skus", uid="ssku-789", sku_uid="sku-456", shop_uid="shop-001", external_id="shopify-variant-123"
    )
    await tenant.insert(
        "pharmacy_skus",
        uid="psku-012",
        sku_uid="sku-456",
        pharmacy_uid="ph-xyz",
        price=1299,
        stock=50,
        external_id="EXT-001",
    )
    await tenant.insert(
        "shop_products",
        uid="sp-345",
        product_uid="prod-abc123",
        shop_uid="shop-001",
        external_id="shopify-product-456",
    )


PRODUCT: dict[str, Any] = {
    "uid": "prod-abc123",
    "display_name": "Medication X",
    "skus": [
        {
            "uid": "sku-456",
            "display_name": "Medication X 100mg",
            "pzn": "12345678",
            "shop_skus": [{"uid": "ssku-789", "shop_uid": "shop-001", "external_id": "shopify-variant-123"}],
            "pharmacy_skus": [
                {
                    "uid": "psku-012",
                    "pharmacy_uid": "ph-xyz",
                    "price": 1299,
                    "stock": 50,
                    "external_id": "EXT-001",
                }
            ],
        }
    ],
    "shop_products": [{"uid": "sp-345", "shop_uid": "shop-001", "external_id": "shopify-product-456"}],
}
SKU: dict[str, Any] = PRODUCT["skus"][0]


async def test_the_contracts_example(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    await arrange_example(tenant)
    await arrange_example(other)
    await other.insert("products")
    await other.insert("skus", product_uid="prod-abc123")
    await other.insert("shop_skus", sku_uid="sku-456", shop_uid="shop-001")
    await other.insert("pharmacy_skus", sku_uid="sku-456", pharmacy_uid="ph-xyz")
    await other.insert("shop_products", product_uid="prod-abc123", shop_uid="shop-001")
    for number in range(41):  # the example's 42 products are two pages of 21 or more
        await tenant.insert("products", display_name=f"Z{number}")
    headers = await tenant.headers("product:read")
    for path in ("/products", "/products/"):
        answer = await client.get(path, params={"limit": 40}, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        body = answer.json()
        assert {**body, "products": body["products"][:1]} == {
            "products": [PRODUCT],
            "totalRegistries": 42,
            "totalPages": 2,
        }
        assert len(body["products"]) == 40


async def test_nulls_and_empty_arrays(client: httpx.AsyncClient, tenant: Tenant) -> None:
    shop, pharmacy = await tenant.insert("shops"), await tenant.insert("pharmacies")
    bare = await tenant.insert("products", display_name="A")
    product = await tenant.insert("products", display_name="B")
    sku = await tenant.insert("skus", product_uid=product)
    in_shop = await tenant.insert("shop_skus", sku_uid=sku, shop_uid=shop)
    at_pharmacy = await tenant.insert("pharmacy_skus", sku_uid=sku, pharmacy_uid=pharmacy)
    listed = await tenant.insert("shop_products", product_uid=product, shop_uid=shop)
    answer = await client.get("/products", headers=await tenant.headers("product:read"))
    assert answer.json() == {
        "products": [
            {"uid": bare, "display_name": "A", "skus": [], "shop_products": []},
            {
                "uid": product,
                "display_name": "B",
                "skus": [
                    {
                        "uid": sku,
                        "display_name": "SKU",
                        "pzn": None,
                        "shop_skus": [{"uid": in_shop, "shop_uid": shop, "external_id": None}],
                        "pharmacy_skus": [
                            {
                                "uid": at_pharmacy,
                                "pharmacy_uid": pharmacy,
                                "price": None,
                                "stock": None,
                                "external_id": None,
                            }
                        ],
                    }
                ],
                "shop_products": [{"uid": listed, "shop_uid": shop, "external_id": None}],
            },
        ],
        "totalRegistries": 2,
        "totalPages": 1,
    }


async def test_children_come_in_creation_order(client: httpx.AsyncClient, tenant: Tenant) -> None:
    shop, pharmacy = await tenant.insert("shops"), await tenant.insert("pharmacies")
    product = await tenant.insert("products")
    for place in (2, 0, 10, 1):
        uid = 99 - place  # sorts the other way round
        await tenant.insert("skus", uid=f"sku-{uid}", product_uid=product, position=place)
        await tenant.insert(
            "shop_products", uid=f"sp-{uid}", product_uid=product, shop_uid=shop, position=place
        )
    for place in (2, 0, 10, 1):
        uid = 99 - place
        await tenant.insert("shop_skus", uid=f"ssku-{uid}", sku_uid="sku-99", shop_uid=shop, position=place)
        await tenant.insert(
            "pharmacy_skus",
            uid=f"psku-{uid}",
            sku_uid="sku-99",
            pharmacy_uid=pharmacy,
            position=place,
            price=0,
        )
    body = (await client.get("/products", headers=await tenant.headers("product:read"))).json()
    (found,) = body["products"]
    order = ["99", "98", "97", "89"]
    assert [row["uid"] for row in found["skus"]] == [f"sku-{n}" for n in order]
    assert [row["uid"] for row in found["shop_products"]] == [f"sp-{n}" for n in order]
    first, *rest = found["skus"]
    assert [row["uid"] for row in first["shop_skus"]] == [f"ssku-{n}" for n in order]
    assert [row["uid"] for row in first["pharmacy_skus"]] == [f"psku-{n}" for n in order]
    assert all(row["shop_skus"] == row["pharmacy_skus"] == [] for row in rest)


@pytest.mark.parametrize(
    ("table", "uid", "product"),
    [
        ("skus", "sku-456", {**PRODUCT, "skus": []}),
        ("shop_skus", "ssku-789", {**PRODUCT, "skus": [{**SKU, "shop_skus": []}]}),
        ("pharmacy_skus", "psku-012", {**PRODUCT, "skus": [{**SKU, "pharmacy_skus": []}]}),
        ("shop_products", "sp-345", {**PRODUCT, "shop_products": []}),
        # What a deleted shop or pharmacy offers is no offer.
        ("shops", "shop-001", {**PRODUCT, "skus": [{**SKU, "shop_skus": []}], "shop_products": []}),
        ("pharmacies", "ph-xyz", {**PRODUCT, "skus": [{**SKU, "pharmacy_skus": []}]}),
        ("products", "prod-abc123", None),
    ],
)
async def test_deleted_rows_are_absent(
    client: httpx.AsyncClient, tenant: Tenant, table: str, uid: str, product: dict[str, Any] | None
) -> None:
    await arrange_example(tenant)
    await tenant.update(table, uid, deleted_at=LONG_AGO)
    answer = await client.get("/products", headers=await tenant.headers("product:read"))
    found = [product] if product else []
    assert answer.json() == {"products": found, "totalRegistries": len(found), "totalPages": len(found)}


async def test_order(client: httpx.AsyncClient, tenant: Tenant) -> None:
    await check_order_and_pages(client, tenant, "/products", "products", "products", "product:read")


async def test_paging(client: httpx.AsyncClient, tenant: Tenant) -> None:
    await check_paging(client, tenant, "/products", "products", "products", "product:read")
