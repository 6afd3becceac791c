"""What the waiting room tells of: one thin event for each step of a visit."""

from __future__ import annotations

from datetime import datetime

from rxdesk.access import Transaction
from rxdesk.kit.clock import unix
from rxdesk.webhooks.outbox import emit

# What a step that is one statement tells, for FAN_OUT, which follows it: `step` is the CTE that has the visit's uid and
# created_at, or no row, `event` the event's uid.
TOLD = """
added AS MATERIALIZED (
  SELECT {event}::text AS uid, 'waiting_room_updated' AS event_type, s.uid AS subject_uid,
    NULL::text AS pharmacy_uid, NULL::bytea AS cut_body, 1 AS number,
    convert_to(format('{{"event_type":"waiting_room_updated","timestamp":%s,"payload_version":"1","data":{{"uid":%s,'
      '"status":"{status}","created_at":%s,"updated_at":%s}}}}', unix_seconds($2::timestamptz), to_json(s.uid),
      unix_seconds(s.created_at), unix_seconds($2::timestamptz)), 'UTF8') AS body
  FROM {step} s
)"""


def tell(tx: Transaction, uid: str, status: str, created_at: datetime) -> None:
    """Tell of a visit's step in the transaction that takes it."""
    data = {"uid": uid, "status": status, "created_at": unix(created_at), "updated_at": unix(tx.now)}
    emit(tx, "waiting_room_updated", data)
