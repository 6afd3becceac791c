"""Reads of subscriptions: one statement each."""

from __future__ import annotations

from rxdesk.access import Read

SUBSCRIPTIONS = Read("""
SELECT coalesce(json_agg(json_build_object(
  'uid', n.uid, 'notification_type', n.notification_type, 'target', n.target, 'options', 'WEBHOOK',
  'payload_version', n.payload_version) ORDER BY n.created_at, n.uid), '[]')::text AS body
FROM notification_subscriptions n
WHERE n.organisation_id = $1 AND n.pharmacy_uid IS NULL AND n.deactivated_at IS NULL
""")
