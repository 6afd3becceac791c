"""Which pharmacy gets an order, and the pharmacy order made of it.

The rule, in this order: the pharmacy named when the order was made; else, of those that have every SKU of the order
in stock at a price, the one whose total is lowest; of equals the lowest uid. A pharmacy that has cancelled the
order once is not asked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rxdesk import history
from rxdesk.access import Transaction
from rxdesk.kit.uids import new_uid
from rxdesk.pharmacies.events import tell_order

if TYPE_CHECKING:
    from rxdesk.orders.lifecycle import Locked

# One row for each SKU of the order and offer that has all of it; a pharmacy must have one for every SKU.
_CHOOSE = """
WITH wanted AS (
  SELECT sku_uid, sum(quantity) AS quantity FROM order_items
  WHERE organisation_id = $1 AND order_uid = $2 AND deleted_at IS NULL GROUP BY sku_uid
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
    AND o.pharmacy_uid = p.uid AND o.status = 'cancelled')
ORDER BY (p.uid = $3) IS TRUE DESC, a.price, p.uid LIMIT 1"""

# It belongs to the order's first fulfillment order, where there is one.
_PLACE = """
INSERT INTO pharmacy_orders (organisation_id, uid, order_uid, fulfillment_order_uid, pharmacy_uid, delivery_type_uid,
  position, status, name, created_at, updated_at, actor_kind, actor_uid)
SELECT $1, $2, $3, (
    SELECT f.uid FROM fulfillment_orders f
    WHERE f.organisation_id = $1 AND f.order_uid = $3 AND f.deleted_at IS NULL
    ORDER BY f.position, f.uid LIMIT 1),
  $4, $5, (
    SELECT coalesce(max(o.position) + 1, 0) FROM pharmacy_orders o
    WHERE o.organisation_id = $1 AND o.order_uid = $3),
  'init', $6, $7, $7, $8, $9"""


async def place(tx: Transaction, order: Locked) -> str | None:
    """Make the pharmacy order of a locked order; give its uid, or None when no pharmacy can take it."""
    pharmacy_uid = await tx.connection.fetchval(_CHOOSE, tx.organisation_id, order.uid, order.pharmacy_uid)
    if pharmacy_uid is None:
        return None
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
    )
    await history.record(tx, "pharmacy_order", uid, "created", new="init")
    await tell_order(tx, uid, "pharmacy_order_created")
    return uid
