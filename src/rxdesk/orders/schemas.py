"""What the order routes give (contract, section 2, route 1)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from rxdesk.history import Actor, Change, ChangePage
from rxdesk.prescriptions.schemas import DoctorSummary, PrescriptionStatus, Reason

OrderStatus = Literal[
    "init",
    "started",
    "waiting for doctor",
    "waiting for pharmacy",
    "paused",
    "completed",
    "cancelled",
    "out of stock",
    "waiting for manual input",
    "waiting for clearance",
    "waiting for payment",
    "pharmacy not found",
    "prescription declined",
    "prescription not found",
    "prescription not signed",
]

_Text = Annotated[str, msgspec.Meta(max_length=200)]
_Quantity = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
_Cents = Annotated[int, msgspec.Meta(ge=0, le=2_000_000_000, description="Euro cents")]
MOST_ITEMS = 100
MOST_PRESCRIPTIONS = 20


class ShopSummary(msgspec.Struct, kw_only=True):
    """A shop as other resources name one."""

    uid: str
    identifier: str


class ShopOrder(msgspec.Struct, kw_only=True):
    """The order as a shop knows it."""

    uid: str
    shop: ShopSummary
    external_id: str | None


class PatientProfile(msgspec.Struct, kw_only=True):
    """The patient's profile, by reference; times in Unix seconds."""

    uid: str
    created_at: int
    updated_at: int


class OrderItem(msgspec.Struct, kw_only=True):
    """A position of the order."""

    uid: str
    quantity: int
    sku_uid: str


class FulfillmentOrderItem(msgspec.Struct, kw_only=True):
    """A position that a fulfillment order takes on."""

    uid: str
    order_item: OrderItem


class FulfillmentPrescription(msgspec.Struct, kw_only=True):
    """A prescription of a fulfillment order, with its doctor once one is assigned."""

    uid: str
    status: PrescriptionStatus
    doctor: DoctorSummary | None


class FulfillmentOrder(msgspec.Struct, kw_only=True):
    """A part of the order fulfilled together; `prescriptions` is empty without `prescription:read`."""

    uid: str
    items: list[FulfillmentOrderItem]
    prescriptions: list[FulfillmentPrescription]


class OrderPrescription(msgspec.Struct, kw_only=True):
    """A prescription of the order."""

    uid: str
    status: PrescriptionStatus


class Order(msgspec.Struct, kw_only=True):
    """An order with its children in creation order; times in Unix seconds.

    Both `prescriptions` arrays are empty for a key without `prescription:read`.
    """

    uid: str
    status: OrderStatus
    created_at: int
    updated_at: int
    shop_orders: list[ShopOrder]
    patient_profile: PatientProfile | None
    items: list[OrderItem]
    fulfillment_orders: list[FulfillmentOrder]
    prescriptions: list[OrderPrescription]


class OrderState(msgspec.Struct, kw_only=True):
    """Where an order stands; times in Unix seconds. What a command answers, and the data of its event."""

    uid: str
    status: OrderStatus
    created_at: int
    updated_at: int


class NewItem(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A position of a new order; `total_paid_amount` in euro cents."""

    sku_uid: str
    quantity: _Quantity
    total_paid_amount: _Cents | None = None


class Address(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An address as a pharmacy gets it."""

    first_name: _Text | None = None
    last_name: _Text | None = None
    street: _Text | None = None
    house_number: _Text | None = None
    zip_code: _Text | None = None
    city: _Text | None = None
    country: _Text | None = None
    additional_address: _Text | None = None


class NewOrder(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An order that is to be made.

    `prescriptions` is how many prescriptions a doctor is to decide on; `pharmacy_uid` the pharmacy that is to get
    it, chosen by stock and price where none is named.
    """

    shop_uid: str
    patient_profile_uid: str
    items: Annotated[list[NewItem], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]
    prescriptions: Annotated[int, msgspec.Meta(ge=0, le=MOST_PRESCRIPTIONS)] = 0
    pharmacy_uid: str | None = None
    delivery_type_uid: str | None = None
    delivery_address: Address | None = None
    invoice_address: Address | None = None
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    external_id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None


class MadeOrder(msgspec.Struct, kw_only=True):
    """A new order: where it stands, and the uids of its prescriptions; times in Unix seconds."""

    uid: str
    status: OrderStatus
    created_at: int
    updated_at: int
    prescription_uids: list[str]


class Move(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A step that a person takes with an order."""

    status: OrderStatus
    reason: Reason | None = None


EXAMPLE = Order(
    uid="ord-abc123",
    status="waiting for pharmacy",
    created_at=1711700000,
    updated_at=1711700000,
    shop_orders=[
        ShopOrder(
            uid="so-789", shop=ShopSummary(uid="shop-456", identifier="my-shop"), external_id="EXT-12345"
        )
    ],
    patient_profile=PatientProfile(uid="pp-123", created_at=1711700000, updated_at=1711700000),
    items=[OrderItem(uid="oi-789", quantity=1, sku_uid="sku-456")],
    fulfillment_orders=[
        FulfillmentOrder(
            uid="fo-001",
            items=[
                FulfillmentOrderItem(
                    uid="foi-001", order_item=OrderItem(uid="oi-789", quantity=1, sku_uid="sku-456")
                )
            ],
            prescriptions=[
                FulfillmentPrescription(
                    uid="px-001",
                    status="signed",
                    doctor=DoctorSummary(uid="doc-456", display_name="Dr. Schmidt"),
                )
            ],
        )
    ],
    prescriptions=[OrderPrescription(uid="px-001", status="signed")],
)
STATE_EXAMPLE = OrderState(
    uid="ord-abc123", status="waiting for doctor", created_at=1711700000, updated_at=1711700900
)
CANCELLED_EXAMPLE = OrderState(
    uid="ord-abc123", status="cancelled", created_at=1711700000, updated_at=1711700900
)
NEW_EXAMPLE = NewOrder(
    shop_uid="shop-456",
    patient_profile_uid="pp-abc123",
    items=[NewItem(sku_uid="sku-456", quantity=1, total_paid_amount=1299)],
    prescriptions=1,
    delivery_type_uid="dt-001",
    delivery_address=Address(
        first_name="Max",
        last_name="Mustermann",
        street="Hauptstr.",
        house_number="1",
        zip_code="10115",
        city="Berlin",
        country="Germany",
    ),
    name="#1001",
    external_id="EXT-12345",
)
MADE_EXAMPLE = MadeOrder(
    uid="ord-abc123",
    status="init",
    created_at=1711700000,
    updated_at=1711700000,
    prescription_uids=["px-abc123"],
)
MOVE_EXAMPLE = Move(status="waiting for doctor")
CHANGES_EXAMPLE = ChangePage(
    data=[
        Change(
            uid="chg-abc123",
            what="status",
            old="init",
            new="waiting for doctor",
            reason=None,
            at=1711700900,
            actor=Actor(kind="key", uid="key-abc123"),
        )
    ],
    total_registries=1,
    total_pages=1,
)
