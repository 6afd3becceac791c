"""Reads of subscriptions: one statement each."""

from __future__ import annotations

from rxdesk.access import Read

_ACTIVE = """
SELECT coalesce(json_agg(json_build_object(
  'uid', n.uid, 'notification_type', n.notification_type, 'target', n.target, 'options', 'WEBHOOK',
  'payload_version', n.payload_version) ORDER BY n.created_at, n.uid), '[]')::text AS body
FROM notification_subscriptions n
WHERE n.organisation_id = $1 AND {whose} AND n.deactivated_at IS NULL
"""

SUBSCRIPTIONS = Read(_ACTIVE.format(whose="n.pharmacy_uid IS NULL"))
SUBSCRIPTIONS_OF_PHARMACY = Read(_ACTIVE.format(whose="n.pharmacy_uid = c.pharmacy_uid"))
