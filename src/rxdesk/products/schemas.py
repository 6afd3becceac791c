"""What the product routes give (contract, section 2, route 3)."""

from __future__ import annotations

from typing import Annotated

import msgspec

Cents = Annotated[int, msgspec.Meta(description="Euro cents")]


class ShopSku(msgspec.Struct, kw_only=True):
    """A SKU as a shop sells it."""

    uid: str
    shop_uid: str
    external_id: str | None


class PharmacySku(msgspec.Struct, kw_only=True):
    """A SKU as a pharmacy offers it: price in euro cents, and stock; null where the pharmacy says nothing."""

    uid: str
    pharmacy_uid: str
    price: Cents | None
    stock: int | None
    external_id: str | None


class Sku(msgspec.Struct, kw_only=True):
    """A pack of a product; `pzn` is its Pharmazentralnummer of 8 digits, null where it has none."""

    uid: str
    display_name: str
    pzn: Annotated[str, msgspec.Meta(pattern="^[0-9]{8}$")] | None
    shop_skus: list[ShopSku]
    pharmacy_skus: list[PharmacySku]


class ShopProduct(msgspec.Struct, kw_only=True):
    """A product as a shop lists it."""

    uid: str
    shop_uid: str
    external_id: str | None


class Product(msgspec.Struct, kw_only=True):
    """A product with its SKUs and the shops that list it."""

    uid: str
    display_name: str
    skus: list[Sku]
    shop_products: list[ShopProduct]


class ProductPage(
    msgspec.Struct, kw_only=True, rename={"total_registries": "totalRegistries", "total_pages": "totalPages"}
):
    """A page of products, by name."""

    products: list[Product]
    total_registries: int
    total_pages: int


EXAMPLE = ProductPage(
    products=[
        Product(
            uid="prod-abc123",
            display_name="Medication X",
            skus=[
                Sku(
                    uid="sku-456",
                    display_name="Medication X 100mg",
                    pzn="12345678",
                    shop_skus=[
                        ShopSku(uid="ssku-789", shop_uid="shop-001", external_id="shopify-variant-123")
                    ],
                    pharmacy_skus=[
                        PharmacySku(
                            uid="psku-012", pharmacy_uid="ph-xyz", price=1299, stock=50, external_id="EXT-001"
                        )
                    ],
                )
            ],
            shop_products=[ShopProduct(uid="sp-345", shop_uid="shop-001", external_id="shopify-product-456")],
        )
    ],
    total_registries=42,
    total_pages=2,
)
