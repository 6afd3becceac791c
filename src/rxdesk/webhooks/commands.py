"""What integrators do with subscriptions; run inside the caller's transaction."""

from __future__ import annotations

import json
import secrets

from rxdesk import errors
from rxdesk.access import Transaction
from rxdesk.kit.sealing import Place
from rxdesk.kit.signing import new_signing_secret
from rxdesk.kit.targets import Target
from rxdesk.kit.uids import new_uid
from rxdesk.webhooks.events import EVENT_TYPES
from rxdesk.webhooks.schemas import CreatedSubscription, NewSubscription, SubscriptionReference

# A subscription made by a key that may not read what the events carry gets them cut to uid, status, times.
_CREATE = """
INSERT INTO notification_subscriptions (organisation_id, uid, notification_type, target, target_key,
  payload_version, meta_data, header_key, sealed_header_value, sealed_signing_secret, full_data, created_at,
  actor_kind, actor_uid)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, k.permissions @> $14::text[], $11, $12, $13
FROM api_keys k WHERE k.organisation_id = $1 AND k.uid = $13
ON CONFLICT (organisation_id, notification_type, target_key) WHERE deactivated_at IS NULL DO NOTHING
RETURNING uid"""

_SEALED = """
SELECT uid, sealed_signing_secret FROM notification_subscriptions
WHERE organisation_id = $1 AND notification_type = $2 AND target_key = $3 AND deactivated_at IS NULL"""


def _secret_place(organisation_id: int, uid: str) -> Place:
    return Place(organisation_id, uid, "notification_subscriptions.sealed_signing_secret")


def _header_place(organisation_id: int, uid: str) -> Place:
    return Place(organisation_id, uid, "notification_subscriptions.sealed_header_value")


async def create_subscription(tx: Transaction, body: NewSubscription, target: Target) -> CreatedSubscription:
    """Store a subscription, its secret and header value sealed; `target` is the body's, taken apart.

    Raises 409 for the same type and target twice.
    """
    uid, secret = new_uid("ns"), new_signing_secret(secrets.token_bytes)
    version = body.payload_version or "1"
    header_value = (
        None
        if body.header_value is None
        else tx.sealer.seal(body.header_value, _header_place(tx.organisation_id, uid))
    )
    created = await tx.connection.fetchval(
        _CREATE,
        tx.organisation_id,
        uid,
        body.notification_type,
        body.target,
        target.url,
        version,
        json.dumps(body.meta_data or {}),
        body.header_key,
        header_value,
        tx.sealer.seal(secret, _secret_place(tx.organisation_id, uid)),
        tx.now,
        tx.actor_kind,
        tx.actor_uid,
        list(EVENT_TYPES[body.notification_type].needs),
    )
    if created is None:
        raise errors.simple(409, "There is an active subscription of this type for this target")
    return CreatedSubscription(
        uid=uid,
        notification_type=body.notification_type,
        target=body.target,
        options="WEBHOOK",
        payload_version=version,
        signing_secret=secret,
    )


async def remove_subscription(tx: Transaction, reference: SubscriptionReference, target_key: str) -> None:
    """Deactivate the active subscription of a type and target, in whatever spelling.

    `target_key` is the target's normal spelling, or the target as it was given where it has none. Raises 404 when
    there is none.
    """
    removed = await tx.connection.fetchval(
        "UPDATE notification_subscriptions SET deactivated_at = $4, actor_kind = $5, actor_uid = $6 "
        "WHERE organisation_id = $1 AND notification_type = $2 AND (target_key = $3 OR target = $7) "
        "AND deactivated_at IS NULL RETURNING uid",
        tx.organisation_id,
        reference.notification_type,
        target_key,
        tx.now,
        tx.actor_kind,
        tx.actor_uid,
        reference.target,
    )
    if removed is None:
        raise errors.not_found()


async def signing_secret(tx: Transaction, event_type: str, target: Target) -> str | None:
    """Give the secret of the active subscription for a target and type, or None."""
    row = await tx.connection.fetchrow(_SEALED, tx.organisation_id, event_type, target.url)
    if row is None:
        return None
    return tx.sealer.open(row["sealed_signing_secret"], _secret_place(tx.organisation_id, row["uid"]))
