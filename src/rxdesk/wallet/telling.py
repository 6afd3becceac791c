"""Devices are told that a pass has changed: a push for each, queued in the transaction that changes it.

Google stands for all devices that hold the pass in its wallet: it is one of the pass's devices while it is saved there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rxdesk.access import Read, Transaction
from rxdesk.jobs.queue import CHANNEL
from rxdesk.wallet.tags import Changing

KIND: Final = "wallet_push"
GOOGLE_KIND: Final = "google_push"
GOOGLE: Final = "google"
"""What Google is called among the devices of a pass; no other can be called so."""
SUPERSEDED: Final = "superseded"
"""The reason of a message in whose place the pass showed a later one before the device fetched it."""
# All go to one server over one connection, which no single device may hold up: so many queues, by the device.
_QUEUES = 64

# A push's uid says its place: by the tag, then as the notifications of one call. Jobs that are due at once are claimed,
# and messages given to Google, in that order.
# What becomes of `held (wallet_pass_uid, push_notification_uid, device_identifier, tag)`. $3 now
_QUEUED = f"""
added AS (
  INSERT INTO wallet_pushes (organisation_id, uid, wallet_pass_uid, device_identifier, push_notification_uid, tag,
    status, created_at, updated_at)
  SELECT $1, 'wpu-' || lpad(to_hex(h.tag), 10, '0')
      || lpad(to_hex(row_number() OVER (ORDER BY h.push_notification_uid)), 6, '0')
      || replace(gen_random_uuid()::text, '-', ''),
    h.wallet_pass_uid, h.device_identifier, h.push_notification_uid, h.tag, 'queued', $3, $3
  FROM held h
  RETURNING uid, wallet_pass_uid, device_identifier
), routed AS (
  INSERT INTO jobs (organisation_id, uid, kind, lane, endpoint, due_at)
  SELECT $1, a.uid, r.kind, 'first', hashtextextended(r.queue, 0) & {_QUEUES - 1}, $3
  FROM added a CROSS JOIN LATERAL (
    SELECT '{GOOGLE_KIND}' AS kind, a.wallet_pass_uid AS queue WHERE a.device_identifier = '{GOOGLE}'
    UNION ALL
    SELECT '{KIND}', a.device_identifier WHERE a.device_identifier <> '{GOOGLE}'
  ) r
  RETURNING kind
)
SELECT pg_notify('{CHANNEL}', r.kind) FROM (SELECT DISTINCT kind FROM routed) r"""

# The devices of `changed (wallet_pass_uid, push_notification_uid)`. $2 the tag
_PUSHED = f"""
held AS (
  SELECT c.wallet_pass_uid, c.push_notification_uid, r.device_identifier, $2::bigint AS tag
  FROM changed c JOIN wallet_registrations r ON r.organisation_id = $1 AND r.wallet_pass_uid = c.wallet_pass_uid
  UNION ALL
  SELECT c.wallet_pass_uid, c.push_notification_uid, '{GOOGLE}', $2
  FROM changed c JOIN wallet_google_passes g ON g.organisation_id = $1 AND g.wallet_pass_uid = c.wallet_pass_uid
    AND g.saved_at IS NOT NULL
), {_QUEUED}"""

# $4 passes, $5 notifications
_OF_PASSES = f"""
WITH changed AS (
  SELECT * FROM unnest($4::text[], $5::text[]) AS c (wallet_pass_uid, push_notification_uid)
), {_PUSHED}"""
# $4 the template
_OF_TEMPLATE = f"""
WITH changed AS (
  SELECT p.uid AS wallet_pass_uid, NULL::text AS push_notification_uid FROM wallet_passes p
  WHERE p.organisation_id = $1 AND p.wallet_pass_template_uid = $4 AND p.deleted_at IS NULL
), {_PUSHED}"""

# What Google was given before, and is not the newest. $2 passes, $4 the tags that Google has of them
_TO_GOOGLE = f"""
WITH held AS (
  SELECT DISTINCT p.uid AS wallet_pass_uid, NULL::text AS push_notification_uid, '{GOOGLE}' AS device_identifier,
    greatest(p.tag, t.tag) AS tag
  FROM unnest($2::text[], $4::bigint[]) AS s (wallet_pass_uid, tag)
  JOIN wallet_google_passes g ON g.organisation_id = $1 AND g.wallet_pass_uid = s.wallet_pass_uid
    AND g.saved_at IS NOT NULL
  JOIN wallet_passes p ON p.organisation_id = $1 AND p.uid = s.wallet_pass_uid
  JOIN wallet_pass_templates t ON t.organisation_id = $1 AND t.uid = p.wallet_pass_template_uid
  WHERE greatest(p.tag, t.tag) > s.tag
), {_QUEUED}"""

# $2 the tag, $4 the pass, $5 the device
_TO_DEVICE = f"""
WITH held AS (
  SELECT $4::text AS wallet_pass_uid, NULL::text AS push_notification_uid, $5::text AS device_identifier,
    $2::bigint AS tag
), {_QUEUED}"""

# The device has asked and has been told. $2 the device, $3 passes, $4 the tag
TOLD: Final = """
UPDATE wallet_registrations SET told_tag = $4
WHERE organisation_id = $1 AND device_identifier = $2 AND wallet_pass_uid = ANY ($3::text[]) AND told_tag < $4"""

# A pass was fetched at a tag. By which device is not said, so it counts for those who were told of it before. Where
# none was, a device has fetched without asking: which one is known where only one lacks anything. A message that the
# pass does not show any more has not reached the device, and will not.
# Pushes are locked in the order of their uids, as by whoever records what became of them.
# $2 pass, $3 tag, $4 now, $5 the message that it shows, $6 whether it was sent and not only said to be the same
FETCHED: Final = f"""
WITH lacking AS (
  SELECT w.uid, w.device_identifier, r.told_tag >= w.tag AS told, n.message
  FROM wallet_pushes w
  JOIN wallet_registrations r ON r.organisation_id = $1 AND r.wallet_pass_uid = $2
    AND r.device_identifier = w.device_identifier
  LEFT JOIN push_notifications n ON n.organisation_id = $1 AND n.uid = w.push_notification_uid
  WHERE w.organisation_id = $1 AND w.wallet_pass_uid = $2 AND w.tag <= $3 AND w.status IN ('queued', 'sent')
  ORDER BY w.uid FOR NO KEY UPDATE OF w
), whose AS (
  SELECT bool_or(l.told) AS told, count(DISTINCT l.device_identifier) AS devices FROM lacking l
)
UPDATE wallet_pushes p SET updated_at = $4,
  status = CASE WHEN l.message <> $5::text THEN 'failed' ELSE 'delivered_to_device' END,
  reason = CASE WHEN l.message <> $5::text THEN '{SUPERSEDED}' END
FROM lacking l, whose d
WHERE p.organisation_id = $1 AND p.uid = l.uid AND p.status IN ('queued', 'sent')
  AND (l.told OR NOT d.told AND d.devices = 1 AND $6::boolean)"""

_STATUS = """CASE
    WHEN bool_or(w.status = 'delivered_to_device') THEN 'delivered_to_device'
    WHEN bool_or(w.status = 'sent') THEN 'sent'
    WHEN bool_or(w.status = 'queued') THEN 'queued'
    WHEN bool_or(w.status = 'failed') THEN 'failed'
    ELSE 'no_device' END"""

# $4: a pass or NULL, $5: rows a page, $6: rows before it
NOTIFICATIONS: Final = Read(f"""
SELECT json_build_object(
  'data', coalesce((
    SELECT json_agg(json_build_object(
      'uid', n.uid, 'wallet_pass_uid', n.wallet_pass_uid, 'message', n.message, 'unchanged', n.unchanged,
      'created_at', unix_seconds(n.created_at), 'status', d.status, 'devices', d.devices)
      ORDER BY n.created_at DESC, n.uid DESC)
    FROM (
      SELECT * FROM push_notifications
      WHERE organisation_id = $1 AND ($4::text IS NULL OR wallet_pass_uid = $4)
      ORDER BY created_at DESC, uid DESC LIMIT $5::bigint OFFSET $6::bigint
    ) n CROSS JOIN LATERAL (
      SELECT {_STATUS} AS status, coalesce(json_agg(json_build_object(
        'device', w.device_identifier, 'status', w.status, 'reason', w.reason, 'attempts', w.attempts,
        'updated_at', unix_seconds(w.updated_at)) ORDER BY w.device_identifier, w.uid), '[]') AS devices
      FROM wallet_pushes w WHERE w.organisation_id = $1 AND w.push_notification_uid = n.uid
    ) d), '[]'),
  'totalRegistries', t.total, 'totalPages', (t.total + $5::bigint - 1) / $5::bigint)::text AS body
FROM (
  SELECT count(*) AS total FROM push_notifications
  WHERE organisation_id = $1 AND ($4::text IS NULL OR wallet_pass_uid = $4)
) t
""")


async def tell_devices(
    tx: Changing, tag: int, passes: Sequence[str], notifications: Sequence[str | None] = ()
) -> None:
    """Have the devices that hold these passes pushed, by the tag of the change; a notification for each, or none."""
    of = list(notifications) or [None] * len(passes)
    await tx.connection.execute(_OF_PASSES, tx.organisation_id, tag, tx.now, list(passes), of)


async def tell_devices_of_template(tx: Changing, tag: int, uid: str) -> None:
    """Have the devices that hold a pass of this template pushed."""
    await tx.connection.execute(_OF_TEMPLATE, tx.organisation_id, tag, tx.now, uid)


async def tell_device(tx: Transaction, tag: int, uid: str, device: str) -> None:
    """Have one device that holds a pass pushed."""
    await tx.connection.execute(_TO_DEVICE, tx.organisation_id, tag, tx.now, uid, device)


async def tell_google(tx: Transaction, has: Mapping[str, int]) -> None:
    """Have Google given those of these saved passes that have changed since the tags that it has of them."""
    await tx.connection.execute(_TO_GOOGLE, tx.organisation_id, list(has), tx.now, list(has.values()))
