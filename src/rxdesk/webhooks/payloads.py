"""What the `data` of events looks like (contract, section 3); every type of the catalogue has one of these.

Times are Unix seconds, money is in cents. Emitters give plain mappings of these shapes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

Text = str | None
MaybeText = str | None | msgspec.UnsetType
UnixSeconds = Annotated[int, msgspec.Meta(description="Unix seconds")]
Cents = Annotated[int, msgspec.Meta(description="Cents")]


class Thin(msgspec.Struct, kw_only=True):
    """What a thin event tells: of what, and how it stands. The rest is asked for with a key that may read it."""

    uid: str
    status: str
    created_at: UnixSeconds
    updated_at: UnixSeconds


class Cut(msgspec.Struct, kw_only=True):
    """What is left of the data for a subscription whose key may not read it: uid, status and times."""

    uid: str
    status: str | msgspec.UnsetType = msgspec.UNSET
    created_at: UnixSeconds | msgspec.UnsetType = msgspec.UNSET
    updated_at: UnixSeconds | msgspec.UnsetType = msgspec.UNSET
    deleted_at: UnixSeconds | msgspec.UnsetType | None = msgspec.UNSET


class PharmacyName(msgspec.Struct, kw_only=True):
    """A pharmacy by name."""

    uid: str
    display_name: str


class Address(msgspec.Struct, kw_only=True):
    """A postal address; what is not known is null or left out, and an empty one is `{}`."""

    first_name: MaybeText = msgspec.UNSET
    last_name: MaybeText = msgspec.UNSET
    street: MaybeText = msgspec.UNSET
    house_number: MaybeText = msgspec.UNSET
    zip_code: MaybeText = msgspec.UNSET
    city: MaybeText = msgspec.UNSET
    country: MaybeText = msgspec.UNSET
    additional_address: MaybeText = msgspec.UNSET


class OrderOfPharmacy(msgspec.Struct, kw_only=True):
    """The order that a pharmacy order is a part of."""

    uid: str
    delivery_address: Address
    invoice_address: Address
    shipping_costs_amount: Cents | None
    shipping_costs_currency: Text
    priority: int


class DeliveryType(msgspec.Struct, kw_only=True):
    """How it is delivered."""

    uid: str
    display_name: str
    identifier: str


class OrderedSku(msgspec.Struct, kw_only=True):
    """What was ordered."""

    uid: str
    display_name: str
    pzn: Text
    product_uid: str
    product_display_name: str
    product_handle: Text


class OrderedPharmacySku(msgspec.Struct, kw_only=True):
    """What the pharmacy calls it, and what it has of it."""

    uid: str
    external_id: Text
    price: Cents | None
    stock: int | None


class PharmacyOrderItem(msgspec.Struct, kw_only=True):
    """One item; `pharmacy_sku` is null where the pharmacy does not carry it."""

    uid: str
    amount: int
    total_paid_amount: Cents | None
    sku: OrderedSku
    pharmacy_sku: OrderedPharmacySku | None


class PatientData(msgspec.Struct, kw_only=True):
    """Whose order it is."""

    uid: str
    display_name: Text
    email: Text
    date_of_birth: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None


class PharmacyOrder(msgspec.Struct, kw_only=True):
    """A pharmacy order as `pharmacy_order_created` and `pharmacy_order_updated` tell of it."""

    uid: str
    status: Literal[
        "init",
        "waiting for pharmacy",
        "pending review",
        "on-hold",
        "in-progress",
        "ready_for_pickup",
        "completed",
        "cancelled",
    ]
    name: Text
    data: dict[str, Any]
    external_status: Text
    created_at: UnixSeconds
    updated_at: UnixSeconds
    deleted_at: UnixSeconds | None
    pharmacy: PharmacyName
    order: OrderOfPharmacy
    delivery_type: DeliveryType | None
    order_items: list[PharmacyOrderItem]
    patient_data: PatientData | None


class StockedSku(msgspec.Struct, kw_only=True):
    """The SKU that a stock is of."""

    uid: str
    display_name: str
    pzn: Text


class SkuStock(msgspec.Struct, kw_only=True):
    """A pharmacy's stock of a SKU, as `pharmacy_sku_stock_updated` tells of it."""

    uid: str
    external_id: Text
    price: Cents | None
    stock: int | None
    previous_stock: int | None
    pharmacy: PharmacyName
    sku: StockedSku
    updated_at: UnixSeconds
