"""Reads of pharmacies' orders and SKUs: one statement each, kept to the pharmacy of the key that asks.

What changed of them is for keys of the organisation, and of every pharmacy of it.
"""

from __future__ import annotations

from rxdesk import history
from rxdesk.access import Read

# `po` is a pharmacy order; `i` an item of its fulfillment order, or of the whole order where it has none.
ITEMS = """order_items i
    JOIN skus s ON s.organisation_id = $1 AND s.uid = i.sku_uid
    JOIN products p ON p.organisation_id = $1 AND p.uid = s.product_uid
    WHERE i.organisation_id = $1 AND i.order_uid = po.order_uid AND i.deleted_at IS NULL
      AND (po.fulfillment_order_uid IS NULL OR EXISTS (
        SELECT FROM fulfillment_order_items fi
        WHERE fi.organisation_id = $1 AND fi.order_uid = po.order_uid AND fi.order_item_uid = i.uid
          AND fi.fulfillment_order_uid = po.fulfillment_order_uid AND fi.deleted_at IS NULL))"""
# How the pharmacy offers an item's SKU: where it does so twice, the first of them is shown.
OFFER = """pharmacy_skus k
      WHERE k.organisation_id = $1 AND k.pharmacy_uid = po.pharmacy_uid AND k.sku_uid = i.sku_uid
        AND k.deleted_at IS NULL ORDER BY k.position, k.uid LIMIT 1"""

# A pharmacy order as its pharmacy, and who subscribed to its events, knows it (contract, section 3).
ORDER_DOCUMENT = f"""json_build_object(
  'uid', po.uid, 'status', po.status, 'name', po.name, 'data', po.data, 'external_status', po.external_status,
  'created_at', unix_seconds(po.created_at),
  'updated_at', unix_seconds(po.updated_at),
  'deleted_at', unix_seconds(po.deleted_at),
  'pharmacy', (
    SELECT json_build_object('uid', ph.uid, 'display_name', ph.display_name)
    FROM pharmacies ph WHERE ph.organisation_id = $1 AND ph.uid = po.pharmacy_uid),
  'order', (
    SELECT json_build_object(
      'uid', o.uid, 'delivery_address', o.delivery_address, 'invoice_address', o.invoice_address,
      'shipping_costs_amount', o.shipping_costs_amount, 'shipping_costs_currency', o.shipping_costs_currency,
      'priority', o.priority)
    FROM orders o WHERE o.organisation_id = $1 AND o.uid = po.order_uid),
  'delivery_type', (
    SELECT json_build_object('uid', dt.uid, 'display_name', dt.display_name, 'identifier', dt.identifier)
    FROM delivery_types dt WHERE dt.organisation_id = $1 AND dt.uid = po.delivery_type_uid),
  'order_items', coalesce((
    SELECT json_agg(json_build_object(
      'uid', i.uid, 'amount', i.quantity, 'total_paid_amount', i.total_paid_amount,
      'sku', json_build_object(
        'uid', s.uid, 'display_name', s.display_name, 'pzn', s.pzn, 'product_uid', p.uid,
        'product_display_name', p.display_name, 'product_handle', p.handle),
      'pharmacy_sku', (
        SELECT json_build_object('uid', k.uid, 'external_id', k.external_id, 'price', k.price, 'stock', k.stock)
        FROM {OFFER})) ORDER BY i.position, i.uid)
    FROM {ITEMS}), '[]'),
  'patient_data', (
    SELECT json_build_object(
      'uid', pt.uid, 'display_name', pt.display_name, 'email', pt.email, 'date_of_birth', pt.date_of_birth)
    FROM orders o JOIN patients pt ON pt.organisation_id = $1 AND pt.uid = o.patient_uid AND pt.deleted_at IS NULL
    WHERE o.organisation_id = $1 AND o.uid = po.order_uid))"""

# `k` is a pharmacy's SKU.
SKU_DOCUMENT = """json_build_object(
  'uid', k.uid, 'external_id', k.external_id, 'price', k.price, 'stock', k.stock,
  'pharmacy', (
    SELECT json_build_object('uid', ph.uid, 'display_name', ph.display_name)
    FROM pharmacies ph WHERE ph.organisation_id = $1 AND ph.uid = k.pharmacy_uid),
  'sku', (
    SELECT json_build_object('uid', s.uid, 'display_name', s.display_name, 'pzn', s.pzn)
    FROM skus s WHERE s.organisation_id = $1 AND s.uid = k.sku_uid),
  'updated_at', unix_seconds(k.updated_at))"""

# $4: uid
ORDER = Read(f"""
SELECT {ORDER_DOCUMENT}::text AS body
FROM pharmacy_orders po
WHERE po.organisation_id = $1 AND po.pharmacy_uid = c.pharmacy_uid AND po.uid = $4 AND po.deleted_at IS NULL
""")

# $4: rows a page, $5: rows before it, $6: status, $7 to $10: bounds of creation and change in Unix seconds, each
# inclusive or NULL. The page is cut first.
_WANTED = """organisation_id = $1 AND pharmacy_uid = c.pharmacy_uid AND deleted_at IS NULL
    AND ($6::text IS NULL OR status = $6)
    AND ($7::bigint IS NULL OR created_at >= to_timestamp($7))
    AND ($8::bigint IS NULL OR created_at < to_timestamp($8 + 1))
    AND ($9::bigint IS NULL OR updated_at >= to_timestamp($9))
    AND ($10::bigint IS NULL OR updated_at < to_timestamp($10 + 1))"""
ORDERS = Read(f"""
SELECT json_build_object(
  'data', coalesce((
    SELECT json_agg({ORDER_DOCUMENT} ORDER BY po.created_at DESC, po.uid DESC)
    FROM (
      SELECT * FROM pharmacy_orders WHERE {_WANTED}
      ORDER BY created_at DESC, uid DESC LIMIT $4::bigint OFFSET $5::bigint
    ) po), '[]'),
  'totalRegistries', n.total, 'totalPages', (n.total + $4::bigint - 1) / $4::bigint)::text AS body
FROM (SELECT count(*) AS total FROM pharmacy_orders WHERE {_WANTED}) n
""")

# $4: rows a page, $5: rows before it, $6: the pharmacy's own id, $7: PZN; each of these or NULL.
_OFFERED = """k.organisation_id = $1 AND k.pharmacy_uid = c.pharmacy_uid AND k.deleted_at IS NULL
    AND ($6::text IS NULL OR k.external_id = $6)
    AND ($7::text IS NULL OR EXISTS (
      SELECT FROM skus s WHERE s.organisation_id = $1 AND s.uid = k.sku_uid AND s.pzn = $7))"""
SKUS = Read(f"""
SELECT json_build_object(
  'data', coalesce((
    SELECT json_agg({SKU_DOCUMENT} ORDER BY k.sku_uid, k.uid)
    FROM (
      SELECT k.* FROM pharmacy_skus k WHERE {_OFFERED}
      ORDER BY k.sku_uid, k.uid LIMIT $4::bigint OFFSET $5::bigint
    ) k), '[]'),
  'totalRegistries', n.total, 'totalPages', (n.total + $4::bigint - 1) / $4::bigint)::text AS body
FROM (SELECT count(*) AS total FROM pharmacy_skus k WHERE {_OFFERED}) n
""")

# $4: uid, $5: rows a page, $6: rows before it
ORDER_CHANGES = Read(f"""
SELECT {history.PAGE}
FROM (SELECT 'pharmacy_order' AS kind FROM pharmacy_orders
  WHERE organisation_id = $1 AND uid = $4 AND deleted_at IS NULL) s
CROSS JOIN {history.COUNTED}
""")

# $4: uid, $5: rows a page, $6: rows before it
SKU_CHANGES = Read(f"""
SELECT {history.PAGE}
FROM (SELECT 'pharmacy_sku' AS kind FROM pharmacy_skus
  WHERE organisation_id = $1 AND uid = $4 AND deleted_at IS NULL) s
CROSS JOIN {history.COUNTED}
""")
