"""Reads of events, deliveries and all subscriptions, for those who operate them: one statement each."""

from __future__ import annotations

from rxdesk.access import Read
from rxdesk.webhooks.events import EVENT_TYPES
from rxdesk.webhooks.log_schemas import MAX_LIMIT, DeliveriesWanted

WHOLE_FOR = (list(EVENT_TYPES), [" ".join(event.needs) for event in EVENT_TYPES.values()])
"""For each type the permissions that a key needs to see its data whole, as the queries of events take them."""

# `types` and `needs` stand side by side. A type that is not in the catalogue any more is seen cut.
_EVENT = """
json_build_object(
  'uid', e.uid, 'event_type', e.event_type, 'subject_uid', e.subject_uid, 'occurred_at', unix_seconds(e.occurred_at),
  'body', convert_from(CASE WHEN e.cut_body IS NULL OR EXISTS (
    SELECT FROM unnest({types}::text[], {needs}::text[]) AS w (event_type, needs)
    WHERE w.event_type = e.event_type AND c.permissions @> string_to_array(w.needs, ' '))
    THEN e.body ELSE e.cut_body END, 'UTF8')::json)"""

# $4: uid of the event after which, or empty; $5: rows, $6: type or NULL; $7, $8: WHOLE_FOR
# All types and one are two queries, of which one runs, each with an index that does not suit the other: with an OR a
# plan for any type walks through all of them, and a bare comparison of `position` suits the index of all types.
EVENTS = Read(f"""
SELECT json_build_object(
  'data', coalesce(json_agg({_EVENT.format(types="$7", needs="$8")} ORDER BY e.position)
    FILTER (WHERE e.uid IS NOT NULL), '[]'),
  'next', coalesce((array_agg(e.uid ORDER BY e.position DESC) FILTER (WHERE e.uid IS NOT NULL))[1],
    nullif($4::text, '')))::text AS body
FROM (
  SELECT CASE WHEN $4::text = '' THEN 0 ELSE (
    SELECT position FROM events WHERE organisation_id = $1 AND uid = $4::text) END AS position
  OFFSET 0 -- found once, and not at each mention
) a
LEFT JOIN LATERAL (
  (SELECT * FROM events WHERE organisation_id = $1 AND position > a.position AND $6::text IS NULL
    ORDER BY position LIMIT $5::bigint)
  UNION ALL
  (SELECT * FROM events WHERE organisation_id = $1 AND event_type = $6::text
    AND (event_type, position) > ($6::text, a.position) ORDER BY position LIMIT $5::bigint)
) e ON true
WHERE a.position IS NOT NULL GROUP BY a.position
""")

# $4: uid; $5, $6: WHOLE_FOR
EVENT = Read(f"""
SELECT {_EVENT.format(types="$5", needs="$6")}::text AS body
FROM events e WHERE e.organisation_id = $1 AND e.uid = $4
""")

_DELIVERY = """
  'uid', d.uid, 'status', d.status, 'event_uid', d.event_uid, 'event_type', e.event_type,
  'subject_uid', e.subject_uid, 'subscription_uid', d.subscription_uid, 'target', n.target,
  'attempt_count', d.attempts, 'created_at', unix_seconds(d.created_at),
  'next_attempt_at', CASE WHEN d.status = 'pending' THEN unix_seconds(d.next_attempt_at) END,
  'ended_at', unix_seconds(d.ended_at), 'last_status_code', a.status_code, 'last_error', a.error"""

_WITH_ITS_KIN = """
  JOIN events e ON e.organisation_id = $1 AND e.uid = d.event_uid
  JOIN notification_subscriptions n ON n.organisation_id = $1 AND n.uid = d.subscription_uid
  LEFT JOIN delivery_attempts a ON a.organisation_id = $1 AND a.delivery_uid = d.uid AND a.number = d.attempted"""

# $4: rows a page, $5: rows before it; each of the others may be NULL: $6 subscription, $7 event, $8 status, $9 type,
# $10 and $11 from and before which second they were made. There is one plan for all arguments, and each index serves
# only what compares its column in any case: so there is a statement for each index, which leaves the planner no other.
_WANTED = """
d.organisation_id = $1 AND {whose}
  AND ($8::text IS NULL OR d.status = $8::text)
  AND ($9::text IS NULL OR EXISTS (SELECT FROM events t
    WHERE t.organisation_id = $1 AND t.uid = d.event_uid AND t.event_type = $9::text))
  AND ($11::bigint IS NULL OR d.created_at < to_timestamp($11::bigint))"""

_PAGE = f"""
SELECT json_build_object(
  'data', coalesce((
    SELECT json_agg(json_build_object({_DELIVERY}) ORDER BY d.created_at DESC, d.uid DESC)
    FROM (
      SELECT * FROM deliveries d WHERE {_WANTED}
      ORDER BY d.created_at DESC, d.uid DESC LIMIT $4::bigint OFFSET $5::bigint
    ) d {_WITH_ITS_KIN}), '[]'),
  'totalRegistries', t.total,
  'totalPages', (t.total + $4::bigint - 1) / $4::bigint)::text AS body
FROM (SELECT count(*) AS total FROM deliveries d WHERE {_WANTED}) t
"""
_SINCE = "AND ($10::bigint IS NULL OR d.created_at >= to_timestamp($10::bigint))"
_ALL = "d.created_at >= coalesce(to_timestamp($10::bigint), '-infinity') AND $6::text IS NULL AND $7::text IS NULL"
_OF_SUBSCRIPTION = f"d.subscription_uid = $6::text AND $7::text IS NULL {_SINCE}"
_OF_EVENT = f"d.event_uid = $7::text AND ($6::text IS NULL OR d.subscription_uid = $6::text) {_SINCE}"
DELIVERIES = Read(_PAGE.format(whose=_ALL))
DELIVERIES_OF_SUBSCRIPTION = Read(_PAGE.format(whose=_OF_SUBSCRIPTION))
DELIVERIES_OF_EVENT = Read(_PAGE.format(whose=_OF_EVENT))

# $4: uid
DELIVERY = Read(f"""
SELECT json_build_object({_DELIVERY}, 'attempts', coalesce((
  SELECT json_agg(json_build_object(
    'number', t.number, 'started_at', unix_seconds(t.started_at), 'duration_ms', t.duration_ms,
    'status_code', t.status_code, 'error', t.error, 'answer', readable_text(t.answer)) ORDER BY t.number)
  FROM delivery_attempts t WHERE t.organisation_id = $1 AND t.delivery_uid = d.uid), '[]'))::text AS body
FROM deliveries d {_WITH_ITS_KIN}
WHERE d.organisation_id = $1 AND d.uid = $4
""")

# $4: rows a page, $5: rows before it
SUBSCRIPTIONS = Read("""
SELECT json_build_object(
  'data', coalesce((
    SELECT json_agg(json_build_object(
      'uid', n.uid, 'notification_type', n.notification_type, 'target', n.target,
      'payload_version', n.payload_version, 'pharmacy_uid', n.pharmacy_uid, 'full_data', n.full_data,
      'created_at', unix_seconds(n.created_at), 'deactivated_at', unix_seconds(n.deactivated_at),
      'deactivated_reason', n.deactivated_reason, 'failing_since', unix_seconds(n.failing_since),
      'previous_secret_until', unix_seconds(n.previous_secret_until)) ORDER BY n.created_at DESC, n.uid DESC)
    FROM (
      SELECT * FROM notification_subscriptions WHERE organisation_id = $1
      ORDER BY created_at DESC, uid DESC LIMIT $4::bigint OFFSET $5::bigint
    ) n), '[]'),
  'totalRegistries', t.total,
  'totalPages', (t.total + $4::bigint - 1) / $4::bigint)::text AS body
FROM (SELECT count(*) AS total FROM notification_subscriptions WHERE organisation_id = $1) t
""")


def deliveries(wanted: DeliveriesWanted) -> tuple[Read, tuple[object, ...]]:
    """Give the read of a page of deliveries, and its arguments."""
    if wanted.event_uid is not None:
        read = DELIVERIES_OF_EVENT
    else:
        read = DELIVERIES if wanted.subscription_uid is None else DELIVERIES_OF_SUBSCRIPTION
    size = min(wanted.limit, MAX_LIMIT)
    return read, (
        size,
        wanted.page * size,
        wanted.subscription_uid,
        wanted.event_uid,
        wanted.status,
        wanted.kind,
        wanted.since,
        wanted.until,
    )
