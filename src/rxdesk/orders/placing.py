"""Which pharmacies get an order, and the pharmacy orders made of it.

Each part of an order, which is a fulfillment order with items, gets a pharmacy order of its own; an order without any
gets one for all its items. The rule for each, in this order: the pharmacy named when the order was made; else, of those
that have every SKU of the part in stock at a price, the one whose total is lowest; of equals the lowest uid. A pharmacy
that has cancelled a part once is not asked for it again.

In stock is what a pharmacy has in all its offers of a SKU, less what it is still to send for other parts of the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rxdesk import history
from rxdesk.access import Transaction
from rxdesk.kit.uids import new_uid
from rxdesk.pharmacies.events import tell_order
from rxdesk.pharmacies.queries import ITEMS

if TYPE_CHECKING:
    from rxdesk.orders.lifecycle import Locked

# `offered` has one row for each pharmacy and SKU of the part that it has all of; it must have one for every SKU. The
# price is that of the packs as a completion takes them, offer after offer, behind those that are promised already.
# $2 order, $3 the pharmacy that was named or NULL, $4 the part or NULL for all items
_CHOOSE = f"""
WITH wanted AS (
  SELECT i.sku_uid, sum(i.quantity) AS quantity FROM order_items i
  WHERE i.organisation_id = $1 AND i.order_uid = $2 AND i.deleted_at IS NULL
    AND ($4::text IS NULL OR EXISTS (
      SELECT FROM fulfillment_order_items fi
      WHERE fi.organisation_id = $1 AND fi.order_uid = $2 AND fi.order_item_uid = i.uid
        AND fi.fulfillment_order_uid = $4 AND fi.deleted_at IS NULL))
  GROUP BY i.sku_uid
), promised AS (
  SELECT po.pharmacy_uid, t.sku_uid, sum(t.quantity) AS quantity
  FROM pharmacy_orders po CROSS JOIN LATERAL (SELECT i.sku_uid, i.quantity FROM {ITEMS}) t
  WHERE po.organisation_id = $1 AND po.order_uid = $2 AND po.deleted_at IS NULL
    AND po.status NOT IN ('completed', 'cancelled')
  GROUP BY po.pharmacy_uid, t.sku_uid
), stocked AS (
  SELECT k.pharmacy_uid, w.sku_uid, k.price, coalesce(m.quantity, 0) AS begin,
    coalesce(m.quantity, 0) + w.quantity AS until, k.stock,
    sum(k.stock) OVER (PARTITION BY k.pharmacy_uid, k.sku_uid ORDER BY k.position, k.uid) AS reach
  FROM wanted w
  JOIN pharmacy_skus k ON k.organisation_id = $1 AND k.sku_uid = w.sku_uid AND k.deleted_at IS NULL
    AND k.price IS NOT NULL AND k.stock IS NOT NULL
  LEFT JOIN promised m ON m.pharmacy_uid = k.pharmacy_uid AND m.sku_uid = k.sku_uid
), offered AS (
  SELECT pharmacy_uid, sku_uid,
    sum(price * greatest(least(reach, until) - greatest(reach - stock, begin), 0)) AS price
  FROM stocked GROUP BY pharmacy_uid, sku_uid, until HAVING max(reach) >= until
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
