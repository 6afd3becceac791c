"""What the waiting room tells of: one thin event for each step of a visit."""

from __future__ import annotations

from datetime import datetime

from rxdesk.access import Transaction
from rxdesk.kit.clock import unix
from rxdesk.webhooks.outbox import emit


def tell(tx: Transaction, uid: str, status: str, created_at: datetime) -> None:
    """Tell of a visit's step in the transaction that takes it."""
    data = {"uid": uid, "status": status, "created_at": unix(created_at), "updated_at": unix(tx.now)}
    emit(tx, "waiting_room_updated", data)
