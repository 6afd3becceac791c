"""Sending again: deliveries are armed anew, or made where a subscription missed an event.

Run in the caller's transaction. An armed delivery is pending, at its first attempt again and due now. One that is in
flight stays its worker's, and is attempted again at once if what is under way fails.
"""

from __future__ import annotations

from datetime import UTC, datetime

from rxdesk import errors
from rxdesk.access import Transaction
from rxdesk.jobs.queue import CHANNEL
from rxdesk.kit.clock import unix
from rxdesk.webhooks.log_schemas import Armed, Replay, Replayed
from rxdesk.webhooks.outbox import KIND

AT_ONCE = 5000
"""Events that one replay looks at; the next one goes on after them."""

# The queue's rows are locked before the deliveries', as a worker does when it records.
# $2 the delivery, $3 now
_RETRY = f"""
WITH found AS (
  SELECT d.uid, hashtextextended(n.target_key, 0) AS endpoint, n.deactivated_at IS NULL AS active
  FROM deliveries d
  JOIN notification_subscriptions n ON n.organisation_id = $1 AND n.uid = d.subscription_uid
  WHERE d.organisation_id = $1 AND d.uid = $2
), held AS MATERIALIZED (
  SELECT j.uid FROM jobs j WHERE j.organisation_id = $1 AND j.kind = '{KIND}' AND j.uid = $2 FOR UPDATE
), armed AS (
  UPDATE deliveries SET status = 'pending', attempts = 0, next_attempt_at = $3, ended_at = NULL
  FROM found f WHERE deliveries.organisation_id = $1 AND deliveries.uid = f.uid AND f.active
    AND (SELECT count(*) FROM held) >= 0
  RETURNING deliveries.uid
), routed AS (
  INSERT INTO jobs (organisation_id, uid, kind, lane, endpoint, due_at)
  SELECT $1, f.uid, '{KIND}', 'first', f.endpoint, $3 FROM found f JOIN armed r ON r.uid = f.uid
  ON CONFLICT (organisation_id, kind, uid) WHERE uid IS NOT NULL DO UPDATE SET lane = 'first', due_at = excluded.due_at
    WHERE jobs.worker_id IS NULL
  RETURNING true
)
SELECT f.active, CASE WHEN EXISTS (SELECT FROM routed) THEN pg_notify('{CHANNEL}', '{KIND}') END FROM found f"""

# Whom a replay is for. $2: uid or NULL
_SUBSCRIPTION = """
SELECT deactivated_at IS NULL AS active FROM notification_subscriptions WHERE organisation_id = $1 AND uid = $2"""

_KEPT = "SELECT EXISTS (SELECT FROM events WHERE organisation_id = $1 AND uid = $2)"

# The next events: those of the time and type, after a position, a limited number of them.
# $2 subscription or NULL, $3 since, $4 until or NULL, $5 type or NULL, $6 the event after which or empty, $7 how many,
# $8 now, $9 whether also what was delivered. What is to be attempted for the first time and due is left alone: it
# was armed already.
_REPLAY = f"""
WITH happened AS (
  SELECT e.uid, e.event_type, e.pharmacy_uid, e.occurred_at, e.position FROM events e
  WHERE e.organisation_id = $1 AND e.occurred_at >= $3 AND ($4::timestamptz IS NULL OR e.occurred_at < $4)
    AND ($5::text IS NULL OR e.event_type = $5)
    AND e.position > coalesce((SELECT l.position FROM events l WHERE l.organisation_id = $1 AND l.uid = $6), 0)
  ORDER BY e.position LIMIT $7
), wanted AS (
  SELECT 'dlv-' || substr(h.uid, 5) || '.' || substr(n.uid, 4) AS uid, n.uid AS subscription_uid, h.uid AS event_uid,
    hashtextextended(n.target_key, 0) AS endpoint
  FROM happened h JOIN notification_subscriptions n ON n.organisation_id = $1 AND n.deactivated_at IS NULL
    AND n.notification_type = h.event_type
    AND (n.pharmacy_uid IS NULL OR (n.pharmacy_uid = h.pharmacy_uid AND EXISTS (SELECT FROM pharmacies ph
      WHERE ph.organisation_id = $1 AND ph.uid = n.pharmacy_uid AND ph.deleted_at IS NULL)))
    AND (n.uid = $2 OR ($2 IS NULL AND h.occurred_at >= n.created_at))
), held AS MATERIALIZED (
  SELECT j.uid FROM jobs j JOIN wanted w ON w.uid = j.uid WHERE j.organisation_id = $1 AND j.kind = '{KIND}'
  ORDER BY j.uid FOR UPDATE OF j
), armed AS (
  INSERT INTO deliveries AS kept (organisation_id, uid, subscription_uid, event_uid, status, next_attempt_at,
    created_at)
  SELECT $1, uid, subscription_uid, event_uid, 'pending', $8, $8 FROM wanted
  WHERE (SELECT count(*) FROM held) >= 0
  ON CONFLICT (organisation_id, uid) DO UPDATE SET status = 'pending', attempts = 0,
    next_attempt_at = excluded.next_attempt_at, ended_at = NULL
    WHERE kept.status IN ('failed', 'cancelled') OR ($9 AND kept.status = 'delivered')
      OR (kept.status = 'pending' AND NOT (kept.attempts = 0 AND kept.next_attempt_at <= $8))
  RETURNING uid
), routed AS (
  INSERT INTO jobs (organisation_id, uid, kind, lane, endpoint, due_at)
  SELECT $1, w.uid, '{KIND}', 'first', w.endpoint, $8 FROM wanted w JOIN armed r ON r.uid = w.uid
  ON CONFLICT (organisation_id, kind, uid) WHERE uid IS NOT NULL DO UPDATE SET lane = 'first', due_at = excluded.due_at
    WHERE jobs.worker_id IS NULL
  RETURNING true
)
SELECT (SELECT count(*) FROM armed) AS armed,
  (SELECT h.uid FROM happened h ORDER BY h.position DESC LIMIT 1) AS last,
  (SELECT count(*) FROM happened) AS looked_at,
  CASE WHEN EXISTS (SELECT FROM routed) THEN pg_notify('{CHANNEL}', '{KIND}') END"""


def _inactive() -> errors.ApiError:
    return errors.simple(409, "The subscription is not active: enable it first, then replay")


async def retry(tx: Transaction, uid: str) -> Armed:
    """Attempt one delivery again at once, whatever became of it.

    Raises 404 for an unknown one, 409 when its subscription is not active.
    """
    row = await tx.connection.fetchrow(_RETRY, tx.organisation_id, uid, tx.now)
    if row is None:
        raise errors.not_found()
    if not row["active"]:
        raise _inactive()
    return Armed(uid=uid, status="pending", next_attempt_at=unix(tx.now))


async def replay(tx: Transaction, wanted: Replay, *, at_once: int = AT_ONCE) -> Replayed:
    """Attempt again what was not delivered, and deliver what a subscription was never sent.

    Looks at `at_once` events and gives where to go on. Raises 404 naming `subscription_uid` or `after` for an unknown
    one, 409 when the subscription is not active.
    """
    if wanted.after and not await tx.connection.fetchval(_KEPT, tx.organisation_id, wanted.after):
        raise errors.not_found("after")
    if wanted.subscription_uid is not None:
        active = await tx.connection.fetchval(_SUBSCRIPTION, tx.organisation_id, wanted.subscription_uid)
        if active is None:
            raise errors.not_found("subscription_uid")
        if not active:
            raise _inactive()
    [row] = await tx.connection.fetch(
        _REPLAY,
        tx.organisation_id,
        wanted.subscription_uid,
        datetime.fromtimestamp(wanted.since, UTC),
        None if wanted.until is None else datetime.fromtimestamp(wanted.until, UTC),
        wanted.kind,
        wanted.after,
        at_once,
        tx.now,
        wanted.everything,
    )
    return Replayed(armed=row["armed"], next=row["last"] if row["looked_at"] == at_once else None)
