"""The benchmark's data, made inside the database with generate_series, so that it takes seconds.

One call fills one organisation. All is a function of row numbers, so two runs have the same rows; instants lie
before the day's beginning, so that periods can be asked for that end before now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rxdesk.db.pool import Connection
from rxdesk.organisations import commands
from rxdesk.permissions import ALL

BATCH = 100_000
DOCTORS = 60
PRODUCTS = 120
SHOPS = 8
PASSES = 200
DAYS = 730
YEAR = 366
# Doctors with a given number of prescriptions, where there are enough orders: all others share the rest.
BUSY, QUIET = 100_000, 100

_ACTOR = "'system', 'bench'"
# Patients come before orders that name them, orders before their children.
_BASE = (
    f"""INSERT INTO shops (organisation_id, uid, identifier, display_name, created_at, updated_at,
      actor_kind, actor_uid)
    SELECT $1, 'shop-' || i, 'shop-' || i, 'Shop ' || i, $2, $2, {_ACTOR} FROM generate_series(1, {SHOPS}) i""",
    f"""INSERT INTO pharmacies (organisation_id, uid, display_name, created_at, updated_at, actor_kind, actor_uid)
    SELECT $1, 'ph-' || i, 'Apotheke ' || i, $2, $2, {_ACTOR} FROM generate_series(1, 4) i""",
    f"""INSERT INTO delivery_types (organisation_id, uid, identifier, display_name, created_at, updated_at, actor_kind,
      actor_uid)
    SELECT $1, 'dt-' || i, 'dt-' || i, 'Versand ' || i, $2, $2, {_ACTOR} FROM generate_series(1, 2) i""",
    f"""INSERT INTO doctors (organisation_id, uid, display_name, sort_key, email, minutes_to_respond,
      can_sign_prescriptions, active, created_at, updated_at, actor_kind, actor_uid)
    SELECT $1, 'doc-' || i, 'Dr. Muster ' || i, 'dr. muster ' || i, 'doc' || i || '@example.org', 5 + i,
      i % 5 > 0, i % 9 > 0, $2, $2, {_ACTOR} FROM generate_series(1, {DOCTORS}) i""",
    f"""INSERT INTO products (organisation_id, uid, display_name, sort_key, created_at, updated_at, actor_kind,
      actor_uid)
    SELECT $1, 'prod-' || i, 'Produkt ' || i, 'produkt ' || i, $2, $2, {_ACTOR}
    FROM generate_series(1, {PRODUCTS}) i""",
    f"""INSERT INTO skus (organisation_id, uid, product_uid, position, display_name, pzn)
    SELECT $1, 'sku-' || i || '-' || n, 'prod-' || i, n, n || ' Stück', lpad((i * 10 + n)::text, 8, '0')
    FROM generate_series(1, {PRODUCTS}) i, generate_series(1, 3) n""",
    f"""INSERT INTO shop_products (organisation_id, uid, product_uid, shop_uid, position, external_id)
    SELECT $1, 'sp-' || i || '-' || n, 'prod-' || i, 'shop-' || n, n, 'ext-' || i
    FROM generate_series(1, {PRODUCTS}) i, generate_series(1, 2) n""",
    f"""INSERT INTO shop_skus (organisation_id, uid, sku_uid, shop_uid, position, external_id)
    SELECT $1, 'ssku-' || i || '-' || n || '-' || s, 'sku-' || i || '-' || n, 'shop-' || s, s, 'ext-' || i
    FROM generate_series(1, {PRODUCTS}) i, generate_series(1, 3) n, generate_series(1, 2) s""",
    f"""INSERT INTO pharmacy_skus (organisation_id, uid, sku_uid, pharmacy_uid, position, price, stock, external_id,
      updated_at)
    SELECT $1, 'psku-' || i || '-' || n || '-' || s, 'sku-' || i || '-' || n, 'ph-' || s, s, 500 + i, i % 50,
      'ext-' || i, $2
    FROM generate_series(1, {PRODUCTS}) i, generate_series(1, 3) n, generate_series(1, 3) s""",
    f"""INSERT INTO wallet_pass_templates (organisation_id, uid, shop_uid, display_name, sort_key, pass_type, fields,
      created_at, updated_at, actor_kind, actor_uid)
    VALUES ($1, 'wpt-1', 'shop-1', 'Karte', 'karte', 'generic', ARRAY['next_date'], $2, $2, {_ACTOR})""",
)
_PATIENTS = f"""
INSERT INTO patients (organisation_id, uid, display_name, first_name, last_name, email, email_key,
  date_of_birth, profile, created_at, updated_at, actor_kind, actor_uid)
SELECT $1, 'pp-' || lpad(i::text, 8, '0'), 'Erika Muster ' || i, 'Erika', 'Muster ' || i,
  'erika' || i || '@example.org', 'erika' || i || '@example.org', date '1950-01-01' + i % 20000,
  jsonb_build_object('phone', '+49 30 ' || i, 'city', 'Berlin'),
  $2::timestamptz + i * interval '1 millisecond', $2, {_ACTOR}
FROM generate_series($3::int, $4::int) i"""
_SUBMISSIONS = """
INSERT INTO submissions (organisation_id, uid, patient_uid, position, intent, signed_at)
SELECT $1, 'sub-' || i, 'pp-' || lpad(i::text, 8, '0'), 0, 'erectile-dysfunction',
  $2::timestamptz + interval '700 days' - (i % 600) * interval '1 day'
FROM generate_series($3::int, $4::int) i"""
_PASSES = f"""
INSERT INTO wallet_passes (organisation_id, uid, wallet_pass_template_uid, shop_customer_id, patient_uid, status,
  field_values, created_at, updated_at, actor_kind, actor_uid)
SELECT $1, 'wp-' || i, 'wpt-1', 'customer-' || i, 'pp-' || lpad(i::text, 8, '0'), 'active',
  jsonb_build_object('next_date', '1. Juli'), $2, $2, {_ACTOR}
FROM generate_series(1, {PASSES}) i"""

_DOCUMENTS = """
INSERT INTO product_documents (organisation_id, uid, document)
SELECT $1, d.uid, d.document
FROM product_documents_of($1, ARRAY(SELECT uid FROM products WHERE organisation_id = $1)) d"""

_ORDER = "'ord-' || lpad(i::text, 8, '0')"
# $5: patients. The items of an order lie together, as whoever writes an order leaves them.
_ORDERS = (
    f"""INSERT INTO orders (organisation_id, uid, status, name, patient_uid, email, email_key, created_at, updated_at,
      actor_kind, actor_uid)
    SELECT $1, {_ORDER}, (ARRAY['completed', 'waiting for doctor', 'waiting for pharmacy', 'cancelled'])[i % 4 + 1],
      '#' || i, 'pp-' || lpad((i % $5 + 1)::text, 8, '0'), 'order' || i || '@example.org',
      'order' || i || '@example.org', $2::timestamptz + (i % {DAYS}) * interval '1 day' + i % 86400 * interval '1 s',
      $2::timestamptz + interval '{DAYS} days', {_ACTOR} FROM generate_series($3::int, $4::int) i""",
    f"""INSERT INTO shop_orders (organisation_id, uid, order_uid, shop_uid, position, external_id)
    SELECT $1, 'so-' || i, {_ORDER}, 'shop-' || (i % {SHOPS} + 1), 0, 'ext-' || i
    FROM generate_series($3::int, $4::int) i, (SELECT $2::timestamptz, $5::int) unused""",
    f"""INSERT INTO order_items (organisation_id, uid, order_uid, sku_uid, position, quantity)
    SELECT $1, 'oi-' || i || '-' || n, {_ORDER}, 'sku-' || (i % {PRODUCTS} + 1) || '-' || n, n, n
    FROM generate_series($3::int, $4::int) i, generate_series(1, 2) n, (SELECT $2::timestamptz, $5::int) unused
    ORDER BY i, n""",
    f"""INSERT INTO fulfillment_orders (organisation_id, uid, order_uid, position)
    SELECT $1, 'fo-' || i, {_ORDER}, 0
    FROM generate_series($3::int, $4::int) i, (SELECT $2::timestamptz, $5::int) unused""",
    f"""INSERT INTO fulfillment_order_items (organisation_id, uid, order_uid, fulfillment_order_uid, order_item_uid,
      position)
    SELECT $1, 'foi-' || i || '-' || n, {_ORDER}, 'fo-' || i, 'oi-' || i || '-' || n, n
    FROM generate_series($3::int, $4::int) i, generate_series(1, 2) n, (SELECT $2::timestamptz, $5::int) unused
    ORDER BY i, n""",
    f"""INSERT INTO pharmacy_orders (organisation_id, uid, order_uid, fulfillment_order_uid, pharmacy_uid,
      delivery_type_uid, position, status, created_at, updated_at, actor_kind, actor_uid)
    SELECT $1, 'po-' || i, {_ORDER}, 'fo-' || i, 'ph-' || (i % 4 + 1), 'dt-1', 0, 'completed', $2, $2, {_ACTOR}
    FROM generate_series($3::int, $4::int) i, (SELECT $5::int) unused WHERE i % 2 = 0""",
)
# $5: orders. Times to a decision are such as the rollup's histogram keeps exactly, since all contestants must
# give the same median. Doctor 1 has worked on each day of the last year, however few orders there are, so that answers
# of databases of any size are alike. Where there are enough orders, doctor 1 has 100,000 of them, and doctor 2 has 100
# on the days of this year.
_PRESCRIPTIONS = f"""
INSERT INTO prescriptions (organisation_id, uid, order_uid, fulfillment_order_uid, position, status, doctor_uid,
  assigned_at, decided_at, rendered, created_at, updated_at, actor_kind, actor_uid)
SELECT $1, 'px-' || lpad(i::text, 8, '0'), {_ORDER}, 'fo-' || i, 0, p.status,
  'doc-' || CASE WHEN i <= {YEAR} THEN 1 WHEN $5 < {2 * BUSY} THEN i % {DOCTORS} + 1 WHEN i <= {BUSY} THEN 1
                 WHEN i <= {BUSY + QUIET} THEN 2 ELSE i % {DOCTORS - 2} + 3 END,
  p.assigned_at,
  CASE WHEN p.status <> 'waiting_for_doctor'
    THEN p.assigned_at + decision_bucket_seconds(60 + i % 400) * interval '1 s' END,
  i % 3 > 0, p.assigned_at, p.assigned_at, {_ACTOR}
FROM generate_series($3::int, $4::int) i CROSS JOIN LATERAL (SELECT
  (ARRAY['signed', 'signed', 'approved', 'declined', 'waiting_for_doctor', 'cancelled'])[i % 6 + 1] AS status,
  $2::timestamptz + i % 80000 * interval '1 s' + interval '1 day'
    * CASE WHEN i <= {YEAR} THEN {DAYS - YEAR} + i WHEN $5 >= {2 * BUSY} AND i BETWEEN {BUSY} + 1 AND {BUSY + QUIET}
           THEN {DAYS - QUIET - 30 - BUSY} + i ELSE i % {DAYS} END AS assigned_at) p"""


@dataclass(frozen=True, slots=True)
class Filled:
    """An organisation full of data: `patients` and `orders` are counts, `start` is the first day's beginning."""

    key: str
    organisation_id: int
    orders: int
    patients: int
    start: datetime


async def fill(
    connection: Connection,
    slug: str,
    orders: int,
    *,
    today: datetime,
    tell: Callable[[int], None] = lambda _: None,
) -> Filled:
    """Make one organisation with `orders` orders, as a superuser; `tell` hears how many are done.

    Triggers and foreign keys rest, but for prescriptions, whose trigger keeps the statistics.
    """
    start = today.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(
        days=DAYS + 1
    )
    organisation = await commands.create_organisation(connection, slug=slug, display_name=slug)
    # High limits and not none: the limiter is a part of what is measured.
    key = await commands.create_key(
        connection,
        organisation.id,
        name="bench",
        permissions=list(ALL),
        per_second=1_000_000,
        per_minute=60_000_000,
    )
    patients = max(1000, orders // 2)
    await connection.execute("SET session_replication_role = replica")
    for statement in _BASE:
        parameters = (organisation.id, start) if "$2" in statement else (organisation.id,)
        await connection.execute(statement, *parameters)
    for first in range(1, patients + 1, BATCH):
        last = min(first + BATCH - 1, patients)
        await connection.execute(_PATIENTS, organisation.id, start, first, last)
        await connection.execute(_SUBMISSIONS, organisation.id, start, first, last)
    await connection.execute(_DOCUMENTS, organisation.id)
    await connection.execute(_PASSES, organisation.id, start)
    for first in range(1, orders + 1, BATCH):
        last = min(first + BATCH - 1, orders)
        for statement in _ORDERS:
            await connection.execute(statement, organisation.id, start, first, last, patients)
        await connection.execute("SET session_replication_role = origin")
        await connection.execute(_PRESCRIPTIONS, organisation.id, start, first, last, orders)
        await connection.execute("SET session_replication_role = replica")
        tell(last)
    await connection.execute("SET session_replication_role = origin")
    return Filled(key.key, organisation.id, orders, patients, start)
