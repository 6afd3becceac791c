"""Deliveries: prepare → post → record, with no transaction open while a receiver is waited for.

Nothing is marked before it is sent: until its record is committed a delivery is pending and its job is in the queue,
so whatever ends in between makes it a second delivery and never a lost one. Nothing of a URL, a header or a body is
logged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import structlog

from rxdesk.access import Access
from rxdesk.db.pool import Pool
from rxdesk.jobs.queue import Claim
from rxdesk.jobs.worker import Work
from rxdesk.kit.clock import Clock, unix
from rxdesk.kit.egress import Egress, Outcome
from rxdesk.kit.sealing import Sealer, SealError
from rxdesk.kit.signing import Signer
from rxdesk.kit.targets import TargetRefused
from rxdesk.webhooks import commands, recording
from rxdesk.webhooks.outbox import KIND
from rxdesk.webhooks.recording import Attempt, Observe, Recorded

ANSWER_BYTES = 16_384
_STATEMENT_SECONDS = 6.0
# What was prepared longer ago is looked at again before it is sent: its subscription may be gone by now.
_FRESH_SECONDS = 0.5
_LEASE_SECONDS = 60.0
_SHARE = 0.75  # of a lane's slots, for one organisation

_log = structlog.get_logger("rxdesk.webhooks")

# Each is looked up on its own: joined, they would be found by a scan of all where statistics say that there are few.
# $2 the deliveries' uids
_PREPARE = """
SELECT d.uid, d.attempts, d.next_attempt_at,
  d.status = 'pending' AND n.deactivated_at IS NULL AND (n.pharmacy_uid IS NULL OR EXISTS (
    SELECT FROM pharmacies ph WHERE ph.organisation_id = $1 AND ph.uid = n.pharmacy_uid AND ph.deleted_at IS NULL)
  ) AS wanted, e.uid AS event_uid, e.event_type,
  CASE WHEN n.full_data THEN e.body ELSE coalesce(e.cut_body, e.body) END AS body,
  n.uid AS subscription_uid, n.target, n.header_key, n.sealed_header_value, n.sealed_signing_secret,
  n.sealed_previous_secret, n.previous_secret_until, n.switched
FROM unnest($2::text[]) AS c (uid)
CROSS JOIN LATERAL (SELECT * FROM deliveries WHERE organisation_id = $1 AND uid = c.uid LIMIT 1) d
CROSS JOIN LATERAL (SELECT * FROM events WHERE organisation_id = $1 AND uid = d.event_uid LIMIT 1) e
CROSS JOIN LATERAL (
  SELECT * FROM notification_subscriptions WHERE organisation_id = $1 AND uid = d.subscription_uid LIMIT 1) n"""

# Of a subscription that has ended, or of a delivery that nobody knows: nothing is sent, and the job goes.
# $2 kind, $3 uids, $4 their workers, $5 now
_CANCEL = """
WITH unrouted AS (
  DELETE FROM jobs USING (
    SELECT j.place FROM (
      SELECT * FROM unnest($3::text[], $4::int[]) AS c (uid, worker) LIMIT cardinality($3)) c CROSS JOIN LATERAL (
      SELECT ctid AS place FROM jobs
      WHERE organisation_id = $1 AND kind = $2 AND uid = c.uid AND worker_id IS NOT DISTINCT FROM c.worker FOR UPDATE
    ) j
  ) o WHERE jobs.ctid = o.place
  RETURNING jobs.uid
)
UPDATE deliveries SET status = 'cancelled', next_attempt_at = NULL, ended_at = $5 FROM unrouted u
WHERE deliveries.organisation_id = $1 AND deliveries.uid = u.uid AND deliveries.status = 'pending'"""


def _hangs(attempt: Recorded) -> bool | None:
    return None if attempt is None else attempt.error == "timeout"


class Prepared(msgspec.Struct, frozen=True):
    """One delivery that is to be attempted now: all that the database knew of it a moment ago."""

    claim: Claim
    subscription_uid: str
    attempts: int
    planned_at: datetime | None
    event_uid: str
    event_type: str
    target: str
    body: bytes
    signer: Signer | None  # None: what was sealed does not open, or is nothing to sign with
    read_at: float


def _prepared(claim: Claim, row: Any, signer: Signer | None, read_at: float) -> Prepared:  # noqa: ANN401 - a record
    return Prepared(
        claim=claim,
        subscription_uid=row["subscription_uid"],
        attempts=row["attempts"],
        planned_at=row["next_attempt_at"],
        event_uid=row["event_uid"],
        event_type=row["event_type"],
        target=row["target"],
        body=row["body"],
        signer=signer,
        read_at=read_at,
    )


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What delivering needs. `chance` gives numbers uniform in [0, 1); `monotonic` seconds."""

    pool: Pool
    access: Access
    sealer: Sealer
    egress: Egress
    clock: Clock
    chance: Callable[[], float]
    total_seconds: float
    connect_seconds: float
    observe: Observe = lambda *_: None
    monotonic: Callable[[], float] = time.monotonic

    def work(self, concurrency: int) -> Work[Prepared, Recorded]:
        """Give what a worker does with jobs of deliveries: three quarters of its slots are for first attempts.

        The last quarter of each lane is for other organisations than the one that has the rest.
        """
        retries = max(1, concurrency // 4)
        return Work(
            kind=KIND,
            slots={"first": max(1, concurrency - retries), "retry": retries},
            lease_seconds=_LEASE_SECONDS + 2 * self.total_seconds,
            prepare=self.prepare,
            perform=self.post,
            record=self.record,
            share=_SHARE,
            hangs=_hangs,
        )

    # ------------------------------------------------------------------------------------------------- prepare
    async def prepare(self, organisation_id: int, claims: Sequence[Claim]) -> list[tuple[Claim, Prepared]]:
        """Read all that is needed to attempt deliveries of one organisation, in one statement.

        Those that are not wanted any more are cancelled here and left out.
        """
        by_uid = {claim.uid: claim for claim in claims}
        async with self.pool.acquire(organisation_id, timeout_seconds=_STATEMENT_SECONDS) as connection:
            read_at = self.monotonic()
            rows = await connection.fetch(_PREPARE, organisation_id, list(by_uid))
            wanted = [row for row in rows if row["wanted"]]
            ended = by_uid.keys() - {row["uid"] for row in wanted}
            if ended:
                await connection.execute(
                    _CANCEL,
                    organisation_id,
                    KIND,
                    list(ended),
                    [by_uid[uid].worker for uid in ended],
                    self.clock(),
                )
                self.observe("cancelled", None, len(ended))
        signers: dict[str, Signer | None] = {}
        for row in wanted:
            if row["subscription_uid"] not in signers:
                signers[row["subscription_uid"]] = self._signer(organisation_id, row)
        return [
            (claim, _prepared(claim, row, signers[row["subscription_uid"]], read_at))
            for claim, row in ((by_uid[row["uid"]], row) for row in wanted)
        ]

    def _signer(self, organisation_id: int, row: Any) -> Signer | None:  # noqa: ANN401 - a record
        """Open a subscription's seals: the secret, the one before while its overlap lasts, and the header."""
        uid = row["subscription_uid"]
        previous: str | None = None
        custom: tuple[str, str] | None = None
        try:
            secret = self.sealer.open(
                row["sealed_signing_secret"], commands.secret_place(organisation_id, uid)
            )
            until: datetime | None = row["previous_secret_until"]
            if until is not None and self.clock() < until:
                place = commands.previous_secret_place(organisation_id, uid)
                previous = self.sealer.open(row["sealed_previous_secret"], place)
            if row["header_key"] is not None and row["sealed_header_value"] is not None:
                place = commands.header_place(organisation_id, uid)
                custom = (row["header_key"], self.sealer.open(row["sealed_header_value"], place))
            vendor = secret if row["switched"] or previous is None else previous
            return Signer(secret, previous_secret=previous, vendor_secret=vendor, custom=custom)
        except (SealError, ValueError):
            return None

    # ------------------------------------------------------------------------------------------------- post
    async def post(self, prepared: Prepared) -> Recorded:
        """Attempt one delivery; None when it turned out to be not wanted any more."""
        if self.monotonic() - prepared.read_at > _FRESH_SECONDS:
            again = await self.prepare(prepared.claim.organisation_id, [prepared.claim])
            if not again:
                return None
            prepared = again[0][1]
        started_at = self.clock()
        begun = self.monotonic()
        error: str | None
        try:
            headers = self._headers(prepared, started_at)
            outcome = await self.egress.post(
                prepared.target,
                prepared.body,
                headers,
                total=self.total_seconds,
                connect=self.connect_seconds,
                max_answer=ANSWER_BYTES,
            )
            error = outcome.error
        except (TargetRefused, ValueError) as refusal:
            error = "forbidden" if isinstance(refusal, TargetRefused) else "unsigned"
            outcome = Outcome(None, None, round((self.monotonic() - begun) * 1000), b"", None)
        return Attempt(
            attempts=prepared.attempts,
            planned_at=prepared.planned_at,
            started_at=started_at,
            ended_at=self.clock(),
            duration_ms=outcome.duration_ms,
            status=outcome.status,
            error=error,
            answer=outcome.answer,
            retry_after=outcome.retry_after,
        )

    @staticmethod
    def _headers(prepared: Prepared, now: datetime) -> dict[str, str]:
        """Sign; ValueError when there is nothing that we could sign with."""
        if prepared.signer is None:
            raise ValueError("the subscription has no secret and header to sign with")
        return prepared.signer.headers(
            event_type=prepared.event_type,
            message_id=prepared.event_uid,
            timestamp=unix(now),
            body=prepared.body,
        )

    # ------------------------------------------------------------------------------------------------- record
    async def record(self, organisation_id: int, ended: Sequence[tuple[Claim, Prepared, Recorded]]) -> None:
        """Write what became of deliveries of one organisation, in one short transaction.

        Where all were delivered that is one statement; a failure may mean more.
        """
        attempted = [
            (claim, prepared.subscription_uid, attempt)
            for claim, prepared, attempt in ended
            if attempt is not None
        ]
        if not attempted:
            return
        if any(attempt.error for _, _, attempt in attempted):
            fates = await self.access.write_as_system(
                organisation_id, "worker", lambda tx: recording.record(tx, attempted, self.chance)
            )
        else:
            async with self.pool.acquire(organisation_id, timeout_seconds=_STATEMENT_SECONDS) as connection:
                fates = await recording.record_delivered(connection, organisation_id, attempted)
        for fate, error in fates:
            self.observe(fate, error, 1)
