"""`Idempotency-Key`: the first answer of a POST is kept for 24 hours, in the transaction of its effect.

A twin in flight waits at the unique index for at most the lock timeout (2 s), then is a 409. Answers are kept
sealed, since one may hold a secret that is shown once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from rxdesk import errors
from rxdesk.access import Transaction
from rxdesk.kit.sealing import Place

KEPT_FOR = timedelta(hours=24)
_FORM = re.compile(r"[\x21-\x7e]{1,255}")
_SEEN_AT_ONCE = 20  # expired answers that one new key sweeps away


@dataclass(frozen=True, slots=True)
class Idempotent:
    """A request that names a key: where its answer is kept and what its body was."""

    uid: str
    body_digest: bytes


def identify(route: str, header: str, body: object) -> Idempotent:
    """Read the header; the body is compared decoded, so white space and member order do not count.

    Raises the 400 for a header that is not 1–255 visible ASCII characters.
    """
    if _FORM.fullmatch(header) is None:
        fault = errors.fault("Idempotency-Key", "header", "must be 1 to 255 visible ASCII characters")
        raise errors.invalid(fault)
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return Idempotent(
        uid=hashlib.sha256(f"{route}\n{header}".encode()).hexdigest(),
        body_digest=hashlib.sha256(canonical.encode()).digest(),
    )


async def once(
    tx: Transaction, request: Idempotent, run: Callable[[], Awaitable[tuple[int, str]]]
) -> tuple[int, str]:
    """Run the command once for the key, or give the answer it gave: status and JSON text.

    Raises 409 when a twin is still in flight after 2 s, 422 when the key was used with another body.
    """
    try:
        mine = await tx.connection.fetchval(
            "INSERT INTO idempotency_keys AS kept (organisation_id, uid, body_digest, created_at) "
            "VALUES ($1, $2, $3, $4) ON CONFLICT (organisation_id, uid) DO UPDATE SET "
            "body_digest = excluded.body_digest, created_at = excluded.created_at, "
            "status = NULL, sealed_answer = NULL WHERE kept.created_at <= $5 RETURNING true",
            tx.organisation_id,
            request.uid,
            request.body_digest,
            tx.now,
            tx.now - KEPT_FOR,
        )
    except asyncpg.LockNotAvailableError as error:
        raise errors.simple(409, "A request with this Idempotency-Key is still in progress") from error
    if not mine and (answer := await kept(tx, request)) is not None:
        return answer
    status, body = await run()
    await tx.connection.execute(
        "UPDATE idempotency_keys SET status = $3, sealed_answer = $4 WHERE organisation_id = $1 AND uid = $2",
        tx.organisation_id,
        request.uid,
        status,
        tx.sealer.seal(body, _place(tx, request)),
    )
    await _sweep(tx)
    return status, body


async def kept(tx: Transaction, request: Idempotent) -> tuple[int, str] | None:
    """Give the answer that is kept for the key, if there is one: status and JSON text.

    Raises 422 when the key was used with another body.
    """
    row = await tx.connection.fetchrow(
        "SELECT body_digest, status, sealed_answer FROM idempotency_keys "
        "WHERE organisation_id = $1 AND uid = $2 AND created_at > $3",
        tx.organisation_id,
        request.uid,
        tx.now - KEPT_FOR,
    )
    if row is None:
        return None
    if row["body_digest"] != request.body_digest:
        raise errors.simple(422, "This Idempotency-Key was used with another body")
    return row["status"], tx.sealer.open(row["sealed_answer"], _place(tx, request))


def _place(tx: Transaction, request: Idempotent) -> Place:
    return Place(tx.organisation_id, request.uid, "idempotency_keys.sealed_answer")


async def _sweep(tx: Transaction) -> None:
    await tx.connection.execute(
        # An array is made once; a join might run the choice again for each row, and delete more.
        "DELETE FROM idempotency_keys WHERE organisation_id = $1 AND uid = ANY (ARRAY("
        "SELECT uid FROM idempotency_keys WHERE organisation_id = $1 AND created_at <= $2 "
        "ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED))",
        tx.organisation_id,
        tx.now - KEPT_FOR,
        _SEEN_AT_ONCE,
    )
