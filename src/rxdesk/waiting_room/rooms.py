"""Rooms: the row of a shop's room is the lock of its queue, and counts its changes.

Each change of a visit, and of a doctor's duty, is made under the locks of the rooms that it concerns and raises their
`revision`: of the visit's shop, and of all shops of the duty, as one who sees a patient of one shop takes none of
another. So the changes of a shop come one after the other, and an answer that was read under the lock is still true
when it is committed. That a doctor counts as away is a matter of time, and raises nothing.

Locks are taken in one order everywhere: duties, rooms (each by uid), visits, and the stream of events last.
"""

from __future__ import annotations

from collections.abc import Sequence

from rxdesk.access import Transaction

# A room is there from the first registration or duty on.
_RAISE = """
INSERT INTO waiting_rooms AS room (organisation_id, uid, last_turn, revision, attended)
SELECT $1, g.uid, 0, 1, true FROM (
  SELECT s.shop_uid AS uid FROM doctor_duty_shops s WHERE s.organisation_id = $1 AND s.doctor_uid = $2
  UNION SELECT unnest($3::text[])) g
ORDER BY g.uid
ON CONFLICT (organisation_id, uid) DO UPDATE SET revision = room.revision + 1, attended = true"""

# Locks the rooms of the CTE `concerned`, in their order. What is judged must be read after it: by a statement that
# follows, or by one that locks the row.
LOCKED = """
room AS MATERIALIZED (
  SELECT r.uid FROM waiting_rooms r
  WHERE r.organisation_id = $1 AND r.uid IN (SELECT c.shop_uid FROM concerned c)
  ORDER BY r.uid FOR NO KEY UPDATE OF r
)"""


async def raise_of_duty(tx: Transaction, doctor_uid: str, shop_uids: Sequence[str] = ()) -> None:
    """Lock and raise the rooms of the shops of a doctor's duty, and of further shops."""
    await tx.connection.execute(_RAISE, tx.organisation_id, doctor_uid, list(shop_uids))
