"""Which pharmacies get an order, and the pharmacy orders made of it.

Each part of an order, which is a fulfillment order with items, gets a pharmacy order of its own; an order without any
gets one for all its items. The rule for each, in this order: the pharmacy named when the order was made; else, of those
that have every SKU of the part in stock at a price, the one whose total is lowest; of equals the lowest uid. A pharmacy
that has cancelled a part once is not asked for it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rxdesk import history
from rxdesk.access import Transaction
from rxdesk.kit.uids import new_uid
from rxdesk.pharmacies.events import tell_order

if TYPE_CHECKING:
    from rxdesk.orders.lifecycle import Locked

# One row for each SKU of the part and offer that has all of it; a pharmacy must have one for every SKU.
# $2 order, $3 the pharmacy that was named or NULL, $4 the part or NULL for all items
_CHOOSE = """
WITH wanted AS (
  SELECT i.sku_uid, sum(i.quantity) AS quantity FROM order_items i
  WHERE i.organisation_id = $1 AND i.order_uid = $2 AND i.deleted_at IS NULL
    AND ($4::text IS NULL OR EXISTS (
      SELECT FROM fulfillment_order_items fi
      WHERE fi.organisation_id = $1 AND fi.order_uid = $2 AND fi.order_item_uid = i.uid
        AND fi.fulfillment_order_uid = $4 AND fi.deleted_at IS NULL))
  GROUP BY i.sku_uid
), offered AS (
  SELECT k.pharmacy_uid, w.sku_uid, min(k.price * w.quantity) AS price
  FROM wanted w
  JOIN pharmacy_skus k ON k.organisation_id = $1 AND k.sku_uid = w.sku_uid AND k.deleted_at IS NULL
    AND k.price IS NOT NULL AND k.stock >= w.quantity
  GROUP BY k.pharmacy_uid, w.sku_uid
), able AS (
  SELECT pharmacy_uid, sum(price) AS price FROM offered GROUP BY pharmacy_uid
  HAVING count(*) = (SELECT count(*) FROM wanted)
)
SELECT p.uid FROM pharmacies p LEFT JOIN able a ON a.pharmacy_uid = p.uid
WHERE p.organisation_id = $1 AND p.deleted_at IS NULL AND (p.uid = $3 OR a.pharmacy_uid IS NOT NULL)
  AND NOT EXISTS (SELECT FROM pharmacy_orders o WHERE o.organisation_id = $1 AND o.order_uid = $2
    AND o.pharmacy_uid = p.uid AND o.status = 'cancelled'
    AND ($4::text IS NULL OR o.fulfillment_order_uid IS NULL OR o.fulfillment_order_uid = $4))
ORDER BY (p.uid = $3) IS TRUE DESC, a.price, p.uid LIMIT 1"""

_PLACE = """
INSERT INTO pharmacy_orders (organisation_id, uid, order_uid, fulfillment_order_uid, pharmacy_uid, delivery_type_uid,
  position, status, name, created_at, updated_at, actor_kind, actor_uid)
SELECT $1, $2, $3, $10, $4, $5, (
    SELECT coalesce(max(o.position) + 1, 0) FROM pharmacy_orders o
    WHERE o.organisation_id = $1 AND o.order_uid = $3),
  'init', $6, $7, $7, $8, $9"""


async def place(tx: Transaction, order: Locked, parts: Sequence[str | None]) -> bool:
    """Make a pharmacy order for each part of a locked order that has none; None is the part that is all of it.

    Whether every part found a pharmacy: those that did are placed in either case.
    """
    found = [await _place_part(tx, order, part) for part in parts]
    return all(found)


async def _place_part(tx: Transaction, order: Locked, part: str | None) -> bool:
    pharmacy_uid = await tx.connection.fetchval(
        _CHOOSE, tx.organisation_id, order.uid, order.pharmacy_uid, part
    )
    if pharmacy_uid is None:
        return False
    uid = new_uid("po")
    await tx.connection.execute(
        _PLACE,
        tx.organisation_id,
        uid,
        order.uid,
        pharmacy_uid,
        order.delivery_type_uid,
        order.name,
        tx.now,
        tx.actor_kind,
        tx.actor_uid,
        part,
    )
    await history.record(tx, "pharmacy_order", uid, "created", new="init")
    await tell_order(tx, uid, "pharmacy_order_created")
    return True
