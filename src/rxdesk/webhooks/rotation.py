"""Signing secrets rotate, with an overlap in which the old one and the new one sign; in the caller's transaction."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from rxdesk import errors
from rxdesk.access import Transaction
from rxdesk.kit.clock import unix
from rxdesk.kit.signing import new_signing_secret
from rxdesk.webhooks.commands import previous_secret_place, secret_place
from rxdesk.webhooks.log_schemas import Rotated, Rotation


async def _lock(tx: Transaction, uid: str) -> Any:  # noqa: ANN401 - a record
    """Lock a subscription. Raises 404 for an unknown or removed one, 409 for one that has ended by itself."""
    row = await tx.connection.fetchrow(
        "SELECT sealed_signing_secret, previous_secret_until, deactivated_at FROM notification_subscriptions "
        "WHERE organisation_id = $1 AND uid = $2 "
        "AND (deactivated_at IS NULL OR deactivated_reason <> 'removed') FOR UPDATE",
        tx.organisation_id,
        uid,
    )
    if row is None:
        raise errors.not_found()
    if row["deactivated_at"] is not None:
        raise errors.simple(409, "The subscription is not active: enable it first")
    return row


async def rotate_secret(tx: Transaction, uid: str, *, overlap: timedelta, switch: bool = False) -> str:
    """Give a subscription a new signing secret, which is shown this once.

    Until the overlap ends both sign in `webhook-signature`; the vendor's header, which can carry one signature, stays
    with the old secret until then, or not at all with `switch`. A rotation during an overlap ends the one before. An
    overlap of nothing makes the new secret the only one at once. Raises 404 for an unknown or removed one, 409 for
    one that has ended by itself.
    """
    sealed = (await _lock(tx, uid))["sealed_signing_secret"]
    place, before = secret_place(tx.organisation_id, uid), previous_secret_place(tx.organisation_id, uid)
    previous = tx.sealer.seal(tx.sealer.open(sealed, place), before) if overlap else None
    secret = new_signing_secret(secrets.token_bytes)
    await tx.connection.execute(
        "UPDATE notification_subscriptions SET sealed_signing_secret = $3, sealed_previous_secret = $4, "
        "previous_secret_until = $5, switched = $6, actor_kind = $7, actor_uid = $8 "
        "WHERE organisation_id = $1 AND uid = $2",
        tx.organisation_id,
        uid,
        tx.sealer.seal(secret, place),
        previous,
        tx.now + overlap if overlap else None,
        switch,
        tx.actor_kind,
        tx.actor_uid,
    )
    return secret


async def switch_now(tx: Transaction, uid: str) -> None:
    """Let the vendor's header be signed with the new secret before the overlap ends.

    Raises 404 for an unknown or removed one, 409 for one that has ended by itself, or when no overlap lasts.
    """
    row = await _lock(tx, uid)
    if row["previous_secret_until"] is None or row["previous_secret_until"] <= tx.now:
        raise errors.simple(409, "The old secret signs no more")
    await tx.connection.execute(
        "UPDATE notification_subscriptions SET switched = true, actor_kind = $3, actor_uid = $4 "
        "WHERE organisation_id = $1 AND uid = $2",
        tx.organisation_id,
        uid,
        tx.actor_kind,
        tx.actor_uid,
    )


async def rotate(tx: Transaction, uid: str, rotation: Rotation) -> Rotated:
    """Rotate a signing secret as the Operations API asks for it. Raises as `rotate_secret`."""
    overlap = timedelta(seconds=rotation.overlap_seconds)
    secret = await rotate_secret(tx, uid, overlap=overlap, switch=rotation.switch_now)
    return Rotated(
        uid=uid,
        signing_secret=secret,
        previous_secret_until=unix(tx.now + overlap) if overlap else None,
    )
