"""A server of processes that may be killed: `python served.py [FAULT]`, with its launch on standard input.

With a fault it serves with something broken on purpose, which the tests must find.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pickle
import sys
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, TypeVar

import asyncpg

from rxdesk import access, serving
from rxdesk.access import Access, Caller, Presumed, Transaction
from rxdesk.db.pool import Connection
from rxdesk.kit.parents import end_with_parent

T = TypeVar("T")
Command = Callable[[Transaction], Awaitable[T]]

# How long each fault leaves open what must not be: so long that a few kills are sure to hit it.
_GAP_SECONDS = 0.02

_connect: dict[str, Any] = {}
_write = Access.write
_pending: set[asyncio.Task[Any]] = set()


async def told_after(tx: Transaction, command: Command[T]) -> T:
    """Store events once the change is committed, instead of with it."""
    result = await command(tx)
    await tx.connection.execute("COMMIT; BEGIN")
    await asyncio.sleep(_GAP_SECONDS)
    for last in tx.before_commit:
        await last()
    return result


@cache
def _by_the_way() -> asyncio.Task[Connection]:
    return asyncio.create_task(asyncpg.connect(**_connect))


@cache
def _one_at_a_time() -> asyncio.Lock:
    return asyncio.Lock()


async def told_before(tx: Transaction, command: Command[T]) -> T:
    """Store events by a connection of their own, which commits before the change is.

    A command that has stored its events itself goes on at once: it holds the lock of the stream, for which the other
    connection waits, and would wait for that one here until a time limit ends both.
    """
    result = await command(tx)
    if not tx.before_commit:
        return result
    async with _one_at_a_time():
        other = await _by_the_way()
        await other.execute(f"SET rxdesk.organisation_id = '{tx.organisation_id}'")
        for last in tx.before_commit:
            last._tx = dataclasses.replace(tx, connection=other)  # type: ignore[attr-defined] # noqa: SLF001
            await last()
    await asyncio.sleep(_GAP_SECONDS)
    return result


async def answered_first(self: Access, caller: Caller, command: Command[T], _: Presumed | None = None) -> T:
    """Answer when the command has ended, and commit afterwards."""
    answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    async def run(tx: Transaction) -> T:
        result = await command(tx)
        answer.set_result(result)
        await asyncio.sleep(_GAP_SECONDS)
        return result

    task = asyncio.create_task(_write(self, caller, run))
    _pending.add(task)
    task.add_done_callback(_pending.discard)
    await asyncio.wait([task, answer], return_when=asyncio.FIRST_COMPLETED)
    return answer.result() if answer.done() else await task


def plant(fault: str) -> None:
    """Break the code; in this module's body, as worker processes may import it anew."""
    if fault == "answered_first":
        Access.write = Access.write_at_once = answered_first  # type: ignore[assignment,method-assign] # the fault
    else:
        access.run_command = {"told_after": told_after, "told_before": told_before}[fault]


if __name__ in {"__main__", "__mp_main__"} and sys.argv[1:]:
    plant(sys.argv[1])

if __name__ == "__main__":
    end_with_parent(os.getppid())
    given: tuple[serving.Launch, int] = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the test that started us
    _connect.update(given[0].connect)
    serving.serve(*given)
