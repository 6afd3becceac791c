"""What live streams of the waiting room read: the beginning of one, and a shop's room for all that follow it.

Positions are those of the outbox (rxdesk.webhooks.outbox): a statement that gives one gives the state as of it, since a
change and its event are one transaction and positions become visible in their order.
"""

from __future__ import annotations

from typing import Final

from rxdesk.access import Read
from rxdesk.waiting_room.desk_queries import BOARD
from rxdesk.waiting_room.queries import STANDING, STATUS

MOST_STEPS: Final = 1000
"""Steps that one read gives, or a client may have missed; one more tells that there are more."""

# A client that missed more than this of its organisation's events gets the state instead of looking for its own.
_MOST_EVENTS: Final = 10_000

# The steps of visits after a position, as events `e`.
_STEP = "e.position, e.subject_uid, convert_from(e.body, 'UTF8')::json -> 'data' AS data"
_OF_VISITS = "e.event_type = 'waiting_room_updated'"
_STEPS_OF_VISIT = f"""
SELECT {_STEP} FROM events e
WHERE e.organisation_id = $1 AND {_OF_VISITS} AND e.position > $5::bigint AND e.subject_uid = v.uid
ORDER BY e.position LIMIT {MOST_STEPS + 1}"""
# By each event's visit, and not by all visits of the shop, which the planner might think are few.
_STEPS_OF_SHOP = f"""
SELECT {_STEP} FROM events e
WHERE e.organisation_id = $1 AND {_OF_VISITS} AND e.position > $8::bigint AND $4 = (
  SELECT x.shop_uid FROM waiting_room_visits x WHERE x.organisation_id = $1 AND x.uid = e.subject_uid)
ORDER BY e.position LIMIT {MOST_STEPS + 1}"""

# Where a stream begins: the present position, and what was missed since the client's. A position is good while the
# event after it is kept and young, so that none after it was pruned.
_BEGINNING = f"""
SELECT t.last, t.resumed, CASE WHEN t.resumed THEN coalesce((
    SELECT json_agg(json_build_array(m.position, m.data) ORDER BY m.position) FROM ({{steps}}) m), '[]')
  ELSE '[]' END AS steps
FROM (
  SELECT l.last, {{after}}::bigint IS NOT NULL AND l.last - {{after}}::bigint BETWEEN 0 AND {_MOST_EVENTS}
    AND (l.last = {{after}}::bigint OR EXISTS (
      SELECT FROM events n WHERE n.organisation_id = $1 AND n.position = {{after}}::bigint + 1
        AND n.occurred_at >= {{since}}::timestamptz)) AS resumed
  FROM (
    SELECT coalesce(max(k.last_position), 0) AS last FROM event_streams k
    WHERE k.organisation_id = $1 AND k.uid = 'all') l
) t"""
_BODY = """json_build_object(
  'topic', {topic}, 'position', p.last, 'resumed', p.resumed, 'steps', p.steps, 'document', s.body)::text AS body"""

# $4: uid, $5: the client's position or NULL, $6: events since when are young
VISIT = Read(f"""
SELECT {_BODY.format(topic="v.shop_uid")}
FROM waiting_room_visits v
CROSS JOIN LATERAL ({STATUS.query}) s
CROSS JOIN LATERAL ({_BEGINNING.format(after="$5", since="$6", steps=_STEPS_OF_VISIT)}) p
WHERE v.organisation_id = $1 AND v.uid = $4 AND v.deleted_at IS NULL
""")

# $4 to $7 as for the board, $8: the client's position or NULL, $9: events since when are young
SHOP = Read(f"""
SELECT {_BODY.format(topic="$4::text")}
FROM ({BOARD.query}) s
CROSS JOIN ({_BEGINNING.format(after="$8", since="$9", steps=_STEPS_OF_SHOP)}) p
""")

# A room for all who follow it, as rows of a kind; the keys too, as whoever's key is no longer good gets nothing of it.
# Who is followed is found among those who wait by a hash of the uids, which the detour by IS TRUE keeps from becoming a
# join: one that was planned for a few would compare thousands with thousands.
# $2: keys, $3: the permission, $4 to $7 as for the board, $8: the position after which steps are wanted, $9: visits,
# $10: whether the board is wanted
ROOM = f"""
SELECT 'key' AS kind, NULL::bigint AS position, k.uid, NULL AS body FROM api_keys k
WHERE k.organisation_id = $1 AND k.uid = ANY ($2::text[]) AND k.revoked_at IS NULL
  AND (k.expires_at IS NULL OR k.expires_at > now()) AND k.pharmacy_uid IS NULL AND $3::text = ANY (k.permissions)
UNION ALL
SELECT 'position', t.last_position, NULL, NULL FROM event_streams t WHERE t.organisation_id = $1 AND t.uid = 'all'
UNION ALL
SELECT 'step', m.position, m.subject_uid, m.data::text FROM ({_STEPS_OF_SHOP}) m
UNION ALL
SELECT 'visit', NULL, v.uid, {STANDING}::text
FROM (
  SELECT w.*, row_number() OVER (ORDER BY w.turn) AS place FROM waiting_room_visits w
  WHERE w.organisation_id = $1 AND w.shop_uid = $4 AND w.status = 'waiting' AND w.deleted_at IS NULL) v
CROSS JOIN LATERAL (SELECT v.place AS position) q
LEFT JOIN waiting_rooms r ON r.organisation_id = $1 AND r.uid = $4
WHERE (v.uid IN (SELECT g.uid FROM unnest($9::text[]) AS g (uid))) IS TRUE
UNION ALL
SELECT 'visit', NULL, v.uid, {STANDING}::text
FROM unnest($9::text[]) AS g (uid)
CROSS JOIN LATERAL (
  SELECT * FROM waiting_room_visits w WHERE w.organisation_id = $1 AND w.uid = g.uid LIMIT 1) v
CROSS JOIN (SELECT NULL::bigint AS position) q
LEFT JOIN waiting_rooms r ON r.organisation_id = $1 AND r.uid = $4
WHERE v.status <> 'waiting' AND v.deleted_at IS NULL
UNION ALL
SELECT 'board', NULL, NULL, b.body FROM ({BOARD.query}) b WHERE $10::boolean"""
