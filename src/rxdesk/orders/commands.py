"""What is done with orders; run inside the caller's transaction."""

from __future__ import annotations

import msgspec

from rxdesk import errors, history
from rxdesk.access import Transaction
from rxdesk.kit.clock import unix
from rxdesk.kit.uids import new_uid
from rxdesk.orders import lifecycle
from rxdesk.orders.schemas import Address, MadeOrder, Move, NewOrder, OrderState
from rxdesk.pharmacies.events import tell_order
from rxdesk.prescriptions import lifecycle as prescriptions
from rxdesk.prescriptions.schemas import Because, PrescriptionState
from rxdesk.webhooks.outbox import emit

_GIVEN = """
SELECT EXISTS (SELECT FROM shops WHERE organisation_id = $1 AND uid = $2 AND deleted_at IS NULL) AS shop_uid,
  EXISTS (SELECT FROM patients WHERE organisation_id = $1 AND uid = $3 AND deleted_at IS NULL)
    AS patient_profile_uid,
  $4::text IS NULL OR EXISTS (
    SELECT FROM pharmacies WHERE organisation_id = $1 AND uid = $4 AND deleted_at IS NULL) AS pharmacy_uid,
  $5::text IS NULL OR EXISTS (
    SELECT FROM delivery_types WHERE organisation_id = $1 AND uid = $5 AND deleted_at IS NULL)
    AS delivery_type_uid,
  NOT EXISTS (SELECT FROM unnest($6::text[]) AS g (uid) WHERE NOT EXISTS (
    SELECT FROM skus s WHERE s.organisation_id = $1 AND s.uid = g.uid AND s.deleted_at IS NULL)) AS items"""

_ORDER = """
INSERT INTO orders (organisation_id, uid, status, name, patient_uid, delivery_address, invoice_address, pharmacy_uid,
  delivery_type_uid, created_at, updated_at, actor_kind, actor_uid)
VALUES ($1, $2, 'init', $3, $4, $5, $6, $7, $8, $9, $9, $10, $11)"""

_SHOP_ORDER = """
INSERT INTO shop_orders (organisation_id, uid, order_uid, shop_uid, position, external_id)
VALUES ($1, $2, $3, $4, 0, $5)"""

_FULFILLMENT_ORDER = """
INSERT INTO fulfillment_orders (organisation_id, uid, order_uid, position) VALUES ($1, $2, $3, 0)"""

# Positions, and each of them in the one fulfillment order.
_ITEMS = """
WITH item AS (
  INSERT INTO order_items (organisation_id, uid, order_uid, sku_uid, position, quantity, total_paid_amount)
  SELECT $1, g.uid, $2, g.sku_uid, g.place - 1, g.quantity, g.paid
  FROM unnest($4::text[], $5::text[], $6::int[], $7::int[]) WITH ORDINALITY
    AS g (uid, sku_uid, quantity, paid, place)
  RETURNING uid, position
)
INSERT INTO fulfillment_order_items (organisation_id, uid, order_uid, fulfillment_order_uid, order_item_uid,
  position)
SELECT $1, ($8::text[])[i.position + 1], $2, $3, i.uid, i.position FROM item i"""

_PRESCRIPTIONS = """
INSERT INTO prescriptions (organisation_id, uid, order_uid, fulfillment_order_uid, position, status, rendered,
  created_at, updated_at, actor_kind, actor_uid)
SELECT $1, g.uid, $2, $3, g.place - 1, 'waiting_for_doctor', false, $5, $5, $6, $7
FROM unnest($4::text[]) WITH ORDINALITY AS g (uid, place)"""

# In one statement each, since who changes a child holds the lock of its order: nobody else is at them.
_CANCEL_PRESCRIPTIONS = """
WITH open AS (
  SELECT uid, status FROM prescriptions
  WHERE organisation_id = $1 AND order_uid = $2 AND deleted_at IS NULL AND status = ANY ($6::text[])
  ORDER BY uid FOR NO KEY UPDATE
)
UPDATE prescriptions p SET status = 'cancelled', updated_at = $3, actor_kind = $4, actor_uid = $5
FROM open WHERE p.organisation_id = $1 AND p.uid = open.uid
RETURNING p.uid, open.status, p.created_at"""

_CANCEL_PHARMACY_ORDERS = """
WITH open AS (
  SELECT uid, status FROM pharmacy_orders
  WHERE organisation_id = $1 AND order_uid = $2 AND deleted_at IS NULL
    AND status NOT IN ('completed', 'cancelled')
  ORDER BY uid FOR NO KEY UPDATE
)
UPDATE pharmacy_orders p SET status = 'cancelled', updated_at = $3, actor_kind = $4, actor_uid = $5
FROM open WHERE p.organisation_id = $1 AND p.uid = open.uid
RETURNING p.uid, open.status"""


async def create(tx: Transaction, body: NewOrder) -> MadeOrder:
    """Make an order with its positions, one fulfillment order, and the prescriptions that it wants.

    Raises 404 naming the reference that is not the organisation's.
    """
    await _require_given(tx, body)
    uid, part = new_uid("ord"), new_uid("fo")
    await tx.connection.execute(
        _ORDER,
        tx.organisation_id,
        uid,
        body.name,
        body.patient_profile_uid,
        _address(body.delivery_address),
        _address(body.invoice_address),
        body.pharmacy_uid,
        body.delivery_type_uid,
        tx.now,
        tx.actor_kind,
        tx.actor_uid,
    )
    await tx.connection.execute(
        _SHOP_ORDER, tx.organisation_id, new_uid("so"), uid, body.shop_uid, body.external_id
    )
    await tx.connection.execute(_FULFILLMENT_ORDER, tx.organisation_id, part, uid)
    await tx.connection.execute(
        _ITEMS,
        tx.organisation_id,
        uid,
        part,
        [new_uid("oi") for _ in body.items],
        [item.sku_uid for item in body.items],
        [item.quantity for item in body.items],
        [item.total_paid_amount for item in body.items],
        [new_uid("foi") for _ in body.items],
    )
    moment = unix(tx.now)
    state = OrderState(uid=uid, status="init", created_at=moment, updated_at=moment)
    await history.record(tx, "order", uid, "created", new="init")
    emit(tx, "order_created", msgspec.structs.asdict(state))
    prescribed = await _prescribe(tx, uid, part, body.prescriptions)
    return MadeOrder(**msgspec.structs.asdict(state), prescription_uids=prescribed)


async def _require_given(tx: Transaction, body: NewOrder) -> None:
    [row] = await tx.connection.fetch(
        _GIVEN,
        tx.organisation_id,
        body.shop_uid,
        body.patient_profile_uid,
        body.pharmacy_uid,
        body.delivery_type_uid,
        [item.sku_uid for item in body.items],
    )
    for field, there in row.items():
        if not there:
            raise errors.not_found(field)


def _address(address: Address | None) -> str:
    return "{}" if address is None else msgspec.json.encode(address).decode()


async def _prescribe(tx: Transaction, order_uid: str, part: str, count: int) -> list[str]:
    uids = [new_uid("px") for _ in range(count)]
    if uids:
        await tx.connection.execute(
            _PRESCRIPTIONS, tx.organisation_id, order_uid, part, uids, tx.now, tx.actor_kind, tx.actor_uid
        )
    moment = unix(tx.now)
    for uid in uids:
        state = PrescriptionState(uid=uid, status="waiting_for_doctor", created_at=moment, updated_at=moment)
        await history.record(tx, "prescription", uid, "created", new="waiting_for_doctor")
        emit(tx, "prescription_created", msgspec.structs.asdict(state))
    return uids


async def move(tx: Transaction, order_uid: str, body: Move) -> OrderState:
    """Take a step with an order; it may go on by itself from there, so look at the status that is answered.

    Raises 404, and 409 naming the steps that are allowed now.
    """
    if body.status == "cancelled":
        return await cancel(tx, order_uid, Because(reason=body.reason))
    order = await lifecycle.lock(tx, order_uid)
    children = await lifecycle.children_of(tx, order_uid)
    lifecycle.require_step(order.status, body.status, children)
    return (await lifecycle.settle(tx, order, body.status, children, body.reason)).state


async def cancel(tx: Transaction, order_uid: str, body: Because) -> OrderState:
    """Cancel an order with its open prescriptions and pharmacy orders. Raises 404; 409 when it has ended."""
    order = await lifecycle.lock(tx, order_uid)
    lifecycle.require_step(order.status, "cancelled", lifecycle.Children())
    by = (tx.organisation_id, order_uid, tx.now, tx.actor_kind, tx.actor_uid)
    for row in await tx.connection.fetch(_CANCEL_PRESCRIPTIONS, *by, sorted(prescriptions.OPEN)):
        await history.record(
            tx, "prescription", row["uid"], "status", old=row["status"], new="cancelled", reason=body.reason
        )
        state = PrescriptionState(
            uid=row["uid"],
            status="cancelled",
            created_at=unix(row["created_at"]),
            updated_at=unix(tx.now),
        )
        emit(tx, "prescription_updated", msgspec.structs.asdict(state))
    for row in await tx.connection.fetch(_CANCEL_PHARMACY_ORDERS, *by):
        await history.record(
            tx, "pharmacy_order", row["uid"], "status", old=row["status"], new="cancelled", reason=body.reason
        )
        await tell_order(tx, row["uid"], "pharmacy_order_updated")
    return (await lifecycle.set_status(tx, order, "cancelled", body.reason)).state
