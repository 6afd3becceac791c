"""Recording attempts: the log's row, the delivery, its job, and what that means for the subscription."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

import msgspec

from rxdesk.access import Transaction
from rxdesk.db.pool import Connection
from rxdesk.jobs.queue import Claim
from rxdesk.kit.clock import unix
from rxdesk.webhooks import policy
from rxdesk.webhooks.commands import cancel_pending
from rxdesk.webhooks.outbox import KIND, emit

DISABLED = "notification_subscription_disabled"

Observe: TypeAlias = Callable[[str, str | None, int], None]
"""Takes what became of deliveries (a status; `pending` is a failure that is tried again), the error, how many."""


class Attempt(msgspec.Struct, frozen=True):
    """One attempt as it ended. `attempts` counts those before it; `error` is None when it was delivered.

    `planned_at` is the delivery's next attempt as it was read before this one: with `attempts` it tells whether the
    delivery was armed anew meanwhile.
    """

    attempts: int
    planned_at: datetime | None
    started_at: datetime
    ended_at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    answer: bytes
    retry_after: str | None


Recorded: TypeAlias = Attempt | None
Ended: TypeAlias = tuple[Claim, str, Attempt]
"""A claim, its subscription's uid and the attempt."""

# A delivery that was armed anew while this attempt was under way, and that would be tried again or given up now.
_REARMED = """excluded.status IN ('pending', 'failed') AND (kept.attempts, coalesce(kept.next_attempt_at, 'infinity'))
      IS DISTINCT FROM (excluded.attempts, excluded.created_at)"""

# Only jobs that are still this worker's: what was freed meanwhile is another's to record. Each is looked up by its key
# (a plain `=` on the worker would lead to the index of all that is held) and found again by where it stands, so that no
# plan reads the queue. What becomes of a job is decided by its delivery as it is when it is changed, under its lock:
# one that was armed anew stays so, at its first attempt, and goes at once. The delivery is there, and is changed by way
# of its conflict with a row that would break its references: a conflict is found by the key and nothing else, whereas a
# join would read all deliveries of the organisation where statistics say that there are few. `created_at` carries
# `planned_at`.
# $2 kind; of each: $3 uid, $4 worker, $5 fate, $6 next attempt, $7 begun, $8 milliseconds, $9 status, $10 error,
# $11 answer, $12 ended, $13 attempts before and $14 when it was planned, as they were read; $15 subscriptions that
# fail no longer
_RECORD = f"""
WITH ended AS (
  SELECT * FROM unnest($3::text[], $4::int[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::int[], $9::int[],
    $10::text[], $11::bytea[], $12::timestamptz[], $13::int[], $14::timestamptz[])
    AS e (uid, worker, fate, next_at, started_at, duration_ms, status_code, error, answer, ended_at, attempts,
      planned_at)
), ours AS (
  SELECT e.*, j.place FROM (SELECT * FROM ended ORDER BY uid) e CROSS JOIN LATERAL (
    SELECT ctid AS place FROM jobs
    WHERE organisation_id = $1 AND kind = $2 AND uid = e.uid AND worker_id IS NOT DISTINCT FROM e.worker FOR UPDATE
  ) j
), changed AS (
  INSERT INTO deliveries AS kept (organisation_id, uid, subscription_uid, event_uid, status, attempts, next_attempt_at,
    created_at, ended_at)
  SELECT $1, uid, '', '', fate, attempts, next_at, coalesce(planned_at, 'infinity'), ended_at FROM ours
  ON CONFLICT (organisation_id, uid) DO UPDATE SET
    status = CASE WHEN {_REARMED} THEN 'pending' ELSE excluded.status END,
    attempts = kept.attempts + CASE WHEN {_REARMED} THEN 0 ELSE 1 END, attempted = kept.attempted + 1,
    next_attempt_at = CASE WHEN {_REARMED} THEN kept.next_attempt_at ELSE excluded.next_attempt_at END,
    ended_at = CASE WHEN excluded.status <> 'pending' AND NOT ({_REARMED}) THEN excluded.ended_at END
  RETURNING uid, attempted, attempts, status, next_attempt_at
), done AS (
  SELECT c.*, o.place, o.started_at, o.duration_ms, o.status_code, o.error, o.answer
  FROM changed c JOIN ours o ON o.uid = c.uid
), over AS (
  DELETE FROM jobs USING done d WHERE jobs.ctid = d.place AND d.status <> 'pending'
), again AS (
  UPDATE jobs SET worker_id = NULL, lease_until = NULL, due_at = d.next_attempt_at,
    lane = CASE WHEN d.attempts = 0 THEN 'first' ELSE 'retry' END
  FROM done d WHERE jobs.ctid = d.place AND d.status = 'pending'
), logged AS (
  INSERT INTO delivery_attempts (organisation_id, delivery_uid, number, started_at, duration_ms, status_code, error,
    answer)
  SELECT $1, uid, attempted, started_at, duration_ms, status_code, error, answer FROM done
), well AS (
  UPDATE notification_subscriptions SET failing_since = NULL
  WHERE organisation_id = $1 AND uid = ANY ($15::text[]) AND failing_since IS NOT NULL
)
SELECT uid, status FROM changed"""

_LOCK = """
SELECT uid, created_at, failing_since, deactivated_at IS NOT NULL AS ended FROM notification_subscriptions
WHERE organisation_id = $1 AND uid = ANY ($2::text[]) ORDER BY uid FOR NO KEY UPDATE"""

_FAILING = """
UPDATE notification_subscriptions SET failing_since = $3
WHERE organisation_id = $1 AND uid = $2 AND failing_since IS DISTINCT FROM $3"""

_DISABLE = """
UPDATE notification_subscriptions SET deactivated_at = $3, deactivated_reason = $4, actor_kind = $5, actor_uid = $6
WHERE organisation_id = $1 AND uid = $2 AND deactivated_at IS NULL"""


@dataclass(slots=True)
class _Streak:
    """How a subscription fared in one batch."""

    succeeded: bool = False
    failing_since: datetime | None = None  # the first failure after the last success
    statuses: list[int | None] = field(default_factory=list)


async def record(
    tx: Transaction, ended: Sequence[Ended], chance: Callable[[], float]
) -> list[tuple[str, str | None]]:
    """Record attempts, in the order in which they ended; gives what became of each and its error.

    A 2xx is `delivered`; any other is `pending` again, by the schedule, or `failed` when that is exhausted, or
    `cancelled` when its subscription has ended, be it by this very attempt. One that was armed anew meanwhile and was
    not delivered is `pending`, and due at once.
    """
    streaks = _streaks(ended)
    over = await _note_failures(tx, {uid: streak for uid, streak in streaks.items() if streak.statuses})
    return await _write(tx.connection, tx.organisation_id, ended, streaks, over, chance)


async def record_delivered(
    connection: Connection, organisation_id: int, ended: Sequence[Ended]
) -> list[tuple[str, str | None]]:
    """Record attempts that were all delivered, as `record` does, in one statement that is its own transaction."""
    return await _write(connection, organisation_id, ended, _streaks(ended), set(), lambda: 0.0)


async def _write(
    connection: Connection,
    organisation_id: int,
    ended: Sequence[Ended],
    streaks: Mapping[str, _Streak],
    over: Collection[str],
    chance: Callable[[], float],
) -> list[tuple[str, str | None]]:
    # Done twice here, since it was freed and claimed again: once is enough, and rather the one that was delivered.
    ordered = sorted(ended, key=lambda one: one[2].error is None)
    last = {claim.uid: (claim, uid, attempt) for claim, uid, attempt in ordered}
    rows = []
    for claim, subscription_uid, attempt in last.values():
        fate, next_at = _fate(attempt, subscription_uid in over, chance)
        rows.append(
            (
                claim.uid,
                claim.worker,
                fate,
                next_at,
                attempt.started_at,
                attempt.duration_ms,
                attempt.status,
                attempt.error,
                attempt.answer,
                attempt.ended_at,
                attempt.attempts,
                attempt.planned_at,
            )
        )
    changed = await connection.fetch(
        _RECORD,
        organisation_id,
        KIND,
        *(list(column) for column in zip(*rows, strict=True)),
        sorted(uid for uid, streak in streaks.items() if not streak.statuses),
    )
    fates = {row[0]: row[2] for row in rows} | {row["uid"]: row["status"] for row in changed}
    return [(fates[claim.uid], attempt.error) for claim, _, attempt in last.values()]


def _fate(attempt: Attempt, over: bool, chance: Callable[[], float]) -> tuple[str, datetime | None]:  # noqa: FBT001
    if attempt.error is None:
        return "delivered", None
    if over:
        return "cancelled", None
    asked = policy.retry_after_seconds(attempt.retry_after, attempt.ended_at)
    seconds = policy.retry_seconds(attempt.attempts + 1, chance=chance(), retry_after=asked)
    if seconds is None:
        return "failed", None
    return "pending", attempt.ended_at + timedelta(seconds=seconds)


def _streaks(ended: Sequence[Ended]) -> dict[str, _Streak]:
    """Give how each subscription fared."""
    streaks: dict[str, _Streak] = {}
    for _, uid, attempt in ended:
        streak = streaks.setdefault(uid, _Streak())
        if attempt.error is None:
            streak.succeeded, streak.failing_since = True, None
        else:
            streak.failing_since = streak.failing_since or attempt.started_at
            streak.statuses.append(attempt.status)
    return streaks


async def _note_failures(tx: Transaction, failed: Mapping[str, _Streak]) -> set[str]:
    """Keep since when each subscription fails, disable those that have had their chances; give those that ended."""
    over: set[str] = set()
    if failed:
        for row in await tx.connection.fetch(_LOCK, tx.organisation_id, sorted(failed)):
            uid = row["uid"]
            if row["ended"] or await _disabled(tx, uid, row["created_at"], row["failing_since"], failed[uid]):
                over.add(uid)
    return over


async def _disabled(
    tx: Transaction, uid: str, created_at: datetime, failing_since: datetime | None, streak: _Streak
) -> bool:
    """Keep since when one subscription fails; tell whether that has disabled it."""
    since = streak.failing_since if streak.succeeded or failing_since is None else failing_since
    await tx.connection.execute(_FAILING, tx.organisation_id, uid, since)
    reasons = [policy.disabled_for(status, since or tx.now, tx.now) for status in streak.statuses]
    reason = "gone" if "gone" in reasons else next(filter(None, reasons), None)
    if reason is None:
        return False
    await tx.connection.execute(
        _DISABLE, tx.organisation_id, uid, tx.now, reason, tx.actor_kind, tx.actor_uid
    )
    await cancel_pending(tx, uid)
    emit(
        tx,
        DISABLED,
        {"uid": uid, "status": reason, "created_at": unix(created_at), "updated_at": unix(tx.now)},
    )
    return True
