"""The connection pool: connections remember which organisation they are set to.

Ours and not asyncpg's, because that one resets a connection on each release (a round trip) and cannot prefer
one. The order of steps is the wall's mortar: tag = none → set the organisation, outside any transaction →
tag = organisation. Whatever ends in an error or a cancellation closes its connection: a tag is never wrong.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from itertools import count
from types import TracebackType
from typing import Any, TypeAlias

import asyncpg

from rxdesk.errors import ApiError
from rxdesk.kit.deadlines import Deadline, Deadlines

# asyncpg's own classes are generic over the record; we use the plain one.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connect: TypeAlias = Callable[[], Awaitable[Connection]]

# What a database or a role may have set otherwise, and our statements rely on.
SESSION = {"timezone": "UTC", "datestyle": "ISO, YMD", "default_transaction_isolation": "read committed"}
WAIT_SECONDS = 1.5  # a burst on one queue passes in less; see docs/decisions/0008
CONNECT_SECONDS = 0.9  # a refused or hanging connection must be a 503 within a second
REFUSED_SECONDS = 0.25  # until PostgreSQL, which has too many connections, is asked for a further one again


class DatabaseUnavailableError(Exception):
    """The database did not answer, refused, was lost, or was too slow; the API answers 503."""


_UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutdown, crash, statement timeout
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # after a switch-over, until connections reach the new primary
    asyncpg.InvalidAuthorizationSpecificationError,  # a wrong password too: the operator's to mend
)


class _Pooled:
    __slots__ = ("connection", "organisation_id")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.organisation_id: int | None = None

    def is_clean(self) -> bool:
        return not self.connection.is_closed() and not self.connection.is_in_transaction()


class _Shares:
    """Places that an organisation may have at once; what nobody uses is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used: dict[int, tuple[asyncio.Semaphore, int]] = {}

    @contextmanager
    def of(self, organisation_id: int) -> Iterator[asyncio.Semaphore]:
        """Give the organisation's places."""
        places, users = self._used.get(organisation_id, (asyncio.Semaphore(self._most), 0))
        self._used[organisation_id] = places, users + 1
        try:
            yield places
        finally:
            places, users = self._used[organisation_id]
            if users == 1:
                del self._used[organisation_id]
            else:
                self._used[organisation_id] = places, users - 1


class Pool:
    """At most `size` connections; a caller names its organisation and gets one that is set to it."""

    def __init__(
        self,
        connect: Connect,
        *,
        size: int,
        wait_seconds: float = WAIT_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._connect = connect
        self._size = size
        self._wait_seconds = wait_seconds
        self._connect_seconds = connect_seconds
        self._idle: list[_Pooled] = []
        self._open = 0
        self._coming = count()
        # Each with its place in the order of coming, in that order.
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        # Runs while PostgreSQL has refused a further connection: the only one then to open any, unless there is none.
        self._asking: asyncio.Task[None] | None = None
        self._in_use: set[_Pooled] = set()
        self._closed = False
        self._deadlines = Deadlines()
        # Writers may wait long for one row's lock, such as that of a waiting room. Some connections are never theirs,
        # so that readers do not wait with them; and some are never one organisation's, so that others do not.
        most = max(1, size * 3 // 4)
        self._writers = asyncio.Semaphore(most)
        self._writers_of = _Shares(max(1, most * 3 // 4))

    @asynccontextmanager
    async def acquire_to_write(
        self, organisation_id: int, *, timeout_seconds: float
    ) -> AsyncIterator[Connection]:
        """Lend one of the connections that writers may have, as `acquire` does."""
        until = asyncio.get_running_loop().time() + self._wait_seconds
        with self._writers_of.of(organisation_id) as places:
            await _enter(places, until)
            try:
                await _enter(self._writers, until)
                try:
                    async with self.acquire(organisation_id, timeout_seconds=timeout_seconds) as connection:
                        yield connection
                finally:
                    self._writers.release()
            finally:
                places.release()

    def acquire(
        self, organisation_id: int, *, timeout_seconds: float
    ) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection set to the organisation; the whole use is bounded by `timeout_seconds`.

        Raises DatabaseUnavailableError for whatever means that the database cannot serve now.
        """
        return _Loan(self, organisation_id, self._deadlines.after(timeout_seconds))

    def acquire_without(self, *, timeout_seconds: float) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection without an organisation, as `acquire` does: it sees only tables without a policy."""
        return _Loan(self, None, self._deadlines.after(timeout_seconds))

    def at_hand(self, organisation_id: int | None) -> _Pooled | None:
        """Give what `lend` would, if that needs no waiting: the way of nearly all requests, without a coroutine."""
        if self._waiting or not self._idle or self._closed:
            return None
        pooled = self._idle[-1]
        if pooled.organisation_id != organisation_id or pooled.connection.is_closed():
            return None
        self._in_use.add(self._idle.pop())
        return pooled

    async def lend(self, organisation_id: int | None) -> _Pooled:
        """Give a connection that is set to the organisation; for a loan, which gives it back."""
        pooled = await self._take(organisation_id)
        if pooled.organisation_id != organisation_id:
            try:
                await self._set(pooled, organisation_id)
            except BaseException:
                self.give_back(pooled, clean=False)
                raise
        return pooled

    async def answers(self, seconds: float) -> bool:
        """Tell whether the database answers in time; no organisation is needed."""
        pooled: _Pooled | None = None
        clean = False
        try:
            async with asyncio.timeout(seconds):
                pooled = await self._take(None)
                clean = bool(await pooled.connection.fetchval("SELECT true")) and pooled.is_clean()
        except _UNAVAILABLE:
            return False
        finally:
            if pooled is not None:
                self.give_back(pooled, clean=clean)
        return clean

    async def _take(self, organisation_id: int | None) -> _Pooled:
        until = asyncio.get_running_loop().time() + self._wait_seconds
        place = next(self._coming)
        if self._waiting:  # nobody overtakes
            await self._wait(place, until)
        while True:
            if self._closed:
                message = "the pool is closed"
                raise asyncpg.InterfaceError(message)
            while self._idle:
                pooled = self._pick(organisation_id)
                if not pooled.connection.is_closed():
                    self._in_use.add(pooled)
                    return pooled
                self._open -= 1
            if self._open < self._size and (self._asking is None or not self._open):
                try:
                    return await self._grow()
                except asyncpg.TooManyConnectionsError:
                    if not self._open:  # nor will one come free
                        raise
                    self._ask_again()
            else:
                await self._wait(place, until)

    def _pick(self, organisation_id: int | None) -> _Pooled:
        # Newest first: a few connections stay warm, and the oldest lose their organisation first.
        for position in range(len(self._idle) - 1, -1, -1):
            if self._idle[position].organisation_id == organisation_id:
                return self._idle.pop(position)
        return self._idle.pop(0)

    async def _grow(self) -> _Pooled:
        self._open += 1
        try:
            async with asyncio.timeout(self._connect_seconds):
                pooled = _Pooled(await self._connect())
        except BaseException as error:
            self._open -= 1
            # Where there are too many, whoever comes next is refused too, and waits for those that we have.
            if not (self._open and isinstance(error, asyncpg.TooManyConnectionsError)):
                self._wake()
            raise
        self._in_use.add(pooled)
        return pooled

    def _ask_again(self) -> None:
        if self._asking is None and not self._closed:
            self._asking = asyncio.create_task(self._grow_for_those_who_wait())

    async def _grow_for_those_who_wait(self) -> None:
        """Open further connections, as soon as PostgreSQL gives them, until nobody waits or all are open.

        Not those who wait do it: while they did, others would have the connection that came free for them.
        """
        pause = REFUSED_SECONDS
        try:
            while True:
                await asyncio.sleep(pause)
                if not self._waiting or self._open >= self._size:
                    return
                try:
                    self.give_back(await self._grow(), clean=True)
                    pause = 0
                except _UNAVAILABLE:
                    pause = REFUSED_SECONDS
        finally:
            self._asking = None

    async def _wait(self, place: int, until: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = place, turn
        insort(self._waiting, waiting)
        try:
            async with asyncio.timeout_at(until):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._wake()  # our turn came as we left: pass it on
            elif waiting in self._waiting:
                self._waiting.remove(waiting)
            raise

    @staticmethod
    async def _set(pooled: _Pooled, organisation_id: int | None) -> None:
        pooled.organisation_id = None
        value = "DEFAULT" if organisation_id is None else f"'{organisation_id:d}'"
        await pooled.connection.execute(f"SET rxdesk.organisation_id = {value}")
        pooled.organisation_id = organisation_id

    def give_back(self, pooled: _Pooled, *, clean: bool) -> None:
        """Have a connection back; one that is not clean is closed."""
        self._in_use.discard(pooled)
        if clean and not self._closed:
            self._idle.append(pooled)
        else:
            self._open -= 1
            pooled.connection.terminate()
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def close(self) -> None:
        """Close all connections; those in use are cut off."""
        self._closed = True
        for pooled in [*self._idle, *self._in_use]:
            pooled.connection.terminate()
        self._idle.clear()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])


class _Loan:
    """A connection for the time of an `async with`. A class and not a generator: each request has one."""

    __slots__ = ("_deadline", "_organisation_id", "_pool", "_pooled")

    def __init__(self, pool: Pool, organisation_id: int | None, deadline: Deadline) -> None:
        self._pool = pool
        self._organisation_id = organisation_id
        self._deadline = deadline

    async def __aenter__(self) -> Connection:
        self._deadline.__enter__()
        try:
            pool, organisation_id = self._pool, self._organisation_id
            self._pooled = pool.at_hand(organisation_id) or await pool.lend(organisation_id)
        except BaseException as error:
            self._end(error)
            raise
        return self._pooled.connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        # After a rule's refusal, thrown by us after the statement ended well, the connection is as clean as before.
        clean = (error is None or isinstance(error, ApiError)) and self._pooled.is_clean()
        self._pool.give_back(self._pooled, clean=clean)
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        """End the deadline, and raise what an error means to the caller, if that is another."""
        try:
            self._deadline.__exit__(type(error) if error else None, error, None)
        except TimeoutError as timeout:
            raise DatabaseUnavailableError(type(timeout).__name__) from error
        if isinstance(error, _UNAVAILABLE):
            raise DatabaseUnavailableError(type(error).__name__) from error


async def _enter(places: asyncio.Semaphore, until: float) -> None:
    """Take one of the places; DatabaseUnavailableError when there is none by then, by the loop's clock."""
    if not places.locked():
        await places.acquire()  # at once, and without a time limit, which costs more than the place
        return
    try:
        async with asyncio.timeout_at(until):
            await places.acquire()
    except TimeoutError as error:
        raise DatabaseUnavailableError(type(error).__name__) from error


def connector(
    arguments: dict[str, Any],
    *,
    statement_seconds: float,
    name: str,
    probed: bool = False,
    queueing: bool = False,
) -> Connect:
    """Make the function that opens one connection with the time limits of the house.

    `arguments` go to asyncpg.connect as they are; `name` is shown in pg_stat_activity. `probed`: the server asks an
    idle client for signs of life, and drops one that gives none within seconds. `queueing`: it works on the queue.
    """
    settings = {
        "application_name": name,
        "statement_timeout": str(round(statement_seconds * 1000)),
        "lock_timeout": "2000",
        "idle_in_transaction_session_timeout": "10000",
        **SESSION,
        "jit": "off",  # compiling costs more than any of our statements
        "plan_cache_mode": "force_generic_plan",  # planning costs more than any of ours gains by it
    }
    if queueing:
        # A queue is empty most of the time, and its statistics say so; plans that are made then read all of it, and
        # are kept when a million jobs have come.
        settings["enable_seqscan"] = "off"
    if probed:
        settings |= {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"}

    async def connect() -> Connection:
        return await asyncpg.connect(**arguments, server_settings=settings)

    return connect
