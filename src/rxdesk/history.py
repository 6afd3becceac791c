"""The history of changes: what changed, from what to what, when, and by whom; in the transaction that changes it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from rxdesk.access import Transaction
from rxdesk.kit.uids import new_uid

Subject: TypeAlias = Literal["order", "prescription", "pharmacy_order", "pharmacy_sku", "visit", "duty"]

# A moment after the last change of a row, which a change is not to have a time before: a request has its time before it
# has the row's lock, and may get that after one that began later. Whoever notes a change holds the lock.
AFTER_LAST = """
SELECT b.changed_at + interval '1 microsecond' FROM changes b
WHERE b.organisation_id = $1 AND b.subject_uid = {uid} AND b.subject_kind = {kind}
ORDER BY b.changed_at DESC LIMIT 1"""

_RECORD = f"""
INSERT INTO changes (organisation_id, uid, subject_kind, subject_uid, what, old_value, new_value, reason, changed_at,
  actor_kind, actor_uid)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8,
  greatest($9::timestamptz, ({AFTER_LAST.format(uid="$4", kind="$3")})), $10, $11)"""

_SHOWN = """json_build_object(
  'uid', h.uid, 'what', h.what, 'old', h.old_value, 'new', h.new_value, 'reason', h.reason,
  'at', unix_seconds(h.changed_at), 'actor', json_build_object('kind', h.actor_kind, 'uid', h.actor_uid))"""

# A page of one row's changes: what is selected of a subquery `s` that gives the row's `kind` if there is such a row,
# and the rest of the FROM. $4: uid, $5: rows a page, $6: rows before it
PAGE = f"""json_build_object(
  'data', coalesce((
    SELECT json_agg({_SHOWN} ORDER BY h.changed_at, h.uid)
    FROM (
      SELECT * FROM changes WHERE organisation_id = $1 AND subject_uid = $4 AND subject_kind = s.kind
      ORDER BY changed_at, uid LIMIT $5::bigint OFFSET $6::bigint
    ) h), '[]'),
  'totalRegistries', n.total,
  'totalPages', (n.total + $5::bigint - 1) / $5::bigint)::text AS body"""
COUNTED = """LATERAL (
  SELECT count(*) AS total FROM changes
  WHERE organisation_id = $1 AND subject_uid = $4 AND subject_kind = s.kind) n"""


class Actor(msgspec.Struct, kw_only=True):
    """Who made a change: `kind`, and the key's or the person's uid, or the program's name."""

    kind: Literal["key", "staff", "operator", "system"]
    uid: str


class Change(msgspec.Struct, kw_only=True):
    """One change: the member that changed, or `created`, from what to what, why, when (Unix seconds), by whom."""

    uid: str
    what: str
    old: str | None
    new: str | None
    reason: str | None
    at: int
    actor: Actor


_PAGE_NAMES = {"total_registries": "totalRegistries", "total_pages": "totalPages"}


class ChangePage(msgspec.Struct, kw_only=True, rename=_PAGE_NAMES):
    """A page of changes, oldest first."""

    data: list[Change]
    total_registries: int
    total_pages: int


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
    """Note one change of a row that this transaction has locked: `what` is the member that changed, or `created`."""
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
