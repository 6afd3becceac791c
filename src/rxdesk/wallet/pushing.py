"""Pushes: prepare → push → record, with no transaction open while Apple is waited for.

As with deliveries, nothing is marked before it is sent: whatever ends in between makes it a second push and never a
lost one. The second one shows nothing, since the device asks what is newer than the tag that it knows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

import msgspec

from rxdesk.access import Access, Transaction
from rxdesk.jobs.queue import Claim
from rxdesk.jobs.worker import Work
from rxdesk.kit.clock import Clock
from rxdesk.kit.targets import TargetRefused
from rxdesk.wallet.apple.apns import ApnsClient, Pushed
from rxdesk.wallet.telling import KIND
from rxdesk.webhooks import policy

_SLOTS: Final = {"first": 192, "retry": 64}
_LEASE_SECONDS = 60.0
_TOTAL_SECONDS = 10.0
_SHARE = 0.75  # of a lane's slots, for one organisation
_PRUNED_AT_ONCE = 1000
_NOTIFICATIONS_AT_ONCE = 100  # of up to 51 pushes each

# Each is looked up on its own, as deliveries are. $2 the pushes' uids
_PREPARE = """
SELECT w.uid, w.attempts, w.device_identifier, r.push_token
FROM unnest($2::text[]) AS c (uid)
CROSS JOIN LATERAL (
  SELECT * FROM wallet_pushes WHERE organisation_id = $1 AND uid = c.uid AND status = 'queued' LIMIT 1) w
CROSS JOIN LATERAL (
  SELECT push_token FROM wallet_registrations WHERE organisation_id = $1 AND device_identifier = w.device_identifier
    AND wallet_pass_uid = w.wallet_pass_uid LIMIT 1) r"""

# Only jobs of a kind that are still this worker's. Pushes are locked in the order of their uids, as by `FETCHED`.
# What the device has fetched meanwhile stays so.
# $2 uids, $3 workers, $4 fates, $5 reasons, $6 when next or NULL, $7 now, $8 attempts made: 1 or 0, $9 the kind
RECORD: Final = """
WITH ours AS (
  SELECT e.*, j.place FROM (
    SELECT * FROM unnest($2::text[], $3::int[], $4::text[], $5::text[], $6::timestamptz[])
      AS e (uid, worker, fate, reason, next_at) ORDER BY uid
  ) e CROSS JOIN LATERAL (
    SELECT ctid AS place FROM jobs
    WHERE organisation_id = $1 AND kind = $9 AND uid = e.uid AND worker_id IS NOT DISTINCT FROM e.worker
    FOR UPDATE
  ) j
), changed AS (
  UPDATE wallet_pushes w SET attempts = w.attempts + $8,
    status = CASE WHEN w.status = 'queued' THEN o.fate ELSE w.status END,
    reason = CASE WHEN w.status = 'queued' THEN o.reason ELSE w.reason END,
    updated_at = CASE WHEN w.status = 'queued' THEN $7 ELSE w.updated_at END
  FROM ours o WHERE w.organisation_id = $1 AND w.uid = o.uid AND w.uid = ANY (ARRAY(
    SELECT k.uid FROM wallet_pushes k WHERE k.organisation_id = $1 AND k.uid = ANY ($2::text[])
    ORDER BY k.uid FOR NO KEY UPDATE))
), over AS (
  DELETE FROM jobs USING ours o WHERE jobs.ctid = o.place AND o.next_at IS NULL
)
UPDATE jobs SET worker_id = NULL, lease_until = NULL, due_at = o.next_at, lane = 'retry'
FROM ours o WHERE jobs.ctid = o.place AND o.next_at IS NOT NULL"""

# The device, by the token that Apple does not know any more; unless it has registered anew since. Apple tells whole
# milliseconds, and the same ones at each push: a registration within them would else be pushed for ever.
_FORGET = """
DELETE FROM wallet_registrations
WHERE organisation_id = $1 AND device_identifier = $2 AND push_token = $3
  AND date_trunc('milliseconds', updated_at) <= $4"""

# Of no notification: the oldest, locked in the order of their uids as by `RECORD` and `FETCHED`. What a device has
# fetched meanwhile stays. $2 before when, $3 how many
_PRUNE = """
DELETE FROM wallet_pushes WHERE organisation_id = $1 AND uid = ANY (ARRAY(
  SELECT k.uid FROM wallet_pushes k
  WHERE k.organisation_id = $1 AND k.status <> 'queued' AND k.updated_at < $2 AND k.uid = ANY (ARRAY(
    SELECT o.uid FROM wallet_pushes o WHERE o.organisation_id = $1 AND o.status <> 'queued' AND o.updated_at < $2
      AND o.push_notification_uid IS NULL
    ORDER BY o.updated_at LIMIT $3))
  ORDER BY k.uid FOR UPDATE))"""

# A notification goes with all of its pushes: without some of them it would tell what is not so. $2 before when, $3 how
# many. The comparison of `uid`, which is always so, lets the index of the newest be used, which has none of NULL.
OLD = """
SELECT n.uid FROM push_notifications n
WHERE n.organisation_id = $1 AND n.created_at < $2 AND n.uid > '' AND NOT EXISTS (
  SELECT FROM wallet_pushes w WHERE w.organisation_id = $1 AND w.push_notification_uid = n.uid
    AND (w.status = 'queued' OR w.updated_at >= $2))
ORDER BY n.created_at, n.uid LIMIT $3 FOR UPDATE OF n SKIP LOCKED"""
# Locked in the order of their uids, likewise. $2 notifications
_PRUNE_OF = """
DELETE FROM wallet_pushes WHERE organisation_id = $1 AND uid = ANY (ARRAY(
  SELECT k.uid FROM wallet_pushes k WHERE k.organisation_id = $1 AND k.push_notification_uid = ANY ($2::text[])
  ORDER BY k.uid FOR UPDATE))"""
_PRUNE_NOTIFICATIONS = "DELETE FROM push_notifications WHERE organisation_id = $1 AND uid = ANY ($2::text[])"


Fate: TypeAlias = tuple[Claim, str, str | None, datetime | None]
"""A claim, the status of its push, the reason for it, and when it is tried again."""


class Prepared(msgspec.Struct, frozen=True):
    """A push that is wanted, and the attempts before this one."""

    device: str
    token: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Pushes:
    """What pushing needs. `chance` gives numbers uniform in [0, 1)."""

    access: Access
    client: ApnsClient
    clock: Clock
    chance: Callable[[], float] = random.random

    def work(self) -> Work[Prepared, Pushed]:
        """Give what a worker does with pushes."""
        return Work(
            kind=KIND,
            slots=_SLOTS,
            lease_seconds=_LEASE_SECONDS,
            prepare=self.prepare,
            perform=self.push,
            record=self.record,
            share=_SHARE,
        )

    async def prepare(self, organisation_id: int, claims: Sequence[Claim]) -> list[tuple[Claim, Prepared]]:
        """Read where the pushes of one organisation go; those whose device is gone, or has asked already, end here."""
        by_uid = {claim.uid: claim for claim in claims}
        rows = await self.access.rows(organisation_id, _PREPARE, list(by_uid))
        wanted = [(by_uid[uid], Prepared(device, token, attempts)) for uid, attempts, device, token in rows]
        ended = [claim for claim in claims if claim.uid not in {one.uid for one, _ in wanted}]
        if ended:
            fates = [(claim, "failed", "unregistered", None) for claim in ended]
            await self._write(organisation_id, fates, attempted=False)
        return wanted

    async def push(self, prepared: Prepared) -> Pushed:
        """Push to one device."""
        try:
            return await self.client.push(prepared.token, total=_TOTAL_SECONDS)
        except TargetRefused:  # by the policy of egress, which an operator can change
            return Pushed("retry", None, "forbidden")

    async def record(self, organisation_id: int, ended: Sequence[tuple[Claim, Prepared, Pushed]]) -> None:
        """Write what became of pushes of one organisation."""
        now = self.clock()
        last = {claim.uid: (claim, prepared, pushed) for claim, prepared, pushed in ended}
        fates = [(claim, *self._fate(prepared, pushed, now)) for claim, prepared, pushed in last.values()]
        await self._write(organisation_id, fates, attempted=True)
        for _, prepared, pushed in last.values():
            if pushed.verdict == "gone":
                moment = _gone_since(pushed, now)
                await self.access.rows(organisation_id, _FORGET, prepared.device, prepared.token, moment)

    def _fate(
        self, prepared: Prepared, pushed: Pushed, now: datetime
    ) -> tuple[str, str | None, datetime | None]:
        if pushed.verdict == "sent":
            return "sent", None, None
        if pushed.verdict == "retry":
            next_at = retry_at(prepared.attempts, pushed.retry_after, now, self.chance())
            if next_at is not None:
                return "queued", pushed.reason, next_at
        return "failed", pushed.reason, None

    async def _write(self, organisation_id: int, fates: Sequence[Fate], *, attempted: bool) -> None:
        arguments = record_arguments(KIND, fates, self.clock(), attempted=attempted)
        await self.access.rows(organisation_id, RECORD, *arguments)


def _gone_since(pushed: Pushed, now: datetime) -> datetime:
    """Give when Apple found the device gone: now, unless it says a time, which is never one to come."""
    if pushed.unregistered_at is None:
        return now
    return min(now, datetime.fromtimestamp(pushed.unregistered_at / 1000, UTC))


def record_arguments(
    kind: str, fates: Sequence[Fate], now: datetime, *, attempted: bool
) -> tuple[object, ...]:
    """Give what `RECORD` takes behind the organisation."""
    return (
        [claim.uid for claim, *_ in fates],
        [claim.worker for claim, *_ in fates],
        [fate for _, fate, _, _ in fates],
        [reason for _, _, reason, _ in fates],
        [next_at for *_, next_at in fates],
        now,
        int(attempted),
        kind,
    )


def retry_at(attempts: int, retry_after: str | None, now: datetime, chance: float) -> datetime | None:
    """Give when a push is tried again that has now failed once more; None: it has had its chances."""
    asked = policy.retry_after_seconds(retry_after, now)
    seconds = policy.retry_seconds(attempts + 1, chance=chance, retry_after=asked)
    return None if seconds is None else now + timedelta(seconds=seconds)


async def prune(tx: Transaction, before: datetime) -> bool:
    """Delete notifications, and other pushes, that ended before then, some at a time; whether there may be more."""
    rows = await tx.connection.fetch(OLD, tx.organisation_id, before, _NOTIFICATIONS_AT_ONCE)
    if old := [row["uid"] for row in rows]:
        await tx.connection.execute(_PRUNE_OF, tx.organisation_id, old)
        await tx.connection.execute(_PRUNE_NOTIFICATIONS, tx.organisation_id, old)
    done = await tx.connection.execute(_PRUNE, tx.organisation_id, before, _PRUNED_AT_ONCE)
    return len(old) == _NOTIFICATIONS_AT_ONCE or done.rpartition(" ")[2] == str(_PRUNED_AT_ONCE)
