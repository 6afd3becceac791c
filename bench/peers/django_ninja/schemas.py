"""What goes in and what comes out.

Answers are plain Pydantic models, which Ninja takes as well as its own `Schema`: handlers give them ready values,
so that Ninja's attribute look-ups on model instances, which cost three times as much, are not needed.
"""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Schema
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_MAX_NUMBER = 9_999_999_999
_MAX_LIMIT = 200

Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]  # PostgreSQL cannot hold NUL


class Paging(Schema):
    """The page of a list, 0-based."""

    page: int = Field(0, ge=0, le=_MAX_NUMBER)
    limit: int = Field(50, ge=1, le=_MAX_NUMBER)

    @property
    def size(self) -> int:
        """Rows a page."""
        return min(self.limit, _MAX_LIMIT)

    @property
    def rows(self) -> slice:
        """The page's rows."""
        return slice(self.page * self.size, (self.page + 1) * self.size)

    def totals(self, total: int) -> dict[str, int]:
        """The two numbers that every page tells."""
        return {"totalRegistries": total, "totalPages": -(-total // self.size)}


class Page(BaseModel):
    """A page of a list."""

    total_registries: int = Field(alias="totalRegistries")
    total_pages: int = Field(alias="totalPages")


# Orders and prescriptions ------------------------------------------------------------------------------------


class ShopSummary(BaseModel):
    """A shop, by reference."""

    uid: str
    identifier: str


class ShopOrder(BaseModel):
    """The order as a shop knows it."""

    uid: str
    shop: ShopSummary
    external_id: str | None


class PatientProfile(BaseModel):
    """The patient, by reference."""

    uid: str
    created_at: int
    updated_at: int


class OrderItem(BaseModel):
    """A position of the order."""

    uid: str
    quantity: int
    sku_uid: str


class FulfillmentOrderItem(BaseModel):
    """A position that a fulfillment order takes on."""

    uid: str
    order_item: OrderItem


class DoctorSummary(BaseModel):
    """A doctor, by reference."""

    uid: str
    display_name: str


class FulfillmentPrescription(BaseModel):
    """A prescription of a fulfillment order."""

    uid: str
    status: str
    doctor: DoctorSummary | None


class FulfillmentOrder(BaseModel):
    """A part of the order that is fulfilled together."""

    uid: str
    items: list[FulfillmentOrderItem]
    prescriptions: list[FulfillmentPrescription]


class OrderPrescription(BaseModel):
    """A prescription of the order."""

    uid: str
    status: str


class Order(BaseModel):
    """An order with its children."""

    uid: str
    status: str
    created_at: int
    updated_at: int
    shop_orders: list[ShopOrder]
    patient_profile: PatientProfile | None
    items: list[OrderItem]
    fulfillment_orders: list[FulfillmentOrder]
    prescriptions: list[OrderPrescription]


class Prescription(BaseModel):
    """A prescription."""

    uid: str
    status: str
    doctor: DoctorSummary | None
    rendered: bool


# Products ----------------------------------------------------------------------------------------------------


class ShopSku(BaseModel):
    """A SKU as a shop sells it."""

    uid: str
    shop_uid: str
    external_id: str | None


class PharmacySku(BaseModel):
    """A SKU as a pharmacy offers it."""

    uid: str
    pharmacy_uid: str
    price: int | None
    stock: int | None
    external_id: str | None


class Sku(BaseModel):
    """A pack of a product."""

    uid: str
    display_name: str
    pzn: str | None
    shop_skus: list[ShopSku]
    pharmacy_skus: list[PharmacySku]


class ShopProduct(BaseModel):
    """A product as a shop lists it."""

    uid: str
    shop_uid: str
    external_id: str | None


class Product(BaseModel):
    """A product with its SKUs."""

    uid: str
    display_name: str
    skus: list[Sku]
    shop_products: list[ShopProduct]


class ProductPage(Page):
    """A page of products."""

    products: list[Product]


# Doctors -----------------------------------------------------------------------------------------------------


class Doctor(BaseModel):
    """A doctor."""

    uid: str
    display_name: str
    email: str | None
    minutes_to_respond: int | None
    can_sign_prescriptions: bool
    active: bool


class DoctorPage(Page):
    """A page of doctors."""

    data: list[Doctor]


class Period(Schema):
    """The half-open period [from, to) in Unix seconds."""

    start: int | None = Field(None, alias="from", ge=0, le=_MAX_NUMBER)
    end: int | None = Field(None, alias="to", ge=0, le=_MAX_NUMBER)


class PrescriptionCounts(BaseModel):
    """Prescriptions by status."""

    total: int
    by_status: dict[str, int]


class DecisionSeconds(BaseModel):
    """Seconds from assignment to decision."""

    median: int
    p90: int
    mean: int


class Day(BaseModel):
    """One day of the organisation's calendar."""

    date: str
    total: int
    signed: int
    declined: int


class DoctorStatistics(BaseModel):
    """What a doctor did in a period."""

    doctor_uid: str
    start: int | None = Field(alias="from")
    end: int | None = Field(alias="to")
    prescriptions: PrescriptionCounts
    approval_rate: float | None
    decision_seconds: DecisionSeconds | None
    daily: list[Day]


# Patients ----------------------------------------------------------------------------------------------------


class Patient(BaseModel):
    """A patient."""

    uid: str
    data: dict[str, Any]


class Intent(BaseModel):
    """Whether the last signed submission still counts."""

    return_code: str


# Waiting room ------------------------------------------------------------------------------------------------


class Registration(BaseModel):
    """A patient who takes a place in a shop's queue."""

    model_config = ConfigDict(extra="forbid")

    shop_uid: Text
    patient_profile_uid: Text
    preferred_doctor_uid: Text | None = None
    visit_reason: Annotated[Text, Field(max_length=500)] | None = None


class Place(BaseModel):
    """A place in the queue."""

    queue_uid: str
    position: int
    estimated_wait_minutes: int


class VisitStatus(BaseModel):
    """Where a visit stands."""

    queue_uid: str
    status: str
    position: int | None
    estimated_wait_minutes: int | None
    video_room_id: str | None
    allocated_at: int | None


# Wallet ------------------------------------------------------------------------------------------------------


class Push(BaseModel):
    """A message for the holder of a pass."""

    model_config = ConfigDict(extra="forbid")

    wallet_pass_uid: Text
    message: Annotated[Text, Field(min_length=1, max_length=500)]


class PushResult(BaseModel):
    """What became of a message."""

    wallet_pass_uid: str
    status: str
    error: str | None


class PushResults(BaseModel):
    """The results, in the order of the request."""

    data: list[PushResult]
    total: int
