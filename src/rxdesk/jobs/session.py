"""A worker's identity: a number that is an advisory lock on one connection, which also hears of new work.

The lock goes with the connection, however that ends, and with it the worker's claims: a restart waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from rxdesk.db.pool import Connect, Connection
from rxdesk.jobs.queue import CHANNEL, LOCK_CLASS

_ATTEMPTS = 100  # numbers that are taken: the sequence has gone round


class Session:
    """One connection with a number. `wake` is called for each notice of work, and when the connection is lost."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.number = number

    def lost(self) -> bool:
        """Tell whether the connection, and so the number, is gone."""
        return self.connection.is_closed()

    def end(self) -> None:
        """Give the number up at once."""
        self.connection.terminate()


async def open_session(connect: Connect, wake: Callable[[], None], *, number: int | None = None) -> Session:
    """Connect, take a number and listen; `number` is the one that this worker had, if it is free still.

    With its old number a worker whose connection was lost keeps what it has in flight, as long as nobody freed it.
    """
    connection = await connect()
    try:
        taken = await _take_number(connection, number)
        connection.add_termination_listener(lambda _: wake())
        await connection.add_listener(CHANNEL, lambda *_: wake())
    except BaseException:
        connection.terminate()
        raise
    return Session(connection, taken)


async def _take_number(connection: Connection, number: int | None) -> int:
    for _ in range(_ATTEMPTS):
        if number is None:
            number = int(await connection.fetchval("SELECT nextval('worker_ids')"))
        if await connection.fetchval(f"SELECT pg_try_advisory_lock({LOCK_CLASS}, $1)", number):
            return number
        number = None
    message = "no worker's number is free"
    raise RuntimeError(message)
