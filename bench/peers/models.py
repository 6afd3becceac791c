"""The given tables as SQLAlchemy models, for the two peers that stand on its ORM.

A session belongs to one request, and thus to one organisation: within it a uid names a row, so it is the mappers' key,
and relations go over it alone. That spares composite keys in `IN`, which cost twice as much. Statements bring the
organisation to every table (`queries.within`). What is not loaded eagerly is not loaded at all (`lazy="raise"`).
Columns that the API does not use are left out.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, relationship


class Base(DeclarativeBase):
    """Which column type a Python type has."""

    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads a plain dict)
        str: Text,
        bytes: LargeBinary,
        datetime: DateTime(timezone=True),
        list[str]: ARRAY(Text),
        dict[str, Any]: JSONB,
    }


class Row:
    """What every table of a tenant has."""

    organisation_id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(primary_key=True)

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        """Let the uid alone be the key within a session."""
        return {"primary_key": [cls.uid]}


class Deletable(Row):
    """A row that is marked when it is deleted."""

    deleted_at: Mapped[datetime | None] = mapped_column()


def parent(target: str, child: str, column: str, *, lazy: str = "raise") -> Any:  # noqa: ANN401 (relationship()'s own type)
    """Make the relation of a child to the row whose uid stands in its `column`."""
    return relationship(
        target,
        primaryjoin=f"{target}.uid == foreign({child}.{column})",
        viewonly=True,
        lazy=lazy,
    )


def children(child: str, of: str, column: str, *, also: str = "") -> Any:  # noqa: ANN401
    """Make the relation of a row to its children, in their order; `also` is a column that both have, for its index."""
    condition = f"{of}.uid == foreign({child}.{column})"
    return relationship(
        child,
        primaryjoin=f"and_({condition}, {of}.{also} == foreign({child}.{also}))" if also else condition,
        order_by=f"[{child}.position, {child}.uid]",
        viewonly=True,
        lazy="raise",
    )


class Organisation(Base):
    """A tenant."""

    __tablename__ = "organisations"
    id: Mapped[int] = mapped_column(primary_key=True)
    time_zone: Mapped[str]


class ApiKey(Row, Base):
    """A key, known by its SHA-256."""

    __tablename__ = "api_keys"
    digest: Mapped[bytes]
    permissions: Mapped[list[str]]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Shop(Deletable, Base):
    """A shop."""

    __tablename__ = "shops"
    identifier: Mapped[str]
    consultation_minutes: Mapped[int | None]
    doctors_on_duty: Mapped[int | None]


class Pharmacy(Deletable, Base):
    """A pharmacy."""

    __tablename__ = "pharmacies"


class Doctor(Deletable, Base):
    """A doctor."""

    __tablename__ = "doctors"
    display_name: Mapped[str]
    sort_key: Mapped[str]
    email: Mapped[str | None]
    minutes_to_respond: Mapped[int | None]
    can_sign_prescriptions: Mapped[bool]
    active: Mapped[bool]


class Product(Deletable, Base):
    """A product."""

    __tablename__ = "products"
    display_name: Mapped[str]
    sort_key: Mapped[str]
    skus: Mapped[list[Sku]] = children("Sku", "Product", "product_uid")
    shop_products: Mapped[list[ShopProduct]] = children("ShopProduct", "Product", "product_uid")


class Sku(Deletable, Base):
    """A pack of a product."""

    __tablename__ = "skus"
    product_uid: Mapped[str]
    position: Mapped[int]
    display_name: Mapped[str]
    pzn: Mapped[str | None]
    shop_skus: Mapped[list[ShopSku]] = children("ShopSku", "Sku", "sku_uid")
    pharmacy_skus: Mapped[list[PharmacySku]] = children("PharmacySku", "Sku", "sku_uid")


class ShopProduct(Deletable, Base):
    """A product as a shop lists it."""

    __tablename__ = "shop_products"
    product_uid: Mapped[str]
    shop_uid: Mapped[str]
    position: Mapped[int]
    external_id: Mapped[str | None]
    shop: Mapped[Shop] = parent("Shop", "ShopProduct", "shop_uid")


class ShopSku(Deletable, Base):
    """A SKU as a shop sells it."""

    __tablename__ = "shop_skus"
    sku_uid: Mapped[str]
    shop_uid: Mapped[str]
    position: Mapped[int]
    external_id: Mapped[str | None]
    shop: Mapped[Shop] = parent("Shop", "ShopSku", "shop_uid")


class PharmacySku(Deletable, Base):
    """A SKU as a pharmacy offers it."""

    __tablename__ = "pharmacy_skus"
    sku_uid: Mapped[str]
    pharmacy_uid: Mapped[str]
    position: Mapped[int]
    price: Mapped[int | None]
    stock: Mapped[int | None]
    external_id: Mapped[str | None]
    pharmacy: Mapped[Pharmacy] = parent("Pharmacy", "PharmacySku", "pharmacy_uid")


class Patient(Deletable, Base):
    """A patient."""

    __tablename__ = "patients"
    display_name: Mapped[str | None]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    email: Mapped[str | None]
    email_key: Mapped[str | None]
    date_of_birth: Mapped[date | None]
    profile: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Submission(Deletable, Base):
    """A patient's answers to an anamnesis; they count once they are signed."""

    __tablename__ = "submissions"
    patient_uid: Mapped[str]
    intent: Mapped[str]
    signed_at: Mapped[datetime | None]


class IntentWindow(Row, Base):
    """How many days a submission counts; its uid is the intent."""

    __tablename__ = "intent_windows"
    valid_days: Mapped[int]


class Order(Deletable, Base):
    """An order."""

    __tablename__ = "orders"
    status: Mapped[str]
    patient_uid: Mapped[str | None]
    email_key: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    patient_profile: Mapped[Patient | None] = parent("Patient", "Order", "patient_uid")
    shop_orders: Mapped[list[ShopOrder]] = children("ShopOrder", "Order", "order_uid")
    items: Mapped[list[OrderItem]] = children("OrderItem", "Order", "order_uid")
    fulfillment_orders: Mapped[list[FulfillmentOrder]] = children("FulfillmentOrder", "Order", "order_uid")
    prescriptions: Mapped[list[Prescription]] = children("Prescription", "Order", "order_uid")


class ShopOrder(Deletable, Base):
    """An order as a shop knows it."""

    __tablename__ = "shop_orders"
    order_uid: Mapped[str]
    shop_uid: Mapped[str]
    position: Mapped[int]
    external_id: Mapped[str | None]
    shop: Mapped[Shop] = parent("Shop", "ShopOrder", "shop_uid")


class OrderItem(Deletable, Base):
    """A position of an order."""

    __tablename__ = "order_items"
    order_uid: Mapped[str]
    sku_uid: Mapped[str]
    position: Mapped[int]
    quantity: Mapped[int]


class FulfillmentOrder(Deletable, Base):
    """A part of an order that is fulfilled together."""

    __tablename__ = "fulfillment_orders"
    order_uid: Mapped[str]
    position: Mapped[int]
    order: Mapped[Order] = parent("Order", "FulfillmentOrder", "order_uid", lazy="raise_on_sql")
    items: Mapped[list[FulfillmentOrderItem]] = children(
        "FulfillmentOrderItem", "FulfillmentOrder", "fulfillment_order_uid", also="order_uid"
    )

    @property
    def prescriptions(self) -> list[Prescription]:
        """Those of the order's that are this one's: they were read with the order."""
        return [one for one in self.order.prescriptions if one.fulfillment_order_uid == self.uid]


class FulfillmentOrderItem(Deletable, Base):
    """A position that a fulfillment order takes on."""

    __tablename__ = "fulfillment_order_items"
    order_uid: Mapped[str]
    fulfillment_order_uid: Mapped[str]
    order_item_uid: Mapped[str]
    position: Mapped[int]
    order_item: Mapped[OrderItem] = parent("OrderItem", "FulfillmentOrderItem", "order_item_uid")


class Prescription(Deletable, Base):
    """A prescription."""

    __tablename__ = "prescriptions"
    order_uid: Mapped[str]
    fulfillment_order_uid: Mapped[str | None]
    doctor_uid: Mapped[str | None]
    position: Mapped[int]
    status: Mapped[str]
    assigned_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    rendered: Mapped[bool]
    doctor: Mapped[Doctor | None] = parent("Doctor", "Prescription", "doctor_uid")


class WaitingRoom(Row, Base):
    """One row a shop (its uid): the lock and the sequence of its queue."""

    __tablename__ = "waiting_rooms"
    last_turn: Mapped[int] = mapped_column(BigInteger)


class Visit(Deletable, Base):
    """A patient in a shop's queue."""

    __tablename__ = "waiting_room_visits"
    shop_uid: Mapped[str]
    patient_uid: Mapped[str]
    preferred_doctor_uid: Mapped[str | None]
    visit_reason: Mapped[str | None]
    status: Mapped[str]
    turn: Mapped[int] = mapped_column(BigInteger)
    video_room_id: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    allocated_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    actor_kind: Mapped[str]
    actor_uid: Mapped[str]
    shop: Mapped[Shop] = parent("Shop", "Visit", "shop_uid")


class EventStream(Row, Base):
    """One row an organisation: the lock under which its events get their positions."""

    __tablename__ = "event_streams"
    last_position: Mapped[int] = mapped_column(BigInteger)


class Event(Row, Base):
    """What happened, with the bytes that subscribers will get: the outbox."""

    __tablename__ = "events"
    position: Mapped[int] = mapped_column(BigInteger)
    event_type: Mapped[str]
    subject_uid: Mapped[str]
    occurred_at: Mapped[datetime]
    body: Mapped[bytes]
    actor_kind: Mapped[str]
    actor_uid: Mapped[str]


class PassTemplate(Deletable, Base):
    """A template that passes are made from; `fields` are names that a message may use."""

    __tablename__ = "wallet_pass_templates"
    fields: Mapped[list[str]]


class Pass(Deletable, Base):
    """A customer's wallet pass."""

    __tablename__ = "wallet_passes"
    wallet_pass_template_uid: Mapped[str]
    patient_uid: Mapped[str | None]
    status: Mapped[str]
    expires_at: Mapped[datetime | None]
    display_name: Mapped[str | None]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    field_values: Mapped[dict[str, Any]]
    template: Mapped[PassTemplate] = parent("PassTemplate", "Pass", "wallet_pass_template_uid")
    patient: Mapped[Patient | None] = parent("Patient", "Pass", "patient_uid")


class PushNotification(Row, Base):
    """A message to the holder of a pass."""

    __tablename__ = "push_notifications"
    wallet_pass_uid: Mapped[str]
    message: Mapped[str]
    status: Mapped[str]
    created_at: Mapped[datetime]
    actor_kind: Mapped[str]
    actor_uid: Mapped[str]
