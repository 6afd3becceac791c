"""What a line of each kind of import file holds.

One msgspec Struct per object. Times are Unix seconds, money is integer euro cents, dates are ISO 8601. What
is left out is null; an unknown member is a fault. The JSON Schemas beside this file are made from these types
(rxdesk.importing.schemas).
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

from rxdesk.orders.schemas import OrderStatus
from rxdesk.prescriptions.schemas import PrescriptionStatus
from rxdesk.wallet.design import MOST_NAMES, Design

Kind: TypeAlias = Literal[
    "shops",
    "pharmacies",
    "doctors",
    "delivery_types",
    "products",
    "patients",
    "orders",
    "wallet_templates",
    "wallet_passes",
    "waiting_room",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which they refer to each other: what is named comes before what names it.

The waiting room comes last, since its queues are locked from there to the end.
"""

# `(?![\s\S])` is the end of the text in Python and ECMAScript alike; Python's `$` lets a line break follow.
Uid = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}(?![\s\S])", description="1–64 of A–Z a–z 0–9 . _ : -")
]
Seconds = Annotated[int, Meta(ge=0, le=9_999_999_999, description="Unix seconds")]
Cents = Annotated[int, Meta(ge=0, le=2_147_483_647, description="Euro cents")]
Count = Annotated[int, Meta(ge=0, le=2_147_483_647)]
Positive = Annotated[int, Meta(ge=1, le=2_147_483_647)]
# As the settings of the same names.
Minutes = Annotated[int, Meta(ge=1, le=1440)]
OnDuty = Annotated[int, Meta(ge=0, le=10_000)]
# Bounded because most of them stand in an index, whose entries PostgreSQL limits to about 2,700 bytes.
Text = Annotated[str, Meta(min_length=1, max_length=255)]
LongText = Annotated[str, Meta(max_length=500)]
Email = Annotated[str, Meta(min_length=3, max_length=254, description="An e-mail address")]
Pzn = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{8}(?![\s\S])",
        description="Pharmazentralnummer: 8 digits, the last one checks the others",
    ),
]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}(?![\s\S])", description="ISO 4217")]
FieldName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}(?![\s\S])")]
Address = Annotated[
    dict[str, str | None],
    Meta(
        description="first_name, last_name, street, house_number, zip_code, city, country, "
        "additional_address; further members are kept as they are"
    ),
]

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
VisitStatus = Literal["waiting", "allocated", "completed", "cancelled"]
PassType = Literal["generic", "storeCard", "eventTicket", "coupon"]
PassStatus = Literal["active", "revoked", "expired"]


class Entity(Struct, kw_only=True, forbid_unknown_fields=True):
    """What every line has. `created_at` defaults to the time of the import, `updated_at` to `created_at`."""

    uid: Uid
    created_at: Seconds | None = None
    updated_at: Seconds | None = None
    deleted_at: Seconds | None = None


class Shop(Entity, kw_only=True, forbid_unknown_fields=True):
    """A shop: a place that patients come from."""

    identifier: Text
    display_name: Text
    consultation_minutes: Minutes | None = None
    doctors_on_duty: OnDuty | None = None


class Pharmacy(Entity, kw_only=True, forbid_unknown_fields=True):
    """A pharmacy that delivers."""

    display_name: Text


class Doctor(Entity, kw_only=True, forbid_unknown_fields=True):
    """A doctor who prescribes."""

    display_name: Text
    email: Email | None = None
    minutes_to_respond: Count | None = None
    can_sign_prescriptions: bool
    active: bool


class DeliveryType(Entity, kw_only=True, forbid_unknown_fields=True):
    """A way of delivery."""

    identifier: Text
    display_name: Text


class ShopSku(Struct, kw_only=True, forbid_unknown_fields=True):
    """A SKU as a shop knows it."""

    uid: Uid
    shop_uid: Uid
    external_id: Text | None = None


class PharmacySku(Struct, kw_only=True, forbid_unknown_fields=True):
    """A SKU as a pharmacy sells it: price in euro cents, stock in packs."""

    uid: Uid
    pharmacy_uid: Uid
    price: Cents | None = None
    stock: Count | None = None
    external_id: Text | None = None
    updated_at: Seconds | None = None


class Sku(Struct, kw_only=True, forbid_unknown_fields=True):
    """A pack of a product."""

    uid: Uid
    display_name: Text
    pzn: Pzn | None = None
    shop_skus: list[ShopSku] = []
    pharmacy_skus: list[PharmacySku] = []


class ShopProduct(Struct, kw_only=True, forbid_unknown_fields=True):
    """A product as a shop knows it."""

    uid: Uid
    shop_uid: Uid
    external_id: Text | None = None


class Product(Entity, kw_only=True, forbid_unknown_fields=True):
    """A product with its SKUs and its links to shops and pharmacies."""

    display_name: Text
    handle: Text | None = None
    skus: list[Sku] = []
    shop_products: list[ShopProduct] = []


class Submission(Struct, kw_only=True, forbid_unknown_fields=True):
    """An anamnesis for an intent; it counts once `signed_at` is given."""

    uid: Uid
    intent: Text
    signed_at: Seconds | None = None


class Patient(Entity, kw_only=True, forbid_unknown_fields=True):
    """A patient's profile. `profile` holds further fields, each shown in the patient's `data`."""

    display_name: Text | None = None
    first_name: Text | None = None
    last_name: Text | None = None
    email: Email | None = None
    date_of_birth: date | None = None
    profile: dict[str, Any] = {}
    submissions: list[Submission] = []


class ShopOrder(Struct, kw_only=True, forbid_unknown_fields=True):
    """The order as the shop knows it."""

    uid: Uid
    shop_uid: Uid
    external_id: Text | None = None


class OrderItem(Struct, kw_only=True, forbid_unknown_fields=True):
    """What was ordered; `total_paid_amount` in euro cents."""

    uid: Uid
    sku_uid: Uid
    quantity: Positive
    total_paid_amount: Cents | None = None


class FulfillmentOrderItem(Struct, kw_only=True, forbid_unknown_fields=True):
    """An item of the same order that is delivered together with others."""

    uid: Uid
    order_item_uid: Uid


class FulfillmentOrder(Struct, kw_only=True, forbid_unknown_fields=True):
    """The items that are prescribed and delivered together."""

    uid: Uid
    items: list[FulfillmentOrderItem] = []


class Prescription(Struct, kw_only=True, forbid_unknown_fields=True):
    """A prescription: `assigned_at` to its present doctor, `decided_at` the first decision since then."""

    uid: Uid
    status: PrescriptionStatus
    fulfillment_order_uid: Uid | None = None
    doctor_uid: Uid | None = None
    assigned_at: Seconds | None = None
    decided_at: Seconds | None = None
    rendered: bool = False
    created_at: Seconds | None = None
    updated_at: Seconds | None = None


class PharmacyOrder(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a pharmacy is to deliver."""

    uid: Uid
    status: PharmacyOrderStatus
    pharmacy_uid: Uid
    fulfillment_order_uid: Uid | None = None
    delivery_type_uid: Uid | None = None
    name: Text | None = None
    data: dict[str, Any] = {}
    external_status: Text | None = None
    created_at: Seconds | None = None
    updated_at: Seconds | None = None


class Order(Entity, kw_only=True, forbid_unknown_fields=True):
    """An order with all that belongs to it; `shipping_costs_amount` in minor units of the currency."""

    status: OrderStatus
    name: Text | None = None
    patient_profile_uid: Uid | None = None
    email: Email | None = None
    delivery_address: Address = {}
    invoice_address: Address = {}
    shipping_costs_amount: Cents | None = None
    shipping_costs_currency: Currency | None = None
    priority: Annotated[int, Meta(ge=-2_147_483_648, le=2_147_483_647)] = 0
    shop_orders: list[ShopOrder] = []
    items: list[OrderItem] = []
    fulfillment_orders: list[FulfillmentOrder] = []
    prescriptions: list[Prescription] = []
    pharmacy_orders: list[PharmacyOrder] = []


class Visit(Entity, kw_only=True, forbid_unknown_fields=True):
    """A visit to a shop's waiting room. A new one goes behind all that are there, in the file's order."""

    shop_uid: Uid
    patient_profile_uid: Uid
    preferred_doctor_uid: Uid | None = None
    visit_reason: LongText | None = None
    status: VisitStatus
    doctor_uid: Uid | None = None
    video_room_id: Text | None = None
    allocated_at: Seconds | None = None
    ended_at: Seconds | None = None


class WalletTemplate(Entity, kw_only=True, forbid_unknown_fields=True):
    """A wallet pass template of a shop; `fields` are the names that a message may use as `{name}`.

    Without a `design` it keeps the one that it has.
    """

    shop_uid: Uid
    display_name: Text
    pass_type: PassType
    fields: Annotated[list[FieldName], Meta(max_length=MOST_NAMES)] = []
    design: Design | None = None


class WalletPass(Entity, kw_only=True, forbid_unknown_fields=True):
    """A customer's wallet pass; `field_values` fills the template's fields."""

    wallet_pass_template_uid: Uid
    shop_customer_id: Text
    patient_profile_uid: Uid | None = None
    status: PassStatus
    expires_at: Seconds | None = None
    display_name: Text | None = None
    first_name: Text | None = None
    last_name: Text | None = None
    field_values: dict[str, str | int | None] = {}


LINES: dict[Kind, type[Entity]] = {
    "shops": Shop,
    "pharmacies": Pharmacy,
    "doctors": Doctor,
    "delivery_types": DeliveryType,
    "products": Product,
    "patients": Patient,
    "orders": Order,
    "waiting_room": Visit,
    "wallet_templates": WalletTemplate,
    "wallet_passes": WalletPass,
}


def schema(kind: Kind) -> dict[str, Any]:
    """Give the JSON Schema (2020-12) of one line of this kind of file."""
    body = msgspec.json.schema(LINES[kind])
    definitions: dict[str, Any] = body.get("$defs", {})
    own = definitions.pop(LINES[kind].__name__)
    made: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:rxdesk:import:{kind}",
        **own,
        "title": f"A line of {kind}.ndjson",
    }
    if definitions:
        made["$defs"] = definitions
    return made
