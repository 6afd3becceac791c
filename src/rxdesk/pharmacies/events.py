"""What is told of pharmacy orders."""

from __future__ import annotations

from typing import Literal

from rxdesk.access import Transaction
from rxdesk.kit.clock import unix
from rxdesk.webhooks.outbox import emit

_TOLD = """
SELECT uid, status, created_at, updated_at, pharmacy_uid FROM pharmacy_orders
WHERE organisation_id = $1 AND uid = $2"""


async def tell_order(
    tx: Transaction,
    pharmacy_order_uid: str,
    event_type: Literal["pharmacy_order_created", "pharmacy_order_updated"],
) -> None:
    """Emit the event of a pharmacy order as it is now."""
    [row] = await tx.connection.fetch(_TOLD, tx.organisation_id, pharmacy_order_uid)
    data = {
        "uid": row["uid"],
        "status": row["status"],
        "created_at": unix(row["created_at"]),
        "updated_at": unix(row["updated_at"]),
    }
    emit(tx, event_type, data, pharmacy_uid=row["pharmacy_uid"])
