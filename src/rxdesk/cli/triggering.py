"""Changes that make an event of a type happen, by the very commands of the API."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from rxdesk.access import Transaction
from rxdesk.cli.common import CliError
from rxdesk.settings import Settings
from rxdesk.webhooks.outbox import told

# Makes the change and says what it was.
Change: TypeAlias = Callable[[Transaction, Settings], Awaitable[str]]

# The step that is taken from each status.
_STEPS = {
    "init": "waiting for pharmacy",
    "waiting for pharmacy": "pending review",
    "pending review": "in-progress",
    "on-hold": "in-progress",
    "in-progress": "ready_for_pickup",
}

# Somebody who waits nowhere, and a shop to wait in.
_VISITOR = """
SELECT p.uid AS patient_uid, s.uid AS shop_uid FROM patients p
CROSS JOIN LATERAL (SELECT uid FROM shops WHERE organisation_id = $1 AND deleted_at IS NULL ORDER BY uid LIMIT 1) s
WHERE p.organisation_id = $1 AND p.deleted_at IS NULL AND NOT EXISTS (
  SELECT FROM waiting_room_visits v WHERE v.organisation_id = $1 AND v.patient_uid = p.uid
    AND v.status IN ('waiting', 'allocated') AND v.deleted_at IS NULL)
ORDER BY p.uid OFFSET $2 LIMIT 1"""

_PHARMACY_ORDER = """
SELECT uid, status FROM pharmacy_orders
WHERE organisation_id = $1
  AND status IN ('init', 'waiting for pharmacy', 'pending review', 'on-hold', 'in-progress')
  AND deleted_at IS NULL
ORDER BY created_at DESC, uid DESC OFFSET $2 LIMIT 1"""

_PHARMACY_SKU = """
SELECT k.uid, k.stock FROM pharmacy_skus k
WHERE k.organisation_id = $1 AND k.stock IS NOT NULL AND k.deleted_at IS NULL ORDER BY k.uid OFFSET $2 LIMIT 1"""

_PRESCRIPTION = """
SELECT p.uid FROM prescriptions p WHERE p.organisation_id = $1 AND p.status = 'waiting_for_doctor'
  AND p.deleted_at IS NULL ORDER BY p.created_at DESC, p.uid DESC OFFSET $2 LIMIT 1"""

_CUSTOMER = """
SELECT p.uid AS patient_uid, s.shop_uid, s.sku_uid FROM patients p
CROSS JOIN LATERAL (
  SELECT k.shop_uid, k.sku_uid FROM shop_skus k
  JOIN skus u ON u.organisation_id = $1 AND u.uid = k.sku_uid AND u.deleted_at IS NULL
  WHERE k.organisation_id = $1 AND k.deleted_at IS NULL ORDER BY k.uid LIMIT 1) s
WHERE p.organisation_id = $1 AND p.deleted_at IS NULL ORDER BY p.uid OFFSET $2 LIMIT 1"""

# An order that can be taken a step on, by a person and whatever its children are.
_ORDER = """
SELECT uid, status FROM orders
WHERE organisation_id = $1 AND deleted_at IS NULL
  AND status IN ('init', 'started', 'waiting for doctor', 'waiting for pharmacy')
ORDER BY created_at DESC, uid DESC OFFSET $2 LIMIT 1"""

# What a patient has ordered before, of a pack that a pharmacy has in stock at a price.
_REORDER = """
SELECT o.patient_uid, o.delivery_address::text, so.shop_uid, i.sku_uid FROM orders o
JOIN patients p ON p.organisation_id = $1 AND p.uid = o.patient_uid AND p.deleted_at IS NULL
JOIN shop_orders so ON so.organisation_id = $1 AND so.order_uid = o.uid AND so.deleted_at IS NULL
JOIN shops s ON s.organisation_id = $1 AND s.uid = so.shop_uid AND s.deleted_at IS NULL
JOIN order_items i ON i.organisation_id = $1 AND i.order_uid = o.uid AND i.deleted_at IS NULL
JOIN skus u ON u.organisation_id = $1 AND u.uid = i.sku_uid AND u.deleted_at IS NULL
WHERE o.organisation_id = $1 AND o.deleted_at IS NULL AND o.delivery_address ->> 'city' <> '' AND EXISTS (
  SELECT FROM pharmacy_skus k
  JOIN pharmacies h ON h.organisation_id = $1 AND h.uid = k.pharmacy_uid AND h.deleted_at IS NULL
  WHERE k.organisation_id = $1 AND k.sku_uid = i.sku_uid AND k.deleted_at IS NULL AND k.price IS NOT NULL
    AND k.stock > 0)
ORDER BY o.created_at DESC, o.uid DESC, i.uid OFFSET $2 LIMIT 1"""
_SOME = 50  # of which one is drawn, so that it is not always the same


@dataclass(frozen=True, slots=True)
class Triggered:
    """What was done, and the event that tells of it."""

    what: str
    event_uid: str
    subject_uid: str


async def _drawn(tx: Transaction, query: str, what: str) -> Any:  # noqa: ANN401 (a record)
    """Give one row of the first few; CliError when there is none."""
    for offset in (secrets.randbelow(_SOME), 0):
        row = await tx.connection.fetchrow(query, tx.organisation_id, offset)
        if row is not None:
            return row
    message = f"the organisation has {what}: a demo has some (`rxdesk demo`)"
    raise CliError(message)


async def _visit(tx: Transaction, settings: Settings) -> str:
    from rxdesk.waiting_room.commands import register
    from rxdesk.waiting_room.forecasts import forecast_in
    from rxdesk.waiting_room.schemas import Registration

    row = await _drawn(tx, _VISITOR, "nobody who could wait, or no shop")
    body = Registration(shop_uid=row["shop_uid"], patient_profile_uid=row["patient_uid"])
    forecast = await forecast_in(tx, settings, body.shop_uid)
    place = await register(tx, body, forecast.next_ones)
    return f"A patient waits, at place {place.position}"


async def _pharmacy_order(tx: Transaction, _: Settings) -> str:
    from rxdesk.pharmacies.commands import move_order

    row = await _drawn(tx, _PHARMACY_ORDER, "no open pharmacy order")
    await move_order(tx, row["uid"], _STEPS[row["status"]])
    return f"A pharmacy order went from '{row['status']}' to '{_STEPS[row['status']]}'"


async def _stock(tx: Transaction, _: Settings) -> str:
    from rxdesk.pharmacies.commands import change_sku

    row = await _drawn(tx, _PHARMACY_SKU, "no pharmacy that counts its stock")
    await change_sku(tx, row["uid"], "stock", row["stock"] + 1)
    return f"A stock went from {row['stock']} to {row['stock'] + 1}"


async def _order(tx: Transaction, _: Settings) -> str:
    from rxdesk.orders.commands import create
    from rxdesk.orders.schemas import NewItem, NewOrder

    row = await _drawn(tx, _CUSTOMER, "no patient, or no shop that sells a SKU")
    items = [NewItem(sku_uid=row["sku_uid"], quantity=1)]
    body = NewOrder(
        shop_uid=row["shop_uid"], patient_profile_uid=row["patient_uid"], items=items, prescriptions=1
    )
    made = await create(tx, body)
    return f"An order was made and is '{made.status}'"


async def _order_step(tx: Transaction, _: Settings) -> str:
    from rxdesk.orders.commands import move
    from rxdesk.orders.schemas import Move

    row = await _drawn(tx, _ORDER, "no order that is under way")
    moved = await move(tx, row["uid"], Move(status="paused", reason="rxdesk webhooks trigger"))
    return f"An order went from '{row['status']}' to '{moved.status}'"


async def _placing(tx: Transaction, _: Settings) -> str:
    """Order what needs no prescription, and take it to the pharmacy."""
    from rxdesk.orders.commands import create, move
    from rxdesk.orders.schemas import Address, Move, NewItem, NewOrder

    row = await _drawn(tx, _REORDER, "nobody who has ordered what a pharmacy has in stock")
    address = msgspec.json.decode(row["delivery_address"])
    body = NewOrder(
        shop_uid=row["shop_uid"],
        patient_profile_uid=row["patient_uid"],
        items=[NewItem(sku_uid=row["sku_uid"], quantity=1)],
        delivery_address=Address(**{name: address.get(name) for name in Address.__struct_fields__}),
    )
    made = await create(tx, body)
    await move(tx, made.uid, Move(status="started"))
    moved = await move(tx, made.uid, Move(status="waiting for pharmacy"))
    return f"An order was made and is '{moved.status}'"


async def _prescription(tx: Transaction, _: Settings) -> str:
    from rxdesk.prescriptions.commands import hold
    from rxdesk.prescriptions.schemas import Explained

    row = await _drawn(tx, _PRESCRIPTION, "no prescription that waits for its doctor")
    await hold(tx, row["uid"], Explained(reason="rxdesk webhooks trigger"))
    return "A prescription was put on hold"


TRIGGERS: dict[str, Change] = {
    "pharmacy_order_created": _placing,
    "pharmacy_order_updated": _pharmacy_order,
    "pharmacy_sku_stock_updated": _stock,
    "order_created": _order,
    "order_updated": _order_step,
    "prescription_created": _order,
    "prescription_updated": _prescription,
    "waiting_room_updated": _visit,
}

# Types that no command of the API makes happen, and why.
UNTRIGGERED = {
    "patient_doctor_meeting_updated": "RxDesk keeps no meetings yet, so nothing tells of one",
    "appointment_reminder_due": "RxDesk keeps no appointments yet, so no reminder of one is ever due",
    "notification_subscription_disabled": "it would take a subscription from you; it happens when a receiver answers "
    "410 to a delivery, or has failed for five days",
}


async def trigger(tx: Transaction, settings: Settings, kind: str) -> Triggered:
    """Make the change for a type of TRIGGERS. Raises CliError when the organisation has nothing to change."""
    what = await TRIGGERS[kind](tx, settings)
    events = await told(tx, kind)
    if not events:
        message = f"{what}, and no {kind} was told of it"
        raise CliError(message)
    return Triggered(what, *events[0])
