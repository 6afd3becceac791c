"""What an operator does with organisations and keys; run inside the caller's transaction."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg

from rxdesk.db.pool import Connection
from rxdesk.kit.keys import digest_of, hint_of, new_key
from rxdesk.kit.uids import new_uid
from rxdesk.permissions import objection

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_CODE_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that is mistaken for another when read out
_CODE_LENGTH = 8
LONGEST_OVERLAP = timedelta(days=7)
_NAMED_PHARMACIES = 20  # as many as a message can list
_OPERATOR = ("operator", "cli")


class OperatorError(Exception):
    """The command cannot be done; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation as operators see it."""

    id: int
    uid: str
    slug: str
    display_name: str
    public_code: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at the one moment when its plain text is known."""

    uid: str
    key: str
    expires_at: datetime | None


async def enter(connection: Connection, organisation_id: int) -> None:
    """Set a connection to an organisation for the rest of its life: the row policies then apply to it."""
    await connection.execute(f"SET rxdesk.organisation_id = '{organisation_id:d}'")


async def create_organisation(
    connection: Connection,
    *,
    slug: str,
    display_name: str,
    time_zone: str = "Europe/Berlin",
    public_code: str | None = None,
) -> Organisation:
    """Create an organisation. Raises OperatorError on a bad or taken slug and an unknown time zone."""
    if _SLUG.fullmatch(slug) is None:
        message = "a slug is 1–63 of a–z, 0–9 and - and neither begins nor ends with -"
        raise OperatorError(message)
    if not display_name.strip() or not display_name.isprintable():
        message = "the display name is empty or holds control characters"
        raise OperatorError(message)
    try:
        ZoneInfo(time_zone)
        known = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1)", time_zone
        )
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        known = False
    if not known:
        message = f"unknown time zone {time_zone!r}; it is a name such as Europe/Berlin"
        raise OperatorError(message)
    code = public_code or "".join(secrets.choice(_CODE_ALPHABET) for _ in range(_CODE_LENGTH))
    try:
        rows = await connection.fetch(
            "INSERT INTO organisations "
            "(uid, slug, public_code, display_name, time_zone, actor_kind, actor_uid) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7) "
            "RETURNING id, uid, slug, display_name, public_code, time_zone",
            new_uid("org"),
            slug,
            code,
            display_name.strip(),
            time_zone,
            *_OPERATOR,
        )
    except asyncpg.UniqueViolationError as error:
        message = f"the slug {slug} is taken" if "slug" in (error.constraint_name or "") else "try again"
        raise OperatorError(message) from error
    return Organisation(**rows[0])


async def create_key(  # noqa: PLR0913 (a key's own facts)
    connection: Connection,
    organisation_id: int,
    *,
    name: str,
    permissions: list[str],
    per_second: int,
    per_minute: int,
    expires_at: datetime | None = None,
    live: bool = True,
    rotated_from: str | None = None,
    pharmacy_uid: str | None = None,
) -> NewKey:
    """Create a key of the organisation, or of one of its pharmacies; only its digest is stored.

    Raises OperatorError: a permission that is unknown or of the other kind, no such pharmacy, an empty name.
    """
    message = objection(sorted(set(permissions)), of_pharmacy=pharmacy_uid is not None)
    if message is not None:
        raise OperatorError(message)
    if not name.strip() or not name.isprintable():
        message = "a key needs a name without control characters, so that its owner knows it again"
        raise OperatorError(message)
    if per_second < 0 or per_minute < 0:
        message = "a rate limit is a whole number from 0; 0 means none"
        raise OperatorError(message)
    if pharmacy_uid is not None:
        await _check_pharmacy(connection, organisation_id, pharmacy_uid)
    key = new_key(organisation_id, live=live)
    uid = new_uid("key")
    await connection.execute(
        "INSERT INTO api_keys (organisation_id, uid, name, digest, hint, permissions, rate_limit_per_second, "
        "rate_limit_per_minute, expires_at, rotated_from, pharmacy_uid, actor_kind, actor_uid) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        organisation_id,
        uid,
        name.strip(),
        digest_of(key),
        hint_of(key),
        sorted(set(permissions)),
        per_second,
        per_minute,
        expires_at,
        rotated_from,
        pharmacy_uid,
        *_OPERATOR,
    )
    return NewKey(uid, key, expires_at)


async def _check_pharmacy(connection: Connection, organisation_id: int, uid: str) -> None:
    rows = await connection.fetch(
        "SELECT uid, display_name FROM pharmacies WHERE organisation_id = $1 AND deleted_at IS NULL "
        "ORDER BY uid = $2 DESC, uid LIMIT $3",
        organisation_id,
        uid,
        _NAMED_PHARMACIES,
    )
    if not rows or rows[0]["uid"] != uid:
        there = ", ".join(f"{row['uid']} ({row['display_name']})" for row in rows)
        message = f"no pharmacy {uid!r} in this organisation; there " + (
            f"are: {there}" if rows else "is none yet: `rxdesk import` brings them in"
        )
        raise OperatorError(message)


async def permit(
    connection: Connection, organisation_id: int, *, digest: bytes, permissions: list[str]
) -> bool:
    """Give an active key these permissions, whatever it had; False when there is no such key."""
    done = await connection.fetchval(
        "UPDATE api_keys SET permissions = $3 "
        "WHERE organisation_id = $1 AND digest = $2 AND revoked_at IS NULL "
        "AND (expires_at IS NULL OR expires_at > now()) RETURNING uid",
        organisation_id,
        digest,
        sorted(permissions),
    )
    return done is not None


async def rotate_key(
    connection: Connection, organisation_id: int, *, uid: str, overlap: timedelta, now: datetime
) -> tuple[NewKey, datetime]:
    """Make a new key with the same rights and let the old one live for the overlap (0–7 days).

    Give the new key, and when the old one ends: it never lives longer than it would have. Raises OperatorError when
    the key is gone, or has been rotated.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        message = "the overlap is from 0 to 7 days"
        raise OperatorError(message)
    old = await connection.fetchrow(
        "SELECT name, permissions, rate_limit_per_second, rate_limit_per_minute, expires_at, hint, pharmacy_uid "
        "FROM api_keys WHERE organisation_id = $1 AND uid = $2 AND revoked_at IS NULL "
        "AND (expires_at IS NULL OR expires_at > $3) FOR UPDATE",
        organisation_id,
        uid,
        now,
    )
    if old is None:
        message = f"no active key {uid} in this organisation; `rxdesk keys list` shows them"
        raise OperatorError(message)
    # The row above is locked, so of two that rotate it at once the second one sees the first one's key.
    successor = await connection.fetchval(
        "SELECT uid FROM api_keys WHERE organisation_id = $1 AND rotated_from = $2 AND revoked_at IS NULL",
        organisation_id,
        uid,
    )
    if successor is not None:
        message = (
            f"{uid} was rotated already, to {successor}: rotate that one, or revoke it and rotate {uid} again"
        )
        raise OperatorError(message)
    ends_at = await connection.fetchval(
        "UPDATE api_keys SET expires_at = LEAST(expires_at, $3) WHERE organisation_id = $1 AND uid = $2 "
        "RETURNING expires_at",
        organisation_id,
        uid,
        now + overlap,
    )
    made = await create_key(
        connection,
        organisation_id,
        name=old["name"],
        permissions=list(old["permissions"]),
        per_second=old["rate_limit_per_second"],
        per_minute=old["rate_limit_per_minute"],
        expires_at=old["expires_at"],
        live=old["hint"].startswith("rxd_live_"),
        rotated_from=uid,
        pharmacy_uid=old["pharmacy_uid"],
    )
    return made, ends_at


async def revoke_key(connection: Connection, organisation_id: int, *, uid: str, now: datetime) -> None:
    """Revoke a key: dead at its next request. Raises OperatorError when there is none."""
    done = await connection.fetchval(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, $3) "
        "WHERE organisation_id = $1 AND uid = $2 RETURNING uid",
        organisation_id,
        uid,
        now,
    )
    if done is None:
        message = f"no key {uid} in this organisation; `rxdesk keys list` shows them"
        raise OperatorError(message)


async def set_intent_window(connection: Connection, organisation_id: int, *, intent: str, days: int) -> None:
    """Set for how many days a signed submission of an intent counts."""
    if days < 0 or not intent or "\x00" in intent:
        message = "an intent window is an intent's name and a whole number of days from 0"
        raise OperatorError(message)
    await connection.execute(
        "INSERT INTO intent_windows (organisation_id, uid, valid_days) VALUES ($1, $2, $3) "
        "ON CONFLICT (organisation_id, uid) DO UPDATE SET valid_days = excluded.valid_days",
        organisation_id,
        intent,
        days,
    )
