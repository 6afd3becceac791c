"""From a decoded line to staged rows, in the column order of rxdesk.importing.tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from rxdesk.importing.formats import (
    DeliveryType,
    Doctor,
    Entity,
    Order,
    Patient,
    Pharmacy,
    Product,
    Shop,
    Visit,
    WalletPass,
    WalletTemplate,
)
from rxdesk.kit.text import email_key, sort_key

Rows: TypeAlias = dict[str, list[tuple[Any, ...]]]
"""Staged rows by the name of their table."""

_encoder = msgspec.json.Encoder()


def _json(value: dict[str, Any]) -> str:
    return _encoder.encode(value).decode() if value else "{}"


def _email(email: str | None) -> tuple[str | None, str | None]:
    return (None, None) if email is None else (email.strip(), email_key(email))


def stage(entity: Entity, line: int, rows: Rows) -> None:
    """Add the rows of one line."""
    _STAGERS[type(entity)](entity, line, rows)


def _shop(shop: Shop, line: int, rows: Rows) -> None:
    own = (shop.identifier, shop.display_name, shop.consultation_minutes, shop.doctors_on_duty)
    rows["shops"].append((line, 0, 0, shop.uid, *own, *_times(shop)))


def _pharmacy(pharmacy: Pharmacy, line: int, rows: Rows) -> None:
    rows["pharmacies"].append((line, 0, 0, pharmacy.uid, pharmacy.display_name, *_times(pharmacy)))


def _delivery_type(kind: DeliveryType, line: int, rows: Rows) -> None:
    rows["delivery_types"].append((line, 0, 0, kind.uid, kind.identifier, kind.display_name, *_times(kind)))


def _times(entity: Entity) -> tuple[int | None, int | None, int | None]:
    return entity.created_at, entity.updated_at, entity.deleted_at


def _doctor(doctor: Doctor, line: int, rows: Rows) -> None:
    rows["doctors"].append(
        (
            line,
            0,
            0,
            doctor.uid,
            doctor.display_name,
            sort_key(doctor.display_name),
            doctor.email and doctor.email.strip(),
            doctor.minutes_to_respond,
            doctor.can_sign_prescriptions,
            doctor.active,
            *_times(doctor),
        )
    )


def _product(product: Product, line: int, rows: Rows) -> None:
    uid, gone = product.uid, product.deleted_at
    name = product.display_name
    rows["products"].append((line, 0, 0, uid, name, sort_key(name), product.handle, *_times(product)))
    for i, sku in enumerate(product.skus):
        rows["skus"].append((line, 0, i, sku.uid, uid, sku.display_name, sku.pzn, gone))
        for j, link in enumerate(sku.shop_skus):
            rows["shop_skus"].append((line, i, j, link.uid, sku.uid, link.shop_uid, link.external_id, gone))
        for j, offer in enumerate(sku.pharmacy_skus):
            own = (offer.pharmacy_uid, offer.price, offer.stock, offer.external_id)
            rows["pharmacy_skus"].append((line, i, j, offer.uid, sku.uid, *own, offer.updated_at, gone))
    for j, listed in enumerate(product.shop_products):
        rows["shop_products"].append((line, 0, j, listed.uid, uid, listed.shop_uid, listed.external_id, gone))


def _patient(patient: Patient, line: int, rows: Rows) -> None:
    rows["patients"].append(
        (
            line,
            0,
            0,
            patient.uid,
            patient.display_name,
            patient.first_name,
            patient.last_name,
            *_email(patient.email),
            None if patient.date_of_birth is None else patient.date_of_birth.isoformat(),
            _json(patient.profile),
            *_times(patient),
        )
    )
    gone = patient.deleted_at
    for j, one in enumerate(patient.submissions):
        rows["submissions"].append((line, 0, j, one.uid, patient.uid, one.intent, one.signed_at, gone))


def _order(order: Order, line: int, rows: Rows) -> None:
    uid, gone = order.uid, order.deleted_at
    rows["orders"].append(
        (
            line,
            0,
            0,
            uid,
            order.status,
            order.name,
            order.patient_profile_uid,
            *_email(order.email),
            _json(order.delivery_address),
            _json(order.invoice_address),
            order.shipping_costs_amount,
            order.shipping_costs_currency,
            order.priority,
            *_times(order),
        )
    )
    for j, at_shop in enumerate(order.shop_orders):
        rows["shop_orders"].append(
            (line, 0, j, at_shop.uid, uid, at_shop.shop_uid, at_shop.external_id, gone)
        )
    for j, item in enumerate(order.items):
        rows["order_items"].append(
            (line, 0, j, item.uid, uid, item.sku_uid, item.quantity, item.total_paid_amount, gone)
        )
    for i, together in enumerate(order.fulfillment_orders):
        rows["fulfillment_orders"].append((line, 0, i, together.uid, uid, gone))
        for j, part in enumerate(together.items):
            rows["fulfillment_order_items"].append(
                (line, i, j, part.uid, uid, together.uid, part.order_item_uid, gone)
            )
    _prescriptions(order, line, rows)
    _pharmacy_orders(order, line, rows)


def _prescriptions(order: Order, line: int, rows: Rows) -> None:
    for j, one in enumerate(order.prescriptions):
        created = order.created_at if one.created_at is None else one.created_at
        rows["prescriptions"].append(
            (
                line,
                0,
                j,
                one.uid,
                order.uid,
                one.status,
                one.fulfillment_order_uid,
                one.doctor_uid,
                one.assigned_at,
                one.decided_at,
                one.rendered,
                created,
                one.updated_at,
                order.deleted_at,
            )
        )


def _pharmacy_orders(order: Order, line: int, rows: Rows) -> None:
    for j, one in enumerate(order.pharmacy_orders):
        created = order.created_at if one.created_at is None else one.created_at
        rows["pharmacy_orders"].append(
            (
                line,
                0,
                j,
                one.uid,
                order.uid,
                one.status,
                one.fulfillment_order_uid,
                one.pharmacy_uid,
                one.delivery_type_uid,
                one.name,
                _json(one.data),
                one.external_status,
                created,
                one.updated_at,
                order.deleted_at,
            )
        )


def _visit(visit: Visit, line: int, rows: Rows) -> None:
    rows["waiting_room_visits"].append(
        (
            line,
            0,
            0,
            visit.uid,
            visit.shop_uid,
            visit.patient_profile_uid,
            visit.preferred_doctor_uid,
            visit.visit_reason,
            visit.status,
            visit.doctor_uid,
            visit.video_room_id,
            visit.allocated_at,
            visit.ended_at,
            *_times(visit),
        )
    )


def _template(template: WalletTemplate, line: int, rows: Rows) -> None:
    name = template.display_name
    design = None if template.design is None else _encoder.encode(template.design).decode()
    own = (template.shop_uid, name, sort_key(name), template.pass_type, template.fields, design)
    rows["wallet_pass_templates"].append((line, 0, 0, template.uid, *own, *_times(template)))


def _pass(held: WalletPass, line: int, rows: Rows) -> None:
    rows["wallet_passes"].append(
        (
            line,
            0,
            0,
            held.uid,
            held.wallet_pass_template_uid,
            held.shop_customer_id,
            held.patient_profile_uid,
            held.status,
            held.expires_at,
            held.display_name,
            held.first_name,
            held.last_name,
            _json(held.field_values),
            *_times(held),
        )
    )


_STAGERS: dict[type[Entity], Callable[[Any, int, Rows], None]] = {
    Shop: _shop,
    Pharmacy: _pharmacy,
    Doctor: _doctor,
    DeliveryType: _delivery_type,
    Product: _product,
    Patient: _patient,
    Order: _order,
    Visit: _visit,
    WalletTemplate: _template,
    WalletPass: _pass,
}
