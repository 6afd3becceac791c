"""What pharmacies do with their orders and stock; run inside the caller's transaction.

Locks are taken in one order, here and wherever an order is changed: the order, its pharmacy order, pharmacy SKUs by
uid, and at last the stream of events. A pharmacy's key reaches its own rows only; an operator, who has none, each
pharmacy's.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from rxdesk import errors, history
from rxdesk.access import Transaction
from rxdesk.kit.clock import unix
from rxdesk.orders import lifecycle as orders
from rxdesk.pharmacies.events import tell_order, tell_stock
from rxdesk.pharmacies.lifecycle import check_step
from rxdesk.pharmacies.queries import ITEMS, SKU_DOCUMENT
from rxdesk.pharmacies.schemas import ChangedOrder, PharmacySku

_LOCK_ORDER = """
SELECT o.uid FROM orders o
WHERE o.organisation_id = $1 AND o.uid = (
  SELECT po.order_uid FROM pharmacy_orders po
  WHERE po.organisation_id = $1 AND po.uid = $2 AND po.deleted_at IS NULL
    AND ($3::text IS NULL OR po.pharmacy_uid = $3))
FOR NO KEY UPDATE"""
_LOCK_PHARMACY_ORDER = """
SELECT uid, order_uid, status, created_at FROM pharmacy_orders
WHERE organisation_id = $1 AND uid = $2 AND deleted_at IS NULL AND ($3::text IS NULL OR pharmacy_uid = $3)
FOR NO KEY UPDATE"""
_SET_STATUS = """
UPDATE pharmacy_orders SET status = $3, updated_at = $4, actor_kind = $5, actor_uid = $6
WHERE organisation_id = $1 AND uid = $2"""

# How much of each SKU is to be taken, of all its items together.
_NEEDED = f"""
SELECT t.sku_uid, sum(t.quantity)::bigint AS needed
FROM pharmacy_orders po CROSS JOIN LATERAL (SELECT i.quantity, i.sku_uid FROM {ITEMS}) t
WHERE po.organisation_id = $1 AND po.uid = $2 GROUP BY t.sku_uid"""
# All that the order's pharmacy offers of them, locked by uid.
_LOCK_STOCK = """
SELECT uid, sku_uid, position, stock FROM pharmacy_skus
WHERE organisation_id = $1 AND deleted_at IS NULL AND sku_uid = ANY ($3::text[]) AND pharmacy_uid = (
  SELECT po.pharmacy_uid FROM pharmacy_orders po WHERE po.organisation_id = $1 AND po.uid = $2)
ORDER BY uid FOR NO KEY UPDATE"""
# One statement for all, as its trigger locks the products' documents, in their order.
_TAKE = """
UPDATE pharmacy_skus k SET stock = k.stock - n.needed, updated_at = $4
FROM unnest($2::text[], $3::bigint[]) AS n (uid, needed)
WHERE k.organisation_id = $1 AND k.uid = n.uid"""

_LOCK_SKU = """
SELECT price, stock, external_id FROM pharmacy_skus
WHERE organisation_id = $1 AND uid = $2 AND deleted_at IS NULL AND ($3::text IS NULL OR pharmacy_uid = $3)
FOR NO KEY UPDATE"""
_SET_SKU = """
UPDATE pharmacy_skus SET price = $3, stock = $4, external_id = $5, updated_at = $6
WHERE organisation_id = $1 AND uid = $2"""
_SKU = f"SELECT {SKU_DOCUMENT}::text FROM pharmacy_skus k WHERE k.organisation_id = $1 AND k.uid = $2"

Member: TypeAlias = Literal["price", "stock", "external_id"]


@dataclass(frozen=True, slots=True)
class _Locked:
    """A pharmacy order that nobody else can change now; its time of creation in Unix seconds."""

    uid: str
    order_uid: str
    status: str
    created_at: int


async def move_order(tx: Transaction, uid: str, status: str) -> ChangedOrder:
    """Take a pharmacy order a step on. Raises 404, and 409 for a step that the lifecycle does not know."""
    order = await _lock_order(tx, uid)
    check_step(order.status, status)
    return await _set_status(tx, order, status)


async def complete_order(tx: Transaction, uid: str) -> ChangedOrder:
    """Complete a pharmacy order and take its items from the pharmacy's stock; stock that is NULL is not counted.

    What it needs of a SKU, in however many items, comes from the pharmacy's offers of it one after the other.

    Raises 404, 409 for a step that the lifecycle does not know, and 409 naming each SKU of which there is too little.
    """
    order = await _lock_order(tx, uid)
    check_step(order.status, "completed")
    await _take_stock(tx, uid)
    return await _set_status(tx, order, "completed")


async def change_sku(tx: Transaction, uid: str, member: Member, value: object) -> PharmacySku:
    """Set one member of a pharmacy's SKU; the value that it has already is no change. Raises 404."""
    row = await tx.connection.fetchrow(_LOCK_SKU, tx.organisation_id, uid, tx.pharmacy_uid)
    if row is None:
        raise errors.not_found()
    old = row[member]
    if old != value:
        new = {**row, member: value}
        await tx.connection.execute(
            _SET_SKU, tx.organisation_id, uid, new["price"], new["stock"], new["external_id"], tx.now
        )
        await history.record(tx, "pharmacy_sku", uid, member, old=old, new=value)
        if member == "stock":
            await tell_stock(tx, {uid: old})
    return msgspec.json.decode(await tx.connection.fetchval(_SKU, tx.organisation_id, uid), type=PharmacySku)


async def _lock_order(tx: Transaction, uid: str) -> _Locked:
    await tx.connection.fetchval(_LOCK_ORDER, tx.organisation_id, uid, tx.pharmacy_uid)
    row = await tx.connection.fetchrow(_LOCK_PHARMACY_ORDER, tx.organisation_id, uid, tx.pharmacy_uid)
    if row is None:
        raise errors.not_found()
    return _Locked(row["uid"], row["order_uid"], row["status"], unix(row["created_at"]))


async def _set_status(tx: Transaction, order: _Locked, status: str) -> ChangedOrder:
    await tx.connection.execute(
        _SET_STATUS, tx.organisation_id, order.uid, status, tx.now, tx.actor_kind, tx.actor_uid
    )
    await history.record(tx, "pharmacy_order", order.uid, "status", old=order.status, new=status)
    await tell_order(tx, order.uid, "pharmacy_order_updated")
    await orders.follow(tx, order.order_uid)
    return ChangedOrder(uid=order.uid, status=status, created_at=order.created_at, updated_at=unix(tx.now))


async def _take_stock(tx: Transaction, uid: str) -> None:
    rows = await tx.connection.fetch(_NEEDED, tx.organisation_id, uid)
    needed = {row["sku_uid"]: row["needed"] for row in rows}
    before: dict[str, int] = {}
    taken: dict[str, int] = {}
    missing: list[dict[str, object]] = []
    locked = await tx.connection.fetch(_LOCK_STOCK, tx.organisation_id, uid, list(needed))
    in_turn = sorted(locked, key=lambda row: (row["sku_uid"], row["position"], row["uid"]))
    for sku_uid, rows_of_it in itertools.groupby(in_turn, key=lambda row: row["sku_uid"]):
        offers = {row["uid"]: row["stock"] for row in rows_of_it}
        shares = shared_out(offers, needed[sku_uid])
        if shares is None:
            stock = sum(offers.values())
            first = next(iter(offers))
            missing.append({"uid": first, "sku_uid": sku_uid, "stock": stock, "needed": needed[sku_uid]})
        else:
            taken |= shares
            before |= offers
    if missing:
        missing.sort(key=lambda one: str(one["uid"]))
        names = ", ".join(str(one["uid"]) for one in missing)
        raise errors.simple(409, f"There is too little in stock of {names}", missing=missing)
    if not taken:
        return
    taken = dict(sorted(taken.items()))
    await tx.connection.execute(_TAKE, tx.organisation_id, list(taken), list(taken.values()), tx.now)
    for one, amount in taken.items():
        left = before[one] - amount
        await history.record(tx, "pharmacy_sku", one, "stock", old=before[one], new=left, reason=uid)
    await tell_stock(tx, {one: before[one] for one in taken})


def shared_out(offers: Mapping[str, int | None], needed: int) -> dict[str, int] | None:
    """Share out what is needed of a SKU among a pharmacy's offers of it: the first gives what it has, then the next.

    `offers` has the stock of each by its uid, in that order; where it is None, which is not counted, all that is left
    comes from there. Gives how much to take of each counted offer that gives something; None where all of them have
    too little.
    """
    shares: dict[str, int] = {}
    for uid, stock in offers.items():
        if stock is None or not needed:
            return shares
        if share := min(stock, needed):
            shares[uid] = share
            needed -= share
    return None if needed else shares
