"""Tags: each change of a pass or a template takes the organisation's next one, in the order of the commits.

A tag is at least the Unix time of its change and strictly grows, so it also stands for the time of the last change in
whole seconds, which HTTP's dates can tell apart. The lock is held until the commit: a device that has seen a tag has
seen every change before it. It is taken before any pass is changed, or two who change passes could wait for each other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from rxdesk.db.pool import Connection
from rxdesk.kit.clock import unix

_NEXT = """
INSERT INTO wallet_tags AS kept (organisation_id, last_tag) VALUES ($1, $2)
ON CONFLICT (organisation_id) DO UPDATE SET last_tag = greatest(kept.last_tag + 1, excluded.last_tag)
RETURNING last_tag"""


class Changing(Protocol):
    """What a change of passes needs of the transaction that it is in, be it a command's or an import's."""

    @property
    def connection(self) -> Connection:
        """The connection, which is the organisation's."""

    @property
    def organisation_id(self) -> int:
        """Whose passes they are."""

    @property
    def now(self) -> datetime:
        """When."""


async def next_tag(tx: Changing) -> int:
    """Take the organisation's next tag, and its lock until the transaction ends."""
    tag: int = await tx.connection.fetchval(_NEXT, tx.organisation_id, unix(tx.now))
    return tag
