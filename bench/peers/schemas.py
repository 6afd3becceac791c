"""What goes in and what comes out of the three peers: Pydantic models, which all their frameworks take."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from bench.peers.rules import unix

_MAX_NUMBER = 9_999_999_999
_MAX_LIMIT = 200

Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]  # PostgreSQL cannot hold NUL
Unix = Annotated[
    int, BeforeValidator(lambda moment: unix(moment) if isinstance(moment, datetime) else moment)
]


class Out(BaseModel):
    """A part of an answer, from a mapping or from an object of the ORM."""

    model_config = ConfigDict(from_attributes=True)


class Paging(BaseModel):
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


class Page(Out):
    """A page of a list."""

    total_registries: int = Field(alias="totalRegistries")
    total_pages: int = Field(alias="totalPages")


# Orders and prescriptions ------------------------------------------------------------------------------------


class ShopSummary(Out):
    """A shop, by reference."""

    uid: str
    identifier: str


class ShopOrder(Out):
    """The order as a shop knows it."""

    uid: str
    shop: ShopSummary
    external_id: str | None


class PatientProfile(Out):
    """The patient, by reference."""

    uid: str
    created_at: Unix
    updated_at: Unix


class OrderItem(Out):
    """A position of the order."""

    uid: str
    quantity: int
    sku_uid: str


class FulfillmentOrderItem(Out):
    """A position that a fulfillment order takes on."""

    uid: str
    order_item: OrderItem


class DoctorSummary(Out):
    """A doctor, by reference."""

    uid: str
    display_name: str


class FulfillmentPrescription(Out):
    """A prescription of a fulfillment order."""

    uid: str
    status: str
    doctor: DoctorSummary | None


class FulfillmentOrder(Out):
    """A part of the order that is fulfilled together."""

    uid: str
    items: list[FulfillmentOrderItem]
    prescriptions: list[FulfillmentPrescription]


class OrderPrescription(Out):
    """A prescription of the order."""

    uid: str
    status: str


class Order(Out):
    """An order with its children."""

    uid: str
    status: str
    created_at: Unix
    updated_at: Unix
    shop_orders: list[ShopOrder]
    patient_profile: PatientProfile | None
    items: list[OrderItem]
    fulfillment_orders: list[FulfillmentOrder]
    prescriptions: list[OrderPrescription]


class Prescription(Out):
    """A prescription."""

    uid: str
    status: str
    doctor: DoctorSummary | None
    rendered: bool


# Products ----------------------------------------------------------------------------------------------------


class ShopSku(Out):
    """A SKU as a shop sells it."""

    uid: str
    shop_uid: str
    external_id: str | None


class PharmacySku(Out):
    """A SKU as a pharmacy offers it."""

    uid: str
    pharmacy_uid: str
    price: int | None
    stock: int | None
    external_id: str | None


class Sku(Out):
    """A pack of a product."""

    uid: str
    display_name: str
    pzn: str | None
    shop_skus: list[ShopSku]
    pharmacy_skus: list[PharmacySku]


class ShopProduct(Out):
    """A product as a shop lists it."""

    uid: str
    shop_uid: str
    external_id: str | None


class Product(Out):
    """A product with its SKUs."""

    uid: str
    display_name: str
    skus: list[Sku]
    shop_products: list[ShopProduct]


class ProductPage(Page):
    """A page of products."""

    products: list[Product]


# Doctors -----------------------------------------------------------------------------------------------------


class Doctor(Out):
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


class Period(BaseModel):
    """The half-open period [from, to) in Unix seconds."""

    start: int | None = Field(None, alias="from", ge=0, le=_MAX_NUMBER)
    end: int | None = Field(None, alias="to", ge=0, le=_MAX_NUMBER)


class PrescriptionCounts(Out):
    """Prescriptions by status."""

    total: int
    by_status: dict[str, int]


class DecisionSeconds(Out):
    """Seconds from assignment to decision."""

    median: int
    p90: int
    mean: int


class Day(Out):
    """One day of the organisation's calendar."""

    date: str
    total: int
    signed: int
    declined: int


class DoctorStatistics(Out):
    """What a doctor did in a period."""

    doctor_uid: str
    start: int | None = Field(alias="from")
    end: int | None = Field(alias="to")
    prescriptions: PrescriptionCounts
    approval_rate: float | None
    decision_seconds: DecisionSeconds | None
    daily: list[Day]


# Patients ----------------------------------------------------------------------------------------------------


class Patient(Out):
    """A patient."""

    uid: str
    data: dict[str, Any]


class Intent(Out):
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


class Place(Out):
    """A place in the queue."""

    queue_uid: str
    position: int
    estimated_wait_minutes: int


class VisitStatus(Out):
    """Where a visit stands."""

    queue_uid: str
    status: str
    position: int | None
    estimated_wait_minutes: int | None
    video_room_id: str | None
    allocated_at: Unix | None


# Wallet ------------------------------------------------------------------------------------------------------


class Push(BaseModel):
    """A message for the holder of a pass."""

    model_config = ConfigDict(extra="forbid")

    wallet_pass_uid: Text
    message: Annotated[Text, Field(min_length=1, max_length=500)]


class PushResult(Out):
    """What became of a message."""

    wallet_pass_uid: str
    status: str
    error: str | None


class PushResults(Out):
    """The results, in the order of the request."""

    data: list[PushResult]
    total: int
