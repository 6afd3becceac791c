"""Retention: what was told and delivered long ago is pruned, a little at a time."""

from __future__ import annotations

from datetime import datetime

from rxdesk.access import Transaction
from rxdesk.db.pool import Connection
from rxdesk.webhooks.commands import cancel_pending
from rxdesk.webhooks.outbox import KIND, WAITING_FOR

# Events of a batch; with their deliveries and attempts these are about a thousand rows.
BATCH = 200

# An event goes when nothing of it is still to be delivered, nor was lately by a replay. $2 before when, $3 how many
_PRUNE = """
WITH old AS (
  SELECT e.uid FROM events e
  WHERE e.organisation_id = $1 AND e.occurred_at < $2 AND NOT EXISTS (
    SELECT FROM deliveries d WHERE d.organisation_id = $1 AND d.event_uid = e.uid
      AND (d.status = 'pending' OR d.ended_at >= $2))
  ORDER BY e.occurred_at LIMIT $3 FOR UPDATE SKIP LOCKED
), sent AS (
  DELETE FROM deliveries USING old o WHERE deliveries.organisation_id = $1 AND deliveries.event_uid = o.uid
  RETURNING deliveries.uid
), attempted AS (
  DELETE FROM delivery_attempts USING sent s
  WHERE delivery_attempts.organisation_id = $1 AND delivery_attempts.delivery_uid = s.uid
)
DELETE FROM events USING old o WHERE events.organisation_id = $1 AND events.uid = o.uid"""

_ENDED = f"""
SELECT n.uid FROM notification_subscriptions n CROSS JOIN unnest('{{first,retry}}'::text[]) AS l (lane)
CROSS JOIN LATERAL (
  SELECT FROM jobs WHERE {WAITING_FOR.format(subscription="n", lane="l.lane", kind=f"'{KIND}'")} LIMIT 1) j
WHERE n.organisation_id = $1 AND n.deactivated_at IS NOT NULL
LIMIT 1"""


async def organisations(connection: Connection) -> list[int]:
    """Give the numbers of all organisations."""
    return [row["id"] for row in await connection.fetch("SELECT id FROM organisations ORDER BY id")]


async def prune(tx: Transaction, before: datetime) -> bool:
    """Prune one batch of events, deliveries and attempts from before then; tells whether there may be more."""
    done = await tx.connection.execute(_PRUNE, tx.organisation_id, before, BATCH)
    return int(done.rpartition(" ")[2]) >= BATCH


async def cancel_left_over(tx: Transaction) -> bool:
    """Cancel one batch of what waits for subscriptions that have ended; tells whether there may be more."""
    uid = await tx.connection.fetchval(_ENDED, tx.organisation_id)
    return uid is not None and await cancel_pending(tx, uid) > 0
