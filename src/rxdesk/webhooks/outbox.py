"""The outbox: an event is a row of the transaction that made it happen, with the exact bytes that will be sent.

Events are gathered while a command runs and stored as its transaction's last statement. That one takes the lock of the
organisation's stream, which gives positions: held for a moment only, and never before a lock that somebody holds who
waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rxdesk.access import Transaction
from rxdesk.jobs.queue import CHANNEL
from rxdesk.kit.clock import unix
from rxdesk.kit.uids import new_uid
from rxdesk.webhooks.events import envelope

KIND = "delivery"
# What a subscription hears of an event whose data it may not read (contract, section 2, routes 15 to 18).
_CUT_TO = ("uid", "status", "created_at", "updated_at", "deleted_at")

# What becomes of new events, in the statement that has them as `added (uid, event_type, subject_uid, pharmacy_uid,
# body, cut_body, number)`, numbered from 1: their rows with positions, a delivery for each subscription that wants
# one, and a row in the queue for each delivery. A delivery's uid is made of the event's and the subscription's, so
# there is one of each pair. A pharmacy that is deleted hears nothing any more, whatever it has subscribed to.
# The statement's select must have `NOTICE` in it. $1 organisation, $2 when, $3 and $4 the actor
FAN_OUT = f"""
stream AS (
  INSERT INTO event_streams AS kept (organisation_id, uid, last_position)
  SELECT $1, 'all', count(*) FROM added HAVING count(*) > 0
  ON CONFLICT (organisation_id, uid) DO UPDATE SET last_position = kept.last_position + excluded.last_position
  RETURNING last_position - (SELECT count(*) FROM added) AS before
), stored AS (
  INSERT INTO events (organisation_id, uid, position, event_type, subject_uid, pharmacy_uid, occurred_at, body,
    cut_body, actor_kind, actor_uid)
  SELECT $1, a.uid, s.before + a.number, a.event_type, a.subject_uid, a.pharmacy_uid, $2, a.body, a.cut_body, $3, $4
  FROM added a CROSS JOIN stream s
), wanted AS (
  SELECT 'dlv-' || substr(a.uid, 5) || '.' || substr(n.uid, 4) AS uid, n.uid AS subscription_uid, a.uid AS event_uid,
    hashtextextended(n.target_key, 0) AS endpoint
  FROM added a JOIN notification_subscriptions n ON n.organisation_id = $1 AND n.deactivated_at IS NULL
    AND n.notification_type = a.event_type
    AND (n.pharmacy_uid IS NULL OR (n.pharmacy_uid = a.pharmacy_uid AND EXISTS (SELECT FROM pharmacies ph
      WHERE ph.organisation_id = $1 AND ph.uid = n.pharmacy_uid AND ph.deleted_at IS NULL)))
), sent AS (
  INSERT INTO deliveries (organisation_id, uid, subscription_uid, event_uid, status, next_attempt_at, created_at)
  SELECT $1, uid, subscription_uid, event_uid, 'pending', $2, $2 FROM wanted
), routed AS (
  INSERT INTO jobs (organisation_id, uid, kind, lane, endpoint, due_at)
  SELECT $1, uid, '{KIND}', 'first', endpoint, $2 FROM wanted RETURNING true
)"""
NOTICE = f"CASE WHEN EXISTS (SELECT FROM routed) THEN pg_notify('{CHANNEL}', '{KIND}') END"

# The jobs of a lane that wait for one subscription: those of its endpoint whose delivery's uid ends with its own. To
# be formatted into a condition on `jobs`. The `coalesce` keeps the condition from the index of keys, which it would
# seem to suit.
WAITING_FOR = """organisation_id = $1 AND kind = {kind} AND lane = {lane} AND worker_id IS NULL
      AND endpoint = hashtextextended({subscription}.target_key, 0)
      AND coalesce(split_part(uid, '.', 2), '') = substr({subscription}.uid, 4)"""

# One round trip. $5 uids, $6 types, $7 subjects, $8 pharmacies, $9 bodies, $10 cut bodies
_STORE = f"""
WITH added AS (
  SELECT * FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::bytea[])
    WITH ORDINALITY AS a (uid, event_type, subject_uid, pharmacy_uid, body, cut_body, number)
), {FAN_OUT}
SELECT {NOTICE}"""


@dataclass(frozen=True, slots=True)
class _Event:
    uid: str
    event_type: str
    subject_uid: str
    pharmacy_uid: str | None
    body: bytes
    cut_body: bytes | None


class _Gathered:
    """The events of one transaction so far; stores them when it is about to end."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.events: list[_Event] = []

    async def __call__(self) -> None:
        tx, events = self._tx, self.events
        columns = zip(
            *((e.uid, e.event_type, e.subject_uid, e.pharmacy_uid, e.body, e.cut_body) for e in events),
            strict=True,
        )
        await tx.connection.execute(
            _STORE, tx.organisation_id, tx.now, tx.actor_kind, tx.actor_uid, *map(list, columns)
        )


def emit(
    tx: Transaction, event_type: str, data: Mapping[str, Any], *, pharmacy_uid: str | None = None
) -> str:
    """Tell of a change in the transaction that makes it; gives the event's uid, which is its `webhook-id`.

    `data` is the body's, and its `uid` is what the event tells of. `pharmacy_uid` names the pharmacy whose
    subscriptions may hear of it beside the organisation's.
    """
    uid = new_uid("evt")
    moment = unix(tx.now)
    cut = {name: data[name] for name in _CUT_TO if name in data}
    event = _Event(
        uid=uid,
        event_type=event_type,
        subject_uid=data["uid"],
        pharmacy_uid=pharmacy_uid,
        body=msgspec.json.encode(envelope(event_type, moment, data)),
        cut_body=None if cut == data else msgspec.json.encode(envelope(event_type, moment, cut)),
    )
    gathered = next((one for one in tx.before_commit if isinstance(one, _Gathered)), None)
    if gathered is None:
        gathered = _Gathered(tx)
        tx.before_commit.append(gathered)
    gathered.events.append(event)
    return uid


# $2 type, $3 and $4 the actor, $5 when
_STORED = """
SELECT uid, subject_uid FROM events
WHERE organisation_id = $1 AND event_type = $2 AND actor_kind = $3 AND actor_uid = $4 AND occurred_at = $5
ORDER BY position"""


async def told(tx: Transaction, event_type: str) -> list[tuple[str, str]]:
    """Give uid and subject of the events of a type that the transaction tells of so far, or has stored."""
    waiting = [one for one in tx.before_commit if isinstance(one, _Gathered)]
    gathered = [(e.uid, e.subject_uid) for one in waiting for e in one.events if e.event_type == event_type]
    actor = tx.actor_kind, tx.actor_uid
    stored = await tx.connection.fetch(_STORED, tx.organisation_id, event_type, *actor, tx.now)
    return gathered + [(row["uid"], row["subject_uid"]) for row in stored]
