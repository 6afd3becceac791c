"""What a line must hold to beyond its types, as far as the line alone can tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from rxdesk.importing.formats import (
    Doctor,
    Entity,
    Order,
    Patient,
    Prescription,
    Product,
    Visit,
    WalletTemplate,
)
from rxdesk.kit.text import is_email, sort_key
from rxdesk.wallet.design import objections

FieldReason: TypeAlias = tuple[str, str]
# A sort key stands in an index beside a uid; PostgreSQL refuses entries over about 2,700 bytes.
MAX_SORT_KEY_BYTES = 2000
_PATIENT_COLUMNS = frozenset({"display_name", "first_name", "last_name", "email", "date_of_birth"})
_PZN_WEIGHTS = (1, 2, 3, 4, 5, 6, 7)
_PZN_NEVER = 10


def pzn_check_digit(digits: str) -> int:
    """Give the check digit for the first seven digits of a PZN; 10 means that there is no such number."""
    return sum(weight * int(digit) for weight, digit in zip(_PZN_WEIGHTS, digits, strict=False)) % 11


def is_pzn(text: str) -> bool:
    """Tell whether eight digits are a Pharmazentralnummer: its last digit checks the others."""
    check = pzn_check_digit(text)
    return check != _PZN_NEVER and check == int(text[7])


def rule_faults(entity: Entity) -> Iterator[FieldReason]:
    """Yield what is wrong with a decoded line: field and reason."""
    if (
        entity.updated_at is not None
        and entity.created_at is not None
        and entity.updated_at < entity.created_at
    ):
        yield "updated_at", "before created_at"
    match entity:
        case Order():
            yield from _order(entity)
        case Patient():
            yield from _patient(entity)
        case Product():
            yield from _product(entity)
        case Doctor():
            yield from _name(entity.display_name)
            yield from _email(entity.email)
        case WalletTemplate():
            yield from _name(entity.display_name)
            yield from _twice("fields", entity.fields)
            if entity.design is not None:
                yield from (
                    ("design", said) for said in objections(entity.design, entity.fields, entity.pass_type)
                )
        case Visit():
            yield from _visit(entity)
        case _:
            pass


def _email(email: str | None) -> Iterator[FieldReason]:
    if email is not None and not is_email(email):
        yield "email", "not an e-mail address"


def _name(display_name: str) -> Iterator[FieldReason]:
    if len(sort_key(display_name).encode()) > MAX_SORT_KEY_BYTES:
        yield "display_name", "too long once its ligatures are spelt out"


def _twice(path: str, values: Iterable[str]) -> Iterator[FieldReason]:
    seen: dict[str, int] = {}
    for position, value in enumerate(values):
        if value in seen:
            yield f"{path}.{position}", f'"{value}" stands at {path}.{seen[value]} already'
        seen.setdefault(value, position)


def _product(product: Product) -> Iterator[FieldReason]:
    yield from _name(product.display_name)
    for position, sku in enumerate(product.skus):
        if sku.pzn is not None and not is_pzn(sku.pzn):
            yield f"skus.{position}.pzn", f'the check digit of "{sku.pzn}" is wrong'


def _patient(patient: Patient) -> Iterator[FieldReason]:
    yield from _email(patient.email)
    for name in patient.profile:
        if name in _PATIENT_COLUMNS:
            yield f"profile.{name}", "stands beside profile, not in it"


def _order(order: Order) -> Iterator[FieldReason]:
    yield from _email(order.email)
    items = {item.uid for item in order.items}
    for i, fulfillment in enumerate(order.fulfillment_orders):
        for j, item in enumerate(fulfillment.items):
            if item.order_item_uid not in items:
                yield (
                    f"fulfillment_orders.{i}.items.{j}.order_item_uid",
                    f'no item "{item.order_item_uid}" in this order',
                )
    fulfillments = {fulfillment.uid for fulfillment in order.fulfillment_orders}
    for i, prescription in enumerate(order.prescriptions):
        yield from _of_fulfillment(f"prescriptions.{i}", prescription.fulfillment_order_uid, fulfillments)
        yield from _prescription(f"prescriptions.{i}", prescription)
    for i, pharmacy_order in enumerate(order.pharmacy_orders):
        yield from _of_fulfillment(f"pharmacy_orders.{i}", pharmacy_order.fulfillment_order_uid, fulfillments)


def _of_fulfillment(path: str, uid: str | None, fulfillments: set[str]) -> Iterator[FieldReason]:
    if uid is not None and uid not in fulfillments:
        yield f"{path}.fulfillment_order_uid", f'no fulfillment order "{uid}" in this order'


def _prescription(path: str, prescription: Prescription) -> Iterator[FieldReason]:
    if prescription.doctor_uid is not None and prescription.assigned_at is None:
        yield f"{path}.assigned_at", "required beside doctor_uid"
    if prescription.doctor_uid is None and prescription.assigned_at is not None:
        yield f"{path}.doctor_uid", "required beside assigned_at"
    if prescription.decided_at is None:
        return
    if prescription.assigned_at is None:
        yield f"{path}.decided_at", "decided, but not assigned"
    elif prescription.decided_at < prescription.assigned_at:
        yield f"{path}.decided_at", "before assigned_at"
    elif prescription.status == "waiting_for_doctor":
        yield f"{path}.decided_at", "decided, but still waiting for the doctor"


def _visit(visit: Visit) -> Iterator[FieldReason]:
    if visit.status == "waiting":
        for name in ("allocated_at", "video_room_id", "ended_at"):
            if getattr(visit, name) is not None:
                yield name, "given, but the visit is still waiting"
    elif visit.status == "allocated":
        if visit.allocated_at is None:
            yield "allocated_at", "required for an allocated visit"
        if visit.ended_at is not None:
            yield "ended_at", "given, but the visit has not ended"
