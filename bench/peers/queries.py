"""The statements of the two peers that stand on SQLAlchemy's ORM: one awaits them, the other does not.

Those about visits of the waiting room stand in `visits`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Date, Select, cast, exists, func, select, union_all
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.orm import joinedload, selectinload, with_loader_criteria

from bench.peers.models import (
    ApiKey,
    Deletable,
    Doctor,
    FulfillmentOrder,
    FulfillmentOrderItem,
    IntentWindow,
    Order,
    Organisation,
    Pass,
    Patient,
    PharmacySku,
    Prescription,
    Product,
    PushNotification,
    ShopOrder,
    ShopProduct,
    ShopSku,
    Sku,
    Submission,
)
from bench.peers.rules import PERSONAL, STATUSES, Caller, Holder, UnfitError, message
from bench.peers.schemas import Paging, Push
from rxdesk.kit.keys import KeyReference
from rxdesk.kit.uids import new_uid

Entity = TypeVar("Entity", bound=Deletable)


def within(tenant: int) -> Any:  # noqa: ANN401 (a loader option)
    """Read of every table, relations included, only an organisation's rows that are not deleted."""
    return with_loader_criteria(
        Deletable,
        lambda cls: (cls.organisation_id == tenant) & cls.deleted_at.is_(None),
        include_aliases=True,
    )


def living(entity: type[Entity], tenant: int) -> Select[tuple[Entity]]:
    """Select the rows of an organisation that are not deleted."""
    return select(entity).where(entity.organisation_id == tenant, entity.deleted_at.is_(None))


def key(reference: KeyReference) -> Select[tuple[ApiKey]]:
    """Select the key that a caller showed, if it is valid."""
    return select(ApiKey).where(
        ApiKey.organisation_id == reference.organisation_id,
        ApiKey.digest == reference.digest,
        ApiKey.revoked_at.is_(None),
        (ApiKey.expires_at.is_(None)) | (ApiKey.expires_at > func.now()),
    )


# No statement joins two collections, whose rows would multiply.
_ORDER = select(Order).options(
    joinedload(Order.patient_profile).load_only(Patient.created_at, Patient.updated_at),
    joinedload(Order.shop_orders).joinedload(ShopOrder.shop, innerjoin=True),
    selectinload(Order.items),
    selectinload(Order.prescriptions).joinedload(Prescription.doctor),
    selectinload(Order.fulfillment_orders)
    .joinedload(FulfillmentOrder.items)
    .joinedload(FulfillmentOrderItem.order_item, innerjoin=True),
)


def order(tenant: int, uid: str) -> Select[tuple[Order]]:
    """Select an order with all that its answer shows."""
    return _ORDER.where(Order.uid == uid).options(within(tenant))


def prescription(tenant: int, uid: str) -> Select[tuple[Prescription]]:
    """Select a prescription with its doctor."""
    return (
        living(Prescription, tenant)
        .where(Prescription.uid == uid)
        .options(joinedload(Prescription.doctor), within(tenant))
    )


def patient_by_email(tenant: int, email_key: str) -> Select[tuple[Patient]]:
    """Select the newest-created patient whose own or whose order's e-mail it is."""
    # A union, so that either side is an index look-up; an OR would go through all patients.
    own = select(Patient.uid).where(Patient.organisation_id == tenant, Patient.email_key == email_key)
    ordered = select(Order.patient_uid).where(
        Order.organisation_id == tenant,
        Order.email_key == email_key,
        Order.patient_uid.is_not(None),
        Order.deleted_at.is_(None),
    )
    return (
        living(Patient, tenant)
        .where(Patient.uid.in_(union_all(own, ordered)))
        .order_by(Patient.created_at.desc(), Patient.uid.desc())
        .limit(1)
    )


def intent(tenant: int, patient_uid: str, name: str) -> Select[tuple[datetime | None, int | None]]:
    """Select when a patient last signed, and how many days that counts."""
    signed = (
        select(Submission.signed_at)
        .where(
            Submission.organisation_id == tenant,
            Submission.patient_uid == patient_uid,
            Submission.intent == name,
            Submission.signed_at.is_not(None),
            Submission.deleted_at.is_(None),
        )
        .order_by(Submission.signed_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    window = (
        select(IntentWindow.valid_days)
        .where(IntentWindow.organisation_id == tenant, IntentWindow.uid == name)
        .scalar_subquery()
    )
    return select(signed, window).where(
        exists().where(
            Patient.organisation_id == tenant, Patient.uid == patient_uid, Patient.deleted_at.is_(None)
        )
    )


def count(entity: type[Doctor | Product], tenant: int) -> Select[tuple[int]]:
    """Count the rows of an organisation."""
    return (
        select(func.count())
        .select_from(entity)
        .where(entity.organisation_id == tenant, entity.deleted_at.is_(None))
    )


def doctors(tenant: int, paging: Paging) -> Select[tuple[Doctor]]:
    """Select a page of doctors, by name."""
    return (
        living(Doctor, tenant)
        .order_by(Doctor.sort_key, Doctor.uid)
        .offset(paging.page * paging.size)
        .limit(paging.size)
    )


_PRODUCTS = (
    select(Product)
    .order_by(Product.sort_key, Product.uid)
    .options(
        selectinload(Product.skus).options(
            selectinload(Sku.shop_skus.and_(ShopSku.shop.has())),
            selectinload(Sku.pharmacy_skus.and_(PharmacySku.pharmacy.has())),
        ),
        selectinload(Product.shop_products.and_(ShopProduct.shop.has())),
    )
)


def products(tenant: int, paging: Paging) -> Select[tuple[Product]]:
    """Select a page of products, by name, with SKUs and links."""
    return _PRODUCTS.offset(paging.page * paging.size).limit(paging.size).options(within(tenant))


def doctor_work(tenant: int, doctor_uid: str) -> Select[tuple[datetime | None, str]]:
    """Select a doctor's newest work and the organisation's time zone."""
    newest = (
        select(Prescription.assigned_at)
        .where(*_assigned(tenant, doctor_uid, None, None))
        .order_by(Prescription.assigned_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(newest, Organisation.time_zone)
        .join(Doctor, Doctor.organisation_id == Organisation.id)
        .where(Doctor.organisation_id == tenant, Doctor.uid == doctor_uid, Doctor.deleted_at.is_(None))
    )


def _assigned(tenant: int, doctor_uid: str, start: datetime | None, end: datetime | None) -> list[Any]:
    conditions = [
        Prescription.organisation_id == tenant,
        Prescription.doctor_uid == doctor_uid,
        Prescription.assigned_at.is_not(None),
        Prescription.deleted_at.is_(None),
    ]
    if start is not None:
        conditions.append(Prescription.assigned_at >= start)
    if end is not None:
        conditions.append(Prescription.assigned_at < end)
    return conditions


def doctor_counts(
    tenant: int, doctor_uid: str, start: datetime | None, end: datetime | None
) -> Select[tuple[Any, ...]]:
    """Count a doctor's prescriptions by status, and the seconds to a decision."""
    seconds = cast(
        func.floor(func.extract("epoch", Prescription.decided_at - Prescription.assigned_at)), BigInteger
    )
    return select(
        *(func.count().filter(Prescription.status == status).label(status) for status in STATUSES),
        func.count(Prescription.decided_at).label("decided"),
        func.sum(seconds).label("seconds"),
        func.percentile_disc(array([0.5, 0.9])).within_group(seconds).label("percentiles"),
    ).where(*_assigned(tenant, doctor_uid, start, end))


def doctor_days(
    tenant: int, doctor_uid: str, start: datetime, end: datetime | None, zone: str
) -> Select[tuple[Any, ...]]:
    """Count a doctor's prescriptions by day of the organisation's calendar."""
    day = cast(func.timezone(zone, Prescription.assigned_at), Date)
    return (
        select(
            day.label("date"),
            func.count().label("total"),
            func.count().filter(Prescription.status == "signed").label("signed"),
            func.count().filter(Prescription.status == "declined").label("declined"),
        )
        .where(*_assigned(tenant, doctor_uid, start, end))
        .group_by("date")
        .order_by("date")
    )


def passes(tenant: int, uids: Iterable[str]) -> Select[tuple[Pass]]:
    """Select passes with their template and who holds them."""
    return (
        living(Pass, tenant)
        .where(Pass.uid.in_(set(uids)))
        .options(joinedload(Pass.template, innerjoin=True), joinedload(Pass.patient), within(tenant))
    )


def pushed(
    caller: Caller, pushes: list[Push], found: Iterable[Pass]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give the rows to insert for messages, and the results to answer with."""
    now = datetime.now(UTC)
    holders = {one.uid: _holder(one) for one in found}
    rows, results = [], []
    for push in pushes:
        result = {"wallet_pass_uid": push.wallet_pass_uid, "status": "queued", "error": None}
        try:
            text = message(push.message, holders.get(push.wallet_pass_uid), now)
        except UnfitError as unfit:
            result.update(status="failed", error=str(unfit))
        else:
            rows.append(
                {
                    "organisation_id": caller.organisation_id,
                    "uid": new_uid("pn"),
                    "wallet_pass_uid": push.wallet_pass_uid,
                    "message": text,
                    "status": "queued",
                    "created_at": now,
                    "actor_kind": "key",
                    "actor_uid": caller.key_uid,
                }
            )
        results.append(result)
    return rows, results


def _holder(one: Pass) -> Holder:
    personal = {}
    for name in PERSONAL:
        value = None if one.patient is None else getattr(one.patient, name)
        personal[name] = getattr(one, name) if value is None else value
    return Holder(one.status, one.expires_at, one.template.fields, one.field_values, personal)


PUSH = insert(PushNotification)
