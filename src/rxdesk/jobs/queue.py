"""The durable queue, as statements: claim, give back, free, and when there is more.

It knows no job: a row says whose work it is, its kind, its lane, where it goes and when it is due. `jobs` has no
policy, since a worker claims before it knows whose work it is; what a job holds is read under the organisation's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from rxdesk.db.pool import Connection

CHANNEL = "rxdesk_jobs"
LANES = ("first", "retry")
PER_ENDPOINT = 4
"""Jobs of one endpoint that may be in flight at once, over all workers and lanes."""

LOCK_CLASS = 1_920_165_741
"""Class of the advisory locks that are workers' numbers; 0 in it is the lock of those who claim."""

# How many places a claim looks at beside half as many as it wants jobs. The walk goes on where it ended.
_LOOKS = 16
_UNLOCK_SECONDS = 1.0

MOST_COUNTED = 100_000
"""A backlog is counted up to here."""
_COUNTED_PLACES = 1000

BEFORE_ALL = (-(1 << 31), -(1 << 63))

# Alone while it counts and claims, so that no two give one endpoint more than its share: the lock first, in a
# statement of its own, since a statement sees what was committed before it began. The lock is the session's, so that a
# claim is a transaction of one statement and needs no BEGIN and COMMIT. Nor does it need a flush to disk, and what else
# is done to the queue on this connection does not: what a crash of the database takes away of it is a claim of a
# worker whose connection has ended, or a job's that is freed or given back once more.
_ALONE = f"SELECT pg_advisory_lock({LOCK_CLASS}, 0), set_config('synchronous_commit', 'off', false)"
_UNLOCK = f"SELECT pg_advisory_unlock({LOCK_CLASS}, 0)"

# Places (an endpoint of an organisation) are walked round robin by jumps in the index `jobs_due`: each costs one
# descent, however many jobs wait there. What is locked is found again by where it stands (ctid): a join by keys is
# planned by statistics, and those of a queue are of when it was empty. $1 kind, $2 lane, $3 and $4 the place after
# which the walk begins, $5 places to look at, $6 jobs wanted, $7 now, $8 worker, $9 until when; $10 organisations of
# which this worker holds jobs of the lane, $11 how many, $12 how many of one it may hold; $13 and $14 places that hang.
# An organisation's share is cut after its places' shares: it goes to the places with the least in flight, and among
# them to what has waited longest, so that none has to wait until the others have nothing left. Only what remains is
# locked.
_CLAIM = f"""
WITH RECURSIVE places AS (
  (SELECT organisation_id, endpoint, due_at, 1 AS step FROM jobs
   WHERE kind = $1 AND lane = $2 AND worker_id IS NULL AND (organisation_id, endpoint) > ($3, $4)
   ORDER BY organisation_id, endpoint, due_at, uid LIMIT 1)
  UNION ALL
  SELECT n.organisation_id, n.endpoint, n.due_at, p.step + 1
  FROM places p CROSS JOIN LATERAL (
    SELECT organisation_id, endpoint, due_at FROM jobs
    WHERE kind = $1 AND lane = $2 AND worker_id IS NULL
      AND (organisation_id, endpoint) > (p.organisation_id, p.endpoint)
    ORDER BY organisation_id, endpoint, due_at, uid LIMIT 1
  ) n
  WHERE p.step < $5
), room AS (
  SELECT p.step, p.organisation_id, p.endpoint, $12 - coalesce(h.held, 0) AS share, CASE WHEN EXISTS (
    SELECT FROM unnest($13::int[], $14::bigint[]) AS s (organisation_id, endpoint)
    WHERE s.organisation_id = p.organisation_id AND s.endpoint = p.endpoint) THEN 1 ELSE {PER_ENDPOINT} END AS most
  FROM places p LEFT JOIN unnest($10::int[], $11::int[]) AS h (organisation_id, held)
    ON h.organisation_id = p.organisation_id
  WHERE p.due_at <= $7
), due AS (
  SELECT r.step, r.share, j.place, j.due_at,
    row_number() OVER (PARTITION BY r.organisation_id ORDER BY h.held + j.nth, j.due_at, j.uid) AS n
  FROM room r CROSS JOIN LATERAL (
    SELECT count(*) AS held FROM (
      SELECT FROM jobs WHERE kind = $1 AND organisation_id = r.organisation_id AND endpoint = r.endpoint
        AND worker_id IS NOT NULL LIMIT {PER_ENDPOINT}
    ) j
  ) h CROSS JOIN LATERAL (
    SELECT ctid AS place, due_at, uid, row_number() OVER (ORDER BY due_at, uid) AS nth FROM jobs
    WHERE kind = $1 AND lane = $2 AND worker_id IS NULL AND organisation_id = r.organisation_id
      AND endpoint = r.endpoint AND due_at <= $7
    ORDER BY due_at, uid
    LIMIT greatest(0, least(r.share, r.most - h.held))
  ) j
), shared AS (
  SELECT place FROM due WHERE n <= share ORDER BY step, due_at, n LIMIT $6
), chosen AS (
  SELECT j.place FROM shared s CROSS JOIN LATERAL (
    SELECT ctid AS place FROM jobs WHERE ctid = s.place AND worker_id IS NULL FOR UPDATE SKIP LOCKED
  ) j
), claimed AS (
  UPDATE jobs SET worker_id = $8, lease_until = $9 FROM chosen c
  WHERE jobs.ctid = c.place
  RETURNING jobs.organisation_id, jobs.endpoint, jobs.uid, jobs.due_at
)
SELECT p.organisation_id, p.endpoint, c.uid, c.due_at FROM places p
LEFT JOIN claimed c ON c.organisation_id = p.organisation_id AND c.endpoint = p.endpoint
ORDER BY p.step"""

# What nobody works on any more: its worker's lock is gone with its connection, or its time is over.
_FREE = f"""
UPDATE jobs SET worker_id = NULL, lease_until = NULL
WHERE worker_id IS NOT NULL AND (lease_until < $1 OR NOT EXISTS (
  SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
  WHERE l.locktype = 'advisory' AND l.classid = {LOCK_CLASS} AND l.objid = jobs.worker_id AND l.objsubid = 2
    AND l.granted))"""

# Claims whose answer was lost with the connection: they bear the number of a worker that does not know of them.
_FREE_UNKNOWN = """
UPDATE jobs SET worker_id = NULL, lease_until = NULL
WHERE kind = $1 AND worker_id = $2 AND NOT EXISTS (
  SELECT FROM unnest($3::int[], $4::text[]) AS k (organisation_id, uid)
  WHERE k.organisation_id = jobs.organisation_id AND k.uid = jobs.uid)"""

_GIVE_BACK = """
UPDATE jobs SET worker_id = NULL, lease_until = NULL, due_at = greatest(jobs.due_at, $5) FROM (
  SELECT j.place FROM unnest($1::int[], $2::text[], $3::int[]) AS g (organisation_id, uid, worker) CROSS JOIN LATERAL (
    SELECT ctid AS place FROM jobs WHERE organisation_id = g.organisation_id AND kind = $4 AND uid = g.uid
      AND worker_id IS NOT DISTINCT FROM g.worker FOR UPDATE
  ) j
) o WHERE jobs.ctid = o.place"""

# $1 kind, $2 lane
_BACKLOG = f"""
WITH RECURSIVE places AS (
  (SELECT organisation_id, endpoint, due_at, 1 AS step FROM jobs WHERE kind = $1 AND lane = $2 AND worker_id IS NULL
   ORDER BY organisation_id, endpoint, due_at, uid LIMIT 1)
  UNION ALL
  SELECT n.organisation_id, n.endpoint, n.due_at, p.step + 1 FROM places p CROSS JOIN LATERAL (
    SELECT organisation_id, endpoint, due_at FROM jobs
    WHERE kind = $1 AND lane = $2 AND worker_id IS NULL
      AND (organisation_id, endpoint) > (p.organisation_id, p.endpoint)
    ORDER BY organisation_id, endpoint, due_at, uid LIMIT 1
  ) n WHERE p.step < {_COUNTED_PLACES}
)
SELECT (SELECT count(*) FROM (SELECT FROM jobs WHERE kind = $1 AND lane = $2 AND worker_id IS NULL
  LIMIT {MOST_COUNTED}) j), (SELECT min(due_at) FROM places)"""

_WORKERS = f"""
SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
WHERE l.locktype = 'advisory' AND l.classid = {LOCK_CLASS} AND l.objid <> 0 AND l.objsubid = 2 AND l.granted"""

_NEXT = """
SELECT min(due_at) FROM jobs
WHERE kind = $1 AND lane = 'retry' AND worker_id IS NULL AND due_at > coalesce($2::timestamptz, '-infinity')"""
_LET_OTHERS = f"{_UNLOCK}, ({_NEXT}) AS next_retry"


class Claim(msgspec.Struct, frozen=True, eq=False):
    """A job that is this worker's until it is recorded or given back; `worker` is the number it was claimed under.

    Two claims are never equal: the same job may be claimed again while the first work on it has not ended.
    """

    organisation_id: int
    uid: str
    worker: int
    lane: str
    due_at: datetime
    endpoint: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What keeps one from taking all: jobs that an organisation may hold of a lane, in this worker, and holds now.

    Of each place in `hanging`, an organisation and an endpoint, only one job is in flight.
    """

    of_one: int = 1 << 30
    held: Mapping[int, int] = field(default_factory=dict)
    hanging: Collection[tuple[int, int]] = ()

    def arguments(self) -> tuple[object, ...]:
        """Give what the statement takes of it."""
        hanging = list(self.hanging)
        return (
            list(self.held),
            list(self.held.values()),
            self.of_one,
            [organisation_id for organisation_id, _ in hanging],
            [endpoint for _, endpoint in hanging],
        )


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim found, and the place after which the next one begins; `more` until a round has been walked.

    `next_retry` is when the next retry that still waits is due, which may be in the past; None for none.
    """

    claims: list[Claim]
    cursor: tuple[int, int]
    more: bool
    next_retry: datetime | None


async def claim(  # noqa: PLR0913 - they are the statement's
    connection: Connection,
    kind: str,
    lane: str,
    *,
    wanted: int,
    cursor: tuple[int, int],
    worker: int,
    now: datetime,
    lease_until: datetime,
    begun: tuple[int, int] | None = None,
    limits: Limits = NO_LIMITS,
) -> Claimed:
    """Claim up to `wanted` jobs that are due, a few of each place, the places in turn from the cursor.

    `begun` is the cursor of the first claim of this round; None when this is the first.
    """
    looks = wanted // 2 + _LOOKS
    try:
        await connection.fetchrow(_ALONE)
        rows = await connection.fetch(
            _CLAIM, kind, lane, *cursor, looks, wanted, now, worker, lease_until, *limits.arguments()
        )
        next_retry = await connection.fetchval(_LET_OTHERS, kind, None, column=1)
    except BaseException:
        await _let_others(connection)
        raise
    claims = [
        Claim(row["organisation_id"], row["uid"], worker, lane, row["due_at"], row["endpoint"])
        for row in rows
        if row["uid"]
    ]
    cursor, more = _walked(rows, cursor, begun or cursor, looks=looks, full=len(claims) >= wanted)
    return Claimed(claims, cursor, more, next_retry)


def _walked(
    rows: Sequence[Any],  # records
    cursor: tuple[int, int],
    begun: tuple[int, int],
    *,
    looks: int,
    full: bool,
) -> tuple[tuple[int, int], bool]:
    """Give where the next claim begins, and whether the round has not ended."""
    places = [(row["organisation_id"], row["endpoint"]) for row in rows]
    if full:
        return max(place for place, row in zip(places, rows, strict=True) if row["uid"]), True
    if len(dict.fromkeys(places)) >= looks:
        return places[-1], not cursor < begun <= places[-1]
    # At the end: from the beginning again, unless that is where this round began, or this was its second half.
    return BEFORE_ALL, cursor >= begun > BEFORE_ALL


async def _let_others(connection: Connection) -> None:
    """Give the lock up after a failure, with the connection if it must be."""
    if connection.is_closed():
        return
    try:
        await connection.fetchrow(_UNLOCK, timeout=_UNLOCK_SECONDS)
    except BaseException:
        connection.terminate()
        raise


async def free(connection: Connection, now: datetime) -> int:
    """Free what dead workers hold, and what one holds beyond its time; gives how many."""
    return int((await connection.execute(_FREE, now)).rpartition(" ")[2])


async def free_unknown(connection: Connection, kind: str, number: int, known: Iterable[Claim]) -> None:
    """Free what bears a worker's number and is not among the claims that it knows of."""
    held = list(known)
    await connection.execute(
        _FREE_UNKNOWN, kind, number, [one.organisation_id for one in held], [one.uid for one in held]
    )


async def give_back(
    connection: Connection, kind: str, claims: Sequence[Claim], *, not_before: datetime
) -> None:
    """Let others have jobs that were claimed and not worked on, from `not_before` on."""
    await connection.execute(
        _GIVE_BACK,
        [one.organisation_id for one in claims],
        [one.uid for one in claims],
        [one.worker for one in claims],
        kind,
        not_before,
    )


async def next_retry(connection: Connection, kind: str, *, after: datetime | None = None) -> datetime | None:
    """Give when the next retry is due, which may be in the past, or the next one after a moment; None for none."""
    moment: datetime | None = await connection.fetchval(_NEXT, kind, after)
    return moment


async def backlog(connection: Connection, kind: str) -> dict[str, tuple[int, datetime | None]]:
    """Give for each lane how many jobs wait, up to `MOST_COUNTED`, and since when the oldest is due, if any waits."""
    found: dict[str, tuple[int, datetime | None]] = {}
    for lane in LANES:
        count, oldest = (await connection.fetch(_BACKLOG, kind, lane))[0]
        found[lane] = (count, oldest)
    return found


async def workers(connection: Connection) -> int:
    """Give how many workers are connected to this database."""
    return int(await connection.fetchval(_WORKERS))
