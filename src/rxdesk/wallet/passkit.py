"""The web service that devices ask for newer passes, by Apple's protocol: registrations, what changed, and logs."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from rxdesk import errors
from rxdesk.access import Read, Transaction
from rxdesk.kit.uids import new_uids
from rxdesk.wallet.naming import Named, name_of
from rxdesk.wallet.telling import tell_device

MAX_DEVICES: Final = 50  # that one pass may be on
_KEPT_LOGS = 200
_LOG_LENGTH = 500

# A `Changed`. $4: the device, $5: the tag that it has seen, or NULL. A tag that was never given is that of a database
# that is gone. What is deleted is told of as well: the device fetches it, and has it void.
CHANGED: Final = Read("""
SELECT json_build_object('passes', json_agg(json_build_object('uid', p.uid, 'bare', p.bare_serial)
  ORDER BY p.tag, p.uid), 'tag', max(p.tag))::text AS body
FROM (
  SELECT p.uid, p.bare_serial, greatest(p.tag, t.tag) AS tag
  FROM wallet_registrations r
  JOIN wallet_passes p ON p.organisation_id = $1 AND p.uid = r.wallet_pass_uid
  JOIN wallet_pass_templates t ON t.organisation_id = $1 AND t.uid = p.wallet_pass_template_uid
  WHERE r.organisation_id = $1 AND r.device_identifier = $4
) p
WHERE $5::bigint IS NULL OR p.tag > $5
  OR $5 > coalesce((SELECT k.last_tag FROM wallet_tags k WHERE k.organisation_id = $1), 0)
HAVING count(*) > 0
""")

# What devices have reported, newest first
DEVICE_LOGS: Final = Read("""
SELECT coalesce(json_agg(json_build_object('at', unix_seconds(l.logged_at), 'message', l.message)
  ORDER BY l.uid DESC), '[]')::text AS body
FROM wallet_device_logs l WHERE l.organisation_id = $1
""")

# The locks put registrations of a pass and changes of it one after the other: a change that is not seen here sees the
# registration. The template is locked before the pass, as by an import and by whoever tells of one. $2 the pass
_CURRENT = """
WITH template AS (
  SELECT t.tag FROM wallet_pass_templates t WHERE t.organisation_id = $1 AND t.uid = (
    SELECT k.wallet_pass_template_uid FROM wallet_passes k WHERE k.organisation_id = $1 AND k.uid = $2)
  FOR SHARE
)
SELECT greatest(p.tag, t.tag) AS tag, p.issued_tag FROM template t CROSS JOIN wallet_passes p
WHERE p.organisation_id = $1 AND p.uid = $2
FOR NO KEY UPDATE OF p"""
_BEFORE = """
SELECT count(*) FILTER (WHERE r.device_identifier <> $3) AS others,
  max(r.told_tag) FILTER (WHERE r.device_identifier = $3 AND r.push_token <> $4) AS told_tag,
  bool_or(r.device_identifier = $3) AS known
FROM wallet_registrations r WHERE r.organisation_id = $1 AND r.wallet_pass_uid = $2"""
_REGISTER = """
INSERT INTO wallet_registrations AS r (organisation_id, device_identifier, wallet_pass_uid, push_token, created_at,
  updated_at)
VALUES ($1, $2, $3, $4, $5, $5)
ON CONFLICT (organisation_id, device_identifier, wallet_pass_uid) DO UPDATE
SET push_token = excluded.push_token, updated_at = excluded.updated_at"""
_UNREGISTER = """
DELETE FROM wallet_registrations
WHERE organisation_id = $1 AND device_identifier = $2 AND wallet_pass_uid = $3"""
_LOG = """
INSERT INTO wallet_device_logs (organisation_id, uid, message, logged_at)
SELECT $1, l.uid, l.message, $4 FROM unnest($2::text[], $3::text[]) AS l (uid, message)"""
_FORGET_LOGS = """
DELETE FROM wallet_device_logs WHERE organisation_id = $1 AND uid <= (
  SELECT l.uid FROM wallet_device_logs l WHERE l.organisation_id = $1 ORDER BY l.uid DESC OFFSET $2 LIMIT 1)"""


class Registration(msgspec.Struct, kw_only=True, rename={"push_token": "pushToken"}):
    """How a device wants to be told of a newer pass."""

    push_token: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{2,200}(?![\s\S])")]


class Serials(
    msgspec.Struct, kw_only=True, rename={"serial_numbers": "serialNumbers", "last_updated": "lastUpdated"}
):
    """The passes of a device that are newer than it knows, and the tag to ask with the next time."""

    serial_numbers: list[str]
    last_updated: str


class Changed(msgspec.Struct):
    """The passes of a device that are newer than it knows, and the highest of their tags."""

    passes: list[Named]
    tag: int

    def serials(self, public_code: str) -> Serials:
        """Give what the device is told."""
        return Serials(
            serial_numbers=[name_of(public_code, one) for one in self.passes], last_updated=str(self.tag)
        )


class Since(msgspec.Struct, kw_only=True):
    """From when on a device wants to know."""

    passes_updated_since: (
        Annotated[str, msgspec.Meta(max_length=64, description="The `lastUpdated` of the answer before")]
        | None
    ) = msgspec.field(default=None, name="passesUpdatedSince")

    def tag(self) -> int | None:
        """Give the tag; None for what is none of ours."""
        text = self.passes_updated_since or ""
        return int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(2**62)) - 1 else None


class Logs(msgspec.Struct, kw_only=True):
    """What a device reports."""

    logs: Annotated[list[str], msgspec.Meta(max_length=100)]


async def register(tx: Transaction, device: str, uid: str, push_token: str) -> bool:
    """Register a pass on a device; False when it was, with another push token or the same one.

    A device that may hold an older version than the newest is pushed at once: a new one, when the pass was changed
    since it was issued; one with another push token, when pushes to the token before may have been lost. What it holds
    already shows nothing. 409 when the pass is on as many devices as it may be.
    """
    [current] = await tx.connection.fetch(_CURRENT, tx.organisation_id, uid)
    [before] = await tx.connection.fetch(_BEFORE, tx.organisation_id, uid, device, push_token)
    if before["others"] >= MAX_DEVICES:
        raise errors.simple(409, "The pass is registered on too many devices")
    await tx.connection.execute(_REGISTER, tx.organisation_id, device, uid, push_token, tx.now)
    known = bool(before["known"])
    seen = before["told_tag"] if known else current["issued_tag"]
    if seen is not None and seen < current["tag"]:
        await tell_device(tx, current["tag"], uid, device)
    return not known


async def unregister(tx: Transaction, device: str, uid: str) -> None:
    """End a registration, if there is one."""
    await tx.connection.execute(_UNREGISTER, tx.organisation_id, device, uid)


async def note_logs(tx: Transaction, messages: list[str]) -> None:
    """Keep what a device reports, for an operator to read; the newest 200 of an organisation, 500 characters each."""
    texts = [text for message in messages if (text := message.replace("\x00", "").strip()[:_LOG_LENGTH])]
    if texts:
        await tx.connection.execute(_LOG, tx.organisation_id, new_uids("wdl", len(texts)), texts, tx.now)
        await tx.connection.execute(_FORGET_LOGS, tx.organisation_id, _KEPT_LOGS)
