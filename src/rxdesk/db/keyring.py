"""Whether the configured encryption keys are those that sealed what the database holds.

Each key that ever was the first of the ring has left a canary: a text that it sealed. A ring fits a database when it
opens all of them. What a wrong ring would do otherwise shows late and is hard to mend: secrets that do not open, and
new ones beside them, sealed by a key of the same id.
"""

from __future__ import annotations

from rxdesk.db.pool import Connection
from rxdesk.kit.sealing import Place, Sealer, SealError, read_keys

_TEXT = "canary"


class KeyringError(Exception):
    """The ring does not fit the database; the message says which key, and what to do."""


def _place(key_id: str) -> Place:
    return Place(0, key_id, "canary")


async def known(connection: Connection) -> list[str]:
    """Give the ids of the keys that have sealed something in this database, oldest first."""
    rows = await connection.fetch("SELECT key_id FROM encryption_keys ORDER BY created_at, key_id")
    return [row["key_id"] for row in rows]


async def verify(connection: Connection, text: str) -> int:
    """Open all canaries with a ring, in the form that `sealing.read_keys` reads; give how many there are.

    Raises KeyringError.
    """
    keys = read_keys(text)
    rows = await connection.fetch("SELECT key_id, canary FROM encryption_keys ORDER BY created_at, key_id")
    for row in rows:
        key_id = row["key_id"]
        if key_id not in keys:
            message = (
                f"the encryption key {key_id!r} has sealed secrets in this database and is not configured: put it "
                "back, behind the one that is to seal from now on"
            )
            raise KeyringError(message)
        try:
            Sealer({key_id: keys[key_id]}).open(row["canary"], _place(key_id))
        except SealError:
            message = (
                f"the encryption key {key_id!r} is not the one that has sealed secrets in this database: put that "
                "one back, from where you keep it. A new key needs an id of its own"
            )
            raise KeyringError(message) from None
    return len(rows)


async def enrol(connection: Connection, text: str) -> None:
    """Verify a ring, and leave a canary of its first key. Raises KeyringError."""
    key_id = next(iter(read_keys(text)))
    # Verified afterwards, so that of two servers which start at once with different keys only one goes on.
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO encryption_keys (key_id, canary) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            key_id,
            Sealer(read_keys(text)).seal(_TEXT, _place(key_id)),
        )
        await verify(connection, text)
