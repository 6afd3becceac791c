"""Many rows at once: an organisation with a given number of everything."""

from __future__ import annotations

import asyncpg

from rxdesk.db import embedded
from rxdesk.db.pool import Connection

# The uids are the same in every organisation. Each order has one of every kind of children.
_FILL = """
INSERT INTO shops (organisation_id, uid, identifier, display_name, :making)
SELECT :organisation, 'shop', 'shop', 'Shop', :made;
INSERT INTO pharmacies (organisation_id, uid, display_name, :making)
SELECT :organisation, 'ph', 'Pharmacy', :made;
INSERT INTO doctors (organisation_id, uid, display_name, sort_key, can_sign_prescriptions, active, :making)
SELECT :organisation, 'doc-' || i, 'D' || i, 'd' || i, true, true, :made
FROM generate_series(1, :few) i;
INSERT INTO products (organisation_id, uid, display_name, sort_key, :making)
SELECT :organisation, 'prod-' || i, 'P' || i, 'p' || i, :made
FROM generate_series(1, :few) i;
INSERT INTO skus (organisation_id, uid, product_uid, position, display_name)
SELECT :organisation, 'sku-' || i, 'prod-' || i, 0, 'S' || i
FROM generate_series(1, :few) i;
INSERT INTO shop_products (organisation_id, uid, product_uid, shop_uid, position)
SELECT :organisation, 'sp-' || i, 'prod-' || i, 'shop', 0
FROM generate_series(1, :few) i;
INSERT INTO shop_skus (organisation_id, uid, sku_uid, shop_uid, position)
SELECT :organisation, 'ssku-' || i, 'sku-' || i, 'shop', 0
FROM generate_series(1, :few) i;
INSERT INTO pharmacy_skus (organisation_id, uid, sku_uid, pharmacy_uid, position, updated_at)
SELECT :organisation, 'psku-' || i, 'sku-' || i, 'ph', 0, '2026-01-05'
FROM generate_series(1, :few) i;
INSERT INTO patients (organisation_id, uid, email, email_key, :making)
SELECT :organisation, 'pp-' || i, 'p' || i || '@example.com', 'p' || i || '@example.com', :made
FROM generate_series(1, :many) i;
INSERT INTO submissions (organisation_id, uid, patient_uid, position, intent, signed_at)
SELECT :organisation, 'sub-' || i, 'pp-' || i, 0, 'repeat', '2026-01-05'
FROM generate_series(1, :many) i;
INSERT INTO orders (organisation_id, uid, status, patient_uid, email, email_key, :making)
SELECT :organisation, 'ord-' || i, 'init', 'pp-' || i, 'p' || i || '@example.com', 'p' || i || '@example.com',
  :made
FROM generate_series(1, :many) i;
INSERT INTO shop_orders (organisation_id, uid, order_uid, shop_uid, position)
SELECT :organisation, 'so-' || i, 'ord-' || i, 'shop', 0
FROM generate_series(1, :many) i;
INSERT INTO order_items (organisation_id, uid, order_uid, sku_uid, position, quantity)
SELECT :organisation, 'oi-' || i, 'ord-' || i, 'sku-' || (1 + i % :few), 0, 1
FROM generate_series(1, :many) i;
INSERT INTO fulfillment_orders (organisation_id, uid, order_uid, position)
SELECT :organisation, 'fo-' || i, 'ord-' || i, 0
FROM generate_series(1, :many) i;
INSERT INTO fulfillment_order_items (organisation_id, uid, order_uid, fulfillment_order_uid, order_item_uid,
  position)
SELECT :organisation, 'foi-' || i, 'ord-' || i, 'fo-' || i, 'oi-' || i, 0
FROM generate_series(1, :many) i;
INSERT INTO prescriptions (organisation_id, uid, order_uid, fulfillment_order_uid, position, status,
  doctor_uid, assigned_at, decided_at, rendered, :making)
SELECT :organisation, 'px-' || i, 'ord-' || i, 'fo-' || i, 0, 'signed', 'doc-' || (1 + i % 12 % :few),
  '2026-01-01 10:00+00'::timestamptz + i % 50 * interval '1 day',
  '2026-01-01 10:07+00'::timestamptz + i % 50 * interval '1 day', false, :made
FROM generate_series(1, :many) i;
INSERT INTO waiting_room_visits (organisation_id, uid, shop_uid, patient_uid, status, turn, :making)
SELECT :organisation, 'q-' || i, 'shop', 'pp-' || i, 'waiting', i, :made
FROM generate_series(1, :few) i;
INSERT INTO waiting_room_visits (organisation_id, uid, shop_uid, patient_uid, status, turn, :making)
VALUES (:organisation, 'q-ended', 'shop', 'pp-1', 'completed', :few + 1, :made);
INSERT INTO wallet_pass_templates (organisation_id, uid, shop_uid, display_name, sort_key, pass_type, :making)
SELECT :organisation, 'wpt-' || i, 'shop', 'T' || i, 't' || i, 'generic', :made
FROM generate_series(1, :few) i;
INSERT INTO wallet_passes (organisation_id, uid, wallet_pass_template_uid, shop_customer_id, status, :making)
SELECT :organisation, 'wp-' || i, 'wpt-' || i, 'c-1', 'active', :made
FROM generate_series(1, :few) i;
INSERT INTO notification_subscriptions (organisation_id, uid, notification_type, target, target_key,
  payload_version, sealed_signing_secret, full_data, created_at, actor_kind, actor_uid)
SELECT :organisation, 'ns-' || i, 'order_created', 'https://example.com/' || i, 'https://example.com/' || i, '1',
  '', true, '2026-01-05',
  'system', 'test'
FROM generate_series(1, :few) i;
"""


async def fill(connection: Connection, organisation_id: int, *, many: int, few: int) -> None:
    """Insert `many` patients and orders with their children, `few` of everything else.

    The connection is set to the organisation, or is the owner's.
    """
    await connection.execute(
        _FILL.replace(":organisation", str(organisation_id))
        .replace(":many", str(many))
        .replace(":few", str(few))
        .replace(":making", "created_at, updated_at, actor_kind, actor_uid")
        .replace(":made", "'2026-01-05', '2026-01-05', 'system', 'test'")
    )


async def analyze(cluster: embedded.Address) -> None:
    """Count what there is now, so that no plan hangs on when PostgreSQL has last done so by itself."""
    owner = await asyncpg.connect(**cluster.connect_args(embedded.SUPERUSER))
    await owner.execute("ANALYZE")
    await owner.close()
