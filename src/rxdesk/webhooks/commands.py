"""What integrators do with subscriptions; run inside the caller's transaction."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

import asyncpg

from rxdesk import errors
from rxdesk.access import Transaction
from rxdesk.kit.clock import unix
from rxdesk.kit.sealing import Place
from rxdesk.kit.signing import new_signing_secret
from rxdesk.kit.targets import Target
from rxdesk.kit.uids import new_uid
from rxdesk.webhooks.events import EVENT_TYPES
from rxdesk.webhooks.log_schemas import Enabled, ReplayHint
from rxdesk.webhooks.outbox import KIND, WAITING_FOR
from rxdesk.webhooks.schemas import CreatedSubscription, NewSubscription, SubscriptionReference

# A subscription made by a key that may not read what the events carry gets them cut to uid, status, times. It is the
# pharmacy's if the key is.
_CREATE = """
INSERT INTO notification_subscriptions (organisation_id, uid, notification_type, target, target_key,
  payload_version, meta_data, header_key, sealed_header_value, sealed_signing_secret, full_data, pharmacy_uid,
  created_at, actor_kind, actor_uid)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
  CASE WHEN k.pharmacy_uid IS NULL THEN k.permissions @> $14::text[]
    WHEN $3::text = 'pharmacy_sku_stock_updated' THEN 'stock_read' = ANY (k.permissions)
    ELSE 'orders_read' = ANY (k.permissions) END, k.pharmacy_uid, $11, $12, $13
FROM api_keys k WHERE k.organisation_id = $1 AND k.uid = $13
ON CONFLICT (organisation_id, notification_type, target_key, (coalesce(pharmacy_uid, ''))) WHERE deactivated_at IS NULL
DO NOTHING
RETURNING uid"""

_SEALED = """
SELECT uid, sealed_signing_secret, switched,
  CASE WHEN previous_secret_until > $4 THEN sealed_previous_secret END AS sealed_previous_secret
FROM notification_subscriptions
WHERE organisation_id = $1 AND notification_type = $2 AND target_key = $3 AND pharmacy_uid IS NULL
  AND deactivated_at IS NULL"""


# Those in flight are left to their worker, which learns of it when it records. What waits is looked for in the queue,
# in its endpoint's part: a delivery's uid ends with its subscription's. $2 subscription, $3 kind of the jobs, $4 now,
# $5 how many
_CANCEL_PENDING = f"""
WITH waiting AS (
  SELECT j.ctid AS place, j.uid
  FROM notification_subscriptions n CROSS JOIN unnest('{{first,retry}}'::text[]) AS l (lane) CROSS JOIN LATERAL (
    SELECT ctid, uid FROM jobs WHERE {WAITING_FOR.format(subscription="n", lane="l.lane", kind="$3")}
    LIMIT $5 FOR UPDATE SKIP LOCKED
  ) j
  WHERE n.organisation_id = $1 AND n.uid = $2 LIMIT $5
), unrouted AS (
  DELETE FROM jobs USING waiting w WHERE jobs.ctid = w.place RETURNING jobs.uid
)
UPDATE deliveries SET status = 'cancelled', next_attempt_at = NULL, ended_at = $4 FROM unrouted u
WHERE deliveries.organisation_id = $1 AND deliveries.uid = u.uid AND deliveries.status = 'pending'"""
CANCEL_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class SigningSecrets:
    """What signs a delivery: while a rotation's overlap lasts also the secret before, and the vendor header's."""

    secret: str
    previous_secret: str | None = None
    vendor_secret: str | None = None


def secret_place(organisation_id: int, uid: str) -> Place:
    """Give the place of a subscription's signing secret."""
    return Place(organisation_id, uid, "notification_subscriptions.sealed_signing_secret")


def previous_secret_place(organisation_id: int, uid: str) -> Place:
    """Give the place of the secret before, while a rotation's overlap lasts."""
    return Place(organisation_id, uid, "notification_subscriptions.sealed_previous_secret")


def header_place(organisation_id: int, uid: str) -> Place:
    """Give the place of a subscription's header value."""
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
        else tx.sealer.seal(body.header_value, header_place(tx.organisation_id, uid))
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
        tx.sealer.seal(secret, secret_place(tx.organisation_id, uid)),
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
        "UPDATE notification_subscriptions SET deactivated_at = $4, deactivated_reason = 'removed', "
        "actor_kind = $5, actor_uid = $6 "
        "WHERE organisation_id = $1 AND notification_type = $2 AND (target_key = $3 OR target = $7) "
        "AND pharmacy_uid IS NULL AND deactivated_at IS NULL RETURNING uid",
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
    await cancel_pending(tx, removed)


async def cancel_pending(tx: Transaction, uid: str) -> int:
    """Cancel up to 1,000 deliveries of a subscription that wait; gives how many.

    The rest is cancelled when it becomes due, or by the worker that tidies up.
    """
    done = await tx.connection.execute(_CANCEL_PENDING, tx.organisation_id, uid, KIND, tx.now, CANCEL_AT_ONCE)
    return int(done.rpartition(" ")[2])


async def remove_of_pharmacy(tx: Transaction, uid: str) -> None:
    """Deactivate an active subscription of the caller's pharmacy. Raises 404 when it has no such one."""
    removed = await tx.connection.fetchval(
        "UPDATE notification_subscriptions SET deactivated_at = $4, deactivated_reason = 'removed', "
        "actor_kind = $5, actor_uid = $6 "
        "WHERE organisation_id = $1 AND uid = $2 AND pharmacy_uid = $3 AND deactivated_at IS NULL RETURNING uid",
        tx.organisation_id,
        uid,
        tx.pharmacy_uid,
        tx.now,
        tx.actor_kind,
        tx.actor_uid,
    )
    if removed is None:
        raise errors.not_found()
    await cancel_pending(tx, removed)


async def disable_subscription(tx: Transaction, uid: str) -> None:
    """End any subscription of the organisation, a pharmacy's too; one that was removed stays as it is.

    One that had ended by itself counts as removed from then on. Raises 404 for an unknown one.
    """
    found = await tx.connection.fetchrow(
        "SELECT deactivated_reason FROM notification_subscriptions WHERE organisation_id = $1 AND uid = $2 FOR UPDATE",
        tx.organisation_id,
        uid,
    )
    if found is None:
        raise errors.not_found()
    if found["deactivated_reason"] == "removed":
        return
    await tx.connection.execute(
        "UPDATE notification_subscriptions SET deactivated_at = coalesce(deactivated_at, $3), "
        "deactivated_reason = 'removed', actor_kind = $4, actor_uid = $5 WHERE organisation_id = $1 AND uid = $2",
        tx.organisation_id,
        uid,
        tx.now,
        tx.actor_kind,
        tx.actor_uid,
    )
    await cancel_pending(tx, uid)


async def signing_secrets(tx: Transaction, event_type: str, target: Target) -> SigningSecrets | None:
    """Give what signs for the active subscription of a target and type now, or None where there is none."""
    row = await tx.connection.fetchrow(_SEALED, tx.organisation_id, event_type, target.url, tx.now)
    if row is None:
        return None
    place = secret_place(tx.organisation_id, row["uid"])
    secret = tx.sealer.open(row["sealed_signing_secret"], place)
    if row["sealed_previous_secret"] is None:
        return SigningSecrets(secret)
    before = previous_secret_place(tx.organisation_id, row["uid"])
    previous = tx.sealer.open(row["sealed_previous_secret"], before)
    return SigningSecrets(secret, previous, secret if row["switched"] else previous)


# What it has missed began with the first event that did not reach it, and at the latest when it ended. An event has the
# time at which its change began and may be stored after that: so a little earlier, but not from before it was made.
_TO_ENABLE = """
SELECT n.notification_type, n.target, n.deactivated_at, n.deactivated_reason,
  least(m.since, greatest(m.since - interval '1 minute', n.created_at)) AS since
FROM notification_subscriptions n CROSS JOIN LATERAL (
  SELECT least(n.failing_since, n.deactivated_at, (
    SELECT min(e.occurred_at) FROM deliveries d
    JOIN events e ON e.organisation_id = $1 AND e.uid = d.event_uid
    WHERE d.organisation_id = $1 AND d.subscription_uid = n.uid AND d.status IN ('failed', 'cancelled'))) AS since
) m
WHERE n.organisation_id = $1 AND n.uid = $2 FOR UPDATE OF n"""


async def enable_subscription(tx: Transaction, uid: str) -> Enabled:
    """Make a subscription active again that ended by itself; one that is active stays so.

    Says from when a replay brings what was missed. Raises 404 for an unknown one, 409 when its owner removed it or
    another one has taken its place.
    """
    row = await tx.connection.fetchrow(_TO_ENABLE, tx.organisation_id, uid)
    if row is None:
        raise errors.not_found()
    enabled = Enabled(uid=uid, notification_type=row["notification_type"], target=row["target"], replay=None)
    if row["deactivated_at"] is None:
        return enabled
    if row["deactivated_reason"] == "removed":
        raise errors.simple(409, "The subscription was removed by its owner: make a new one")
    try:
        await tx.connection.execute(
            "UPDATE notification_subscriptions SET deactivated_at = NULL, deactivated_reason = NULL, "
            "failing_since = NULL, actor_kind = $3, actor_uid = $4 WHERE organisation_id = $1 AND uid = $2",
            tx.organisation_id,
            uid,
            tx.actor_kind,
            tx.actor_uid,
        )
    except asyncpg.UniqueViolationError as error:
        raise errors.simple(409, "There is an active subscription of this type for this target") from error
    enabled.replay = ReplayHint(subscription_uid=uid, since=unix(row["since"]))
    return enabled
