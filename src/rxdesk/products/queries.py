"""Reads of products: one statement each."""

from __future__ import annotations

from rxdesk.access import Read

# What a deleted shop or pharmacy offers is no offer. They are few; PostgreSQL gathers them once a statement.
_SHOP_LIVES = "<> ALL (ARRAY(SELECT uid FROM shops WHERE organisation_id = $1 AND deleted_at IS NOT NULL))"
_PHARMACY_LIVES = (
    "<> ALL (ARRAY(SELECT uid FROM pharmacies WHERE organisation_id = $1 AND deleted_at IS NOT NULL))"
)

# $4: rows a page, $5: rows before it. The page is cut first; only its products have their children looked up.
PRODUCTS = Read(f"""
SELECT json_build_object(
  'products', coalesce((
    SELECT json_agg(json_build_object(
      'uid', p.uid,
      'display_name', p.display_name,
      'skus', coalesce((
        SELECT json_agg(json_build_object(
          'uid', s.uid,
          'display_name', s.display_name,
          'pzn', s.pzn,
          'shop_skus', coalesce((
            SELECT json_agg(json_build_object(
              'uid', ss.uid, 'shop_uid', ss.shop_uid, 'external_id', ss.external_id)
              ORDER BY ss.position, ss.uid)
            FROM shop_skus ss
            WHERE ss.organisation_id = $1 AND ss.sku_uid = s.uid AND ss.deleted_at IS NULL
              AND ss.shop_uid {_SHOP_LIVES}), '[]'),
          'pharmacy_skus', coalesce((
            SELECT json_agg(json_build_object(
              'uid', ps.uid, 'pharmacy_uid', ps.pharmacy_uid, 'price', ps.price, 'stock', ps.stock,
              'external_id', ps.external_id) ORDER BY ps.position, ps.uid)
            FROM pharmacy_skus ps
            WHERE ps.organisation_id = $1 AND ps.sku_uid = s.uid AND ps.deleted_at IS NULL
              AND ps.pharmacy_uid {_PHARMACY_LIVES}), '[]'))
          ORDER BY s.position, s.uid)
        FROM skus s
        WHERE s.organisation_id = $1 AND s.product_uid = p.uid AND s.deleted_at IS NULL), '[]'),
      'shop_products', coalesce((
        SELECT json_agg(json_build_object(
          'uid', sp.uid, 'shop_uid', sp.shop_uid, 'external_id', sp.external_id) ORDER BY sp.position, sp.uid)
        FROM shop_products sp
        WHERE sp.organisation_id = $1 AND sp.product_uid = p.uid AND sp.deleted_at IS NULL
          AND sp.shop_uid {_SHOP_LIVES}), '[]'))
      ORDER BY p.sort_key, p.uid)
    FROM (
      SELECT uid, display_name, sort_key FROM products
      WHERE organisation_id = $1 AND deleted_at IS NULL
      ORDER BY sort_key, uid LIMIT $4::bigint OFFSET $5::bigint
    ) p), '[]'),
  'totalRegistries', n.total,
  'totalPages', (n.total + $4::bigint - 1) / $4::bigint)::text AS body
FROM (SELECT count(*) AS total FROM products WHERE organisation_id = $1 AND deleted_at IS NULL) n
""")
