"""What an import tells of when it is asked to: the events of the rows that it added or changed, in its transaction.

While rows are written, the statements that write them note them in a temporary table. At the end, when all that an
event's body names is there, the events are made of it: set by set in the database, never row by row here, and stored
as those of a command are.

The noting parts go into the statements of rxdesk.importing.statements; $1 is the organisation.
"""

from __future__ import annotations

from rxdesk.db.pool import Connection
from rxdesk.kit.clock import Clock
from rxdesk.kit.uids import new_uid
from rxdesk.pharmacies.queries import ORDER_DOCUMENT
from rxdesk.webhooks.outbox import FAN_OUT, NOTICE

CREATE = """
CREATE TEMPORARY TABLE import_told (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL,
  uid text COLLATE "C" NOT NULL, added boolean NOT NULL, previous_stock integer) ON COMMIT DROP"""

_NOTED = """, told AS (INSERT INTO import_told (kind, uid, added)
SELECT '{table}', w.uid, w.added FROM {{rows}} w)"""

# The parts of one statement all see what was there before it, so the stock that is read here is the one before.
# no-tenant: goes into a statement of rxdesk.importing.statements; a test reads those that are made
_STOCK = """, told AS (INSERT INTO import_told (kind, uid, added, previous_stock)
SELECT 'pharmacy_skus', w.uid, w.added, b.stock FROM {rows} w
LEFT JOIN LATERAL (
  SELECT x.stock FROM pharmacy_skus x WHERE x.organisation_id = $1 AND x.uid = w.uid OFFSET 0) b ON true
WHERE w.deleted_at IS NULL AND w.stock IS DISTINCT FROM b.stock)"""

NOTING: dict[str, str] = {
    **{
        table: _NOTED.format(table=table)
        for table in ("orders", "prescriptions", "pharmacy_orders", "waiting_room_visits")
    },
    "pharmacy_skus": _STOCK,
}
_TIME_ENDS = len("evt-") + 10  # ten characters of a uid's body are its time
_CHUNK = 25_000  # events a statement: what it holds in memory is bounded by this

_THIN = """json_build_object('uid', x.uid, 'status', x.status, 'created_at', unix_seconds(x.created_at),
    'updated_at', unix_seconds(x.updated_at))"""
_RANGE = "t.number BETWEEN $6 AND $7"

# Each looks from the note for its row, as in rxdesk.importing.statements: what PostgreSQL knows of a stored table may
# be from before this very transaction.
_ORDERS = f"""
SELECT t.number, CASE WHEN t.added THEN 'order_created' ELSE 'order_updated' END AS event_type,
  x.uid AS subject_uid, NULL::text AS pharmacy_uid, {_THIN} AS data, NULL::json AS cut
FROM import_told t CROSS JOIN LATERAL (
  SELECT * FROM orders o WHERE o.organisation_id = $1 AND o.uid = t.uid OFFSET 0) x
WHERE t.kind = 'orders' AND {_RANGE}"""

_PRESCRIPTIONS = f"""
SELECT t.number, CASE WHEN t.added THEN 'prescription_created' ELSE 'prescription_updated' END AS event_type,
  x.uid AS subject_uid, NULL::text AS pharmacy_uid, {_THIN} AS data, NULL::json AS cut
FROM import_told t CROSS JOIN LATERAL (
  SELECT * FROM prescriptions p WHERE p.organisation_id = $1 AND p.uid = t.uid OFFSET 0) x
WHERE t.kind = 'prescriptions' AND {_RANGE}"""

_VISITS = f"""
SELECT t.number, 'waiting_room_updated' AS event_type,
  x.uid AS subject_uid, NULL::text AS pharmacy_uid, {_THIN} AS data, NULL::json AS cut
FROM import_told t CROSS JOIN LATERAL (
  SELECT * FROM waiting_room_visits v WHERE v.organisation_id = $1 AND v.uid = t.uid OFFSET 0) x
WHERE t.kind = 'waiting_room_visits' AND {_RANGE}"""

_PHARMACY_ORDERS = f"""
SELECT t.number,
  CASE WHEN t.added THEN 'pharmacy_order_created' ELSE 'pharmacy_order_updated' END AS event_type,
  po.uid AS subject_uid, po.pharmacy_uid, {ORDER_DOCUMENT} AS data,
  json_build_object('uid', po.uid, 'status', po.status, 'created_at', unix_seconds(po.created_at),
    'updated_at', unix_seconds(po.updated_at), 'deleted_at', unix_seconds(po.deleted_at)) AS cut
FROM import_told t CROSS JOIN LATERAL (
  SELECT * FROM pharmacy_orders o WHERE o.organisation_id = $1 AND o.uid = t.uid OFFSET 0) po
WHERE t.kind = 'pharmacy_orders' AND {_RANGE}"""

_PHARMACY_SKUS = f"""
SELECT t.number, 'pharmacy_sku_stock_updated' AS event_type, k.uid AS subject_uid, k.pharmacy_uid,
  json_build_object('uid', k.uid, 'external_id', k.external_id, 'price', k.price, 'stock', k.stock,
    'previous_stock', t.previous_stock,
    'pharmacy', (SELECT json_build_object('uid', ph.uid, 'display_name', ph.display_name)
      FROM pharmacies ph WHERE ph.organisation_id = $1 AND ph.uid = k.pharmacy_uid),
    'sku', (SELECT json_build_object('uid', s.uid, 'display_name', s.display_name, 'pzn', s.pzn)
      FROM skus s WHERE s.organisation_id = $1 AND s.uid = k.sku_uid),
    'updated_at', unix_seconds(k.updated_at)) AS data,
  json_build_object('uid', k.uid, 'updated_at', unix_seconds(k.updated_at)) AS cut
FROM import_told t CROSS JOIN LATERAL (
  SELECT * FROM pharmacy_skus o WHERE o.organisation_id = $1 AND o.uid = t.uid OFFSET 0) k
WHERE t.kind = 'pharmacy_skus' AND {_RANGE}"""

# A body is made here and never again: what is stored is what is signed and sent. A uid is the time, in $5, and 64
# bits of chance: those of a random UUID's first twelve and last four hexadecimal digits.
# $2 when, $3 and $4 the actor, $5 how the uids begin, $6 and $7 the range of notes
_STORE = f"""
WITH told AS (
  {_ORDERS} UNION ALL {_PRESCRIPTIONS} UNION ALL {_PHARMACY_ORDERS} UNION ALL {_PHARMACY_SKUS} UNION ALL {_VISITS}
), drawn AS MATERIALIZED (
  SELECT t.*, replace(gen_random_uuid()::text, '-', '') AS chance,
    row_number() OVER (ORDER BY t.number) AS place
  FROM told t
), added AS MATERIALIZED (
  SELECT $5::text || upper(substr(d.chance, 1, 12) || right(d.chance, 4)) AS uid, d.event_type, d.subject_uid,
    d.pharmacy_uid, d.place AS number,
    convert_to(json_build_object('event_type', d.event_type, 'timestamp', unix_seconds($2::timestamptz),
      'payload_version', '1', 'data', d.data)::text, 'UTF8') AS body,
    CASE WHEN d.cut IS NOT NULL THEN convert_to(json_build_object('event_type', d.event_type,
      'timestamp', unix_seconds($2::timestamptz), 'payload_version', '1', 'data', d.cut)::text, 'UTF8')
    END AS cut_body
  FROM drawn d
), {FAN_OUT}
SELECT {NOTICE}"""


async def tell(connection: Connection, organisation_id: int, clock: Clock) -> int:
    """Store the events of all that was noted, as the transaction's last statements; give how many there are.

    They happen when they are stored, since an import may have begun long before that: who looks for what happened since
    a subscription ended finds them.
    """
    last: int = await connection.fetchval("SELECT coalesce(max(number), 0) FROM import_told")
    await connection.execute("ANALYZE import_told")
    for first in range(1, last + 1, _CHUNK):
        now = clock()
        begins = new_uid("evt", milliseconds=int(now.timestamp() * 1000))[:_TIME_ENDS]
        await connection.execute(
            _STORE, organisation_id, now, "operator", "import", begins, first, min(first + _CHUNK - 1, last)
        )
    return last
