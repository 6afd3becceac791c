"""What the order routes give (contract, section 2, route 1)."""

from __future__ import annotations

from typing import Literal

import msgspec

from rxdesk.prescriptions.schemas import DoctorSummary, PrescriptionStatus

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
