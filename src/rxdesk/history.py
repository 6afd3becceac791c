"""The history of changes: what changed, from what to what, when, and by whom; in the transaction that changes it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from rxdesk.access import Transaction
from rxdesk.kit.uids import new_uid

Subject: TypeAlias = Literal["order", "prescription", "pharmacy_order", "pharmacy_sku"]

_RECORD = """
INSERT INTO changes (organisation_id, uid, subject_kind, subject_uid, what, old_value, new_value, reason, changed_at,
  actor_kind, actor_uid)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"""


async def record(
    tx: Transaction,
    kind: Subject,
    uid: str,
    what: str,
    *,
    old: object = None,
    new: object = None,
    reason: str | None = None,
) -> None:
    """Note one change of a row: `what` is the member that changed, or `created`."""
    await tx.connection.execute(
        _RECORD,
        tx.organisation_id,
        new_uid("chg"),
        kind,
        uid,
        what,
        None if old is None else str(old),
        None if new is None else str(new),
        reason,
        tx.now,
        tx.actor_kind,
        tx.actor_uid,
    )
