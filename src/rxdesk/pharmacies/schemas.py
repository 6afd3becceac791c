"""What goes into and comes out of the pharmacy's API (contract, sections 3 and 4)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from rxdesk.products.schemas import Cents

MAX_INTEGER = 2**31 - 1

PharmacyOrderStatus = Literal[
    "init",
    "waiting for pharmacy",
    "pending review",
    "on-hold",
    "in-progress",
    "ready_for_pickup",
    "completed",
    "cancelled",
]
# Completed is an order by complete_order alone, which takes the stock down.
NextStatus = Literal[
    "init",
    "waiting for pharmacy",
    "pending review",
    "on-hold",
    "in-progress",
    "ready_for_pickup",
    "cancelled",
]


class PharmacySummary(msgspec.Struct, kw_only=True):
    """A pharmacy as other resources name one."""

    uid: str
    display_name: str


class Delivery(msgspec.Struct, kw_only=True):
    """What of the order a pharmacy needs to send it; the amount in minor units of the currency.

    An address has the members `first_name`, `last_name`, `street`, `house_number`, `zip_code`, `city`, `country` and
    `additional_address`, or none at all.
    """

    uid: str
    delivery_address: dict[str, str | None]
    invoice_address: dict[str, str | None]
    shipping_costs_amount: int | None
    shipping_costs_currency: str | None
    priority: int


class DeliveryType(msgspec.Struct, kw_only=True):
    """How the order is sent."""

    uid: str
    display_name: str
    identifier: str


class ItemSku(msgspec.Struct, kw_only=True):
    """A pack, and the product that it is a pack of."""

    uid: str
    display_name: str
    pzn: str | None
    product_uid: str
    product_display_name: str
    product_handle: str | None


class ItemPharmacySku(msgspec.Struct, kw_only=True):
    """The pharmacy's own price, stock and id of a pack; null where it says nothing."""

    uid: str
    external_id: str | None
    price: Cents | None
    stock: int | None


class PharmacyOrderItem(msgspec.Struct, kw_only=True):
    """What is ordered of the pharmacy; `pharmacy_sku` is null where it does not offer the pack."""

    uid: str
    amount: int
    total_paid_amount: Cents | None
    sku: ItemSku
    pharmacy_sku: ItemPharmacySku | None


class PatientData(msgspec.Struct, kw_only=True):
    """For whom it is."""

    uid: str
    display_name: str | None
    email: str | None
    date_of_birth: str | None


class PharmacyOrder(msgspec.Struct, kw_only=True):
    """A pharmacy order; times in Unix seconds. It is also the data of its events."""

    uid: str
    status: PharmacyOrderStatus
    name: str | None
    data: dict[str, Any]
    external_status: str | None
    created_at: int
    updated_at: int
    deleted_at: int | None
    pharmacy: PharmacySummary
    order: Delivery
    delivery_type: DeliveryType | None
    order_items: list[PharmacyOrderItem]
    patient_data: PatientData | None


class PharmacyOrderPage(
    msgspec.Struct, kw_only=True, rename={"total_registries": "totalRegistries", "total_pages": "totalPages"}
):
    """A page of pharmacy orders, newest first."""

    data: list[PharmacyOrder]
    total_registries: int
    total_pages: int


class StatusChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The step that an order takes; `completed` is not among them."""

    status: NextStatus


class Completion(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What there is to say of a completed order: nothing."""


class ChangedOrder(msgspec.Struct, kw_only=True):
    """What became of an order that took a step; times in Unix seconds."""

    uid: str
    status: str
    created_at: int
    updated_at: int


class OfferedSku(msgspec.Struct, kw_only=True):
    """A pack as a pharmacy's stock names it."""

    uid: str
    display_name: str
    pzn: str | None


class PharmacySku(msgspec.Struct, kw_only=True):
    """A pack as the pharmacy offers it: price in euro cents, stock (null: not counted); time in Unix seconds."""

    uid: str
    external_id: str | None
    price: Cents | None
    stock: int | None
    pharmacy: PharmacySummary
    sku: OfferedSku
    updated_at: int


class PharmacySkuPage(
    msgspec.Struct, kw_only=True, rename={"total_registries": "totalRegistries", "total_pages": "totalPages"}
):
    """A page of a pharmacy's SKUs, by the uid of the SKU."""

    data: list[PharmacySku]
    total_registries: int
    total_pages: int


class PriceChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A new price; null: the pharmacy names none."""

    price: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER, description="Euro cents")] | None


class StockChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What there is now; null: it is not counted."""

    stock: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER, description="Packs")] | None


class ExternalIdChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The pharmacy's own id of the pack; null: it has none."""

    external_id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None
