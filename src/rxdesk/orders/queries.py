"""Reads of orders: one statement each."""

from __future__ import annotations

from rxdesk import history
from rxdesk.access import Read

# $4: uid. An order has few children, each found by an index on (organisation_id, order_uid, uid); the
# prescriptions are looked at only for a key that may read them. OFFSET 0 lets the planner look up a shop by its key:
# while there are few it would hash all of them for each order, and keep that plan.
ORDER = Read("""
SELECT json_build_object(
  'uid', o.uid,
  'status', o.status,
  'created_at', unix_seconds(o.created_at),
  'updated_at', unix_seconds(o.updated_at),
  'shop_orders', coalesce((
    SELECT json_agg(json_build_object(
      'uid', so.uid,
      'shop', json_build_object('uid', s.uid, 'identifier', s.identifier),
      'external_id', so.external_id) ORDER BY so.position, so.uid)
    FROM shop_orders so
    CROSS JOIN LATERAL (
      SELECT s.uid, s.identifier FROM shops s
      WHERE s.organisation_id = $1 AND s.uid = so.shop_uid AND s.deleted_at IS NULL OFFSET 0) s
    WHERE so.organisation_id = $1 AND so.order_uid = o.uid AND so.deleted_at IS NULL), '[]'),
  'patient_profile', (
    SELECT json_build_object(
      'uid', p.uid,
      'created_at', unix_seconds(p.created_at),
      'updated_at', unix_seconds(p.updated_at))
    FROM patients p WHERE p.organisation_id = $1 AND p.uid = o.patient_uid AND p.deleted_at IS NULL),
  'items', coalesce((
    SELECT json_agg(json_build_object('uid', i.uid, 'quantity', i.quantity, 'sku_uid', i.sku_uid)
                    ORDER BY i.position, i.uid)
    FROM order_items i
    WHERE i.organisation_id = $1 AND i.order_uid = o.uid AND i.deleted_at IS NULL), '[]'),
  'fulfillment_orders', coalesce((
    SELECT json_agg(json_build_object(
      'uid', fo.uid,
      'items', coalesce((
        SELECT json_agg(json_build_object(
          'uid', fi.uid,
          'order_item', json_build_object('uid', i.uid, 'quantity', i.quantity, 'sku_uid', i.sku_uid))
          ORDER BY fi.position, fi.uid)
        FROM fulfillment_order_items fi
        JOIN order_items i ON i.organisation_id = $1 AND i.uid = fi.order_item_uid AND i.deleted_at IS NULL
        WHERE fi.organisation_id = $1 AND fi.order_uid = o.uid AND fi.fulfillment_order_uid = fo.uid
          AND fi.deleted_at IS NULL), '[]'),
      'prescriptions', coalesce((
        SELECT json_agg(json_build_object(
          'uid', p.uid,
          'status', p.status,
          'doctor', (
            SELECT json_build_object('uid', d.uid, 'display_name', d.display_name)
            FROM doctors d WHERE d.organisation_id = $1 AND d.uid = p.doctor_uid AND d.deleted_at IS NULL))
          ORDER BY p.position, p.uid)
        FROM prescriptions p
        WHERE 'prescription:read' = ANY (c.permissions) AND p.organisation_id = $1 AND p.order_uid = o.uid
          AND p.fulfillment_order_uid = fo.uid AND p.deleted_at IS NULL), '[]'))
      ORDER BY fo.position, fo.uid)
    FROM fulfillment_orders fo
    WHERE fo.organisation_id = $1 AND fo.order_uid = o.uid AND fo.deleted_at IS NULL), '[]'),
  'prescriptions', coalesce((
    SELECT json_agg(json_build_object('uid', p.uid, 'status', p.status) ORDER BY p.position, p.uid)
    FROM prescriptions p
    WHERE 'prescription:read' = ANY (c.permissions) AND p.organisation_id = $1 AND p.order_uid = o.uid
      AND p.deleted_at IS NULL), '[]'))::text AS body
FROM orders o
WHERE o.organisation_id = $1 AND o.uid = $4 AND o.deleted_at IS NULL
""")

# $4: uid, $5: rows a page, $6: rows before it
CHANGES = Read(f"""
SELECT {history.PAGE}
FROM (SELECT 'order' AS kind FROM orders
  WHERE organisation_id = $1 AND uid = $4 AND deleted_at IS NULL) s
CROSS JOIN {history.COUNTED}
""")
