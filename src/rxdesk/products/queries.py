"""Reads of products: one statement each."""

from __future__ import annotations

from rxdesk.access import Read

# $4: rows a page, $5: rows before it. The page is cut first. A product's document is kept by triggers; one that has
# none, since it was written past them, is put together here.
PRODUCTS = Read("""
SELECT '{"products": [' || coalesce((
    SELECT string_agg(coalesce(d.document,
      (SELECT n.document FROM product_documents_of($1, ARRAY[p.uid]) n)), ', ' ORDER BY p.sort_key, p.uid)
    FROM (
      SELECT uid, sort_key FROM products
      WHERE organisation_id = $1 AND deleted_at IS NULL
      ORDER BY sort_key, uid LIMIT $4::bigint OFFSET $5::bigint
    ) p
    LEFT JOIN product_documents d ON d.organisation_id = $1 AND d.uid = p.uid), '')
  || '], "totalRegistries": ' || n.total
  || ', "totalPages": ' || (n.total + $4::bigint - 1) / $4::bigint || '}' AS body
FROM (SELECT count(*) AS total FROM products WHERE organisation_id = $1 AND deleted_at IS NULL) n
""")
