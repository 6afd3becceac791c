"""A server whose waiting room is broken on purpose: `python broken.py BUG`, with its launch on standard input.

The checker must find each bug by the histories of clients. A new bug is a function in `BUGS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pickle
import sys
import time
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import TypeVar

from rxdesk import serving
from rxdesk.access import Access, Caller, Presumed, Read, Transaction
from rxdesk.kit.parents import end_with_parent
from rxdesk.waiting_room import calling, commands, queries
from rxdesk.web import asgi
from rxdesk.web.call import Call

T = TypeVar("T")
Command = Callable[[Transaction], Awaitable[T]]

_CACHED_SECONDS = 0.5
_ONE_IN = 10  # acknowledged writes are rolled back
_GAP_SECONDS = 0.005  # from a statement to its commit

_cached: dict[str, tuple[float, str]] = {}
_count = itertools.count(1)
_found = Call.found
_write = Access.write


class _RollBackError(Exception):
    pass


def _replace(module: ModuleType, name: str, good: str, bad: str) -> None:
    """Change a statement of a module."""
    statement = getattr(module, name)
    if good not in statement:
        raise LookupError("the bug no longer fits the code")
    setattr(module, name, statement.replace(good, bad))


def _replace_between(name: str, begin: str, end: str, bad: str) -> None:
    """Change a statement of what patients do from the beginning on, up to the end."""
    statement: str = vars(commands)[name]
    first = statement.index(begin)
    _replace(commands, name, statement[first : statement.index(end, first)], bad)


def no_lock() -> None:
    """Draw turns that are unique and rise, but hold nothing until the commit: the next may be seen first."""
    _replace_between(
        "_REGISTER",
        "  INSERT INTO waiting_rooms",
        "\n), counted AS",
        "SELECT pg_current_xact_id()::text::bigint AS last_turn FROM given "
        "WHERE shop_uid AND patient_profile_uid AND preferred_doctor_uid",
    )


def order_by_clock() -> None:
    """Order by the time at which the server took the request up, instead of by the turn under the lock."""
    _replace(
        commands,
        "_REGISTER",
        "  RETURNING last_turn\n",
        "  RETURNING (extract(epoch FROM $2::timestamptz) * 1000000)::bigint AS last_turn\n",
    )


async def _found_cached(self: Call, read: Read, *arguments: object) -> str:
    if read is not queries.STATUS:
        return await _found(self, read, *arguments)
    uid = str(self.path["queue_uid"])
    kept = _cached.get(uid)
    if kept is None or time.monotonic() - kept[0] > _CACHED_SECONDS:
        kept = _cached[uid] = time.monotonic(), await _found(self, read, *arguments)
    return kept[1]


def cached_positions() -> None:
    """Answer with the position of a moment ago."""
    Call.found = _found_cached  # type: ignore[method-assign] # the bug


async def _write_or_not(self: Access, caller: Caller, command: Command[T], _: Presumed | None = None) -> T:
    if next(_count) % _ONE_IN:
        return await _write(self, caller, command)
    answers: list[T] = []

    async def run(tx: Transaction) -> None:
        answers.append(await command(tx))
        raise _RollBackError

    with contextlib.suppress(_RollBackError):
        await _write(self, caller, run)
    return answers[0]


def acknowledged_then_rolled_back() -> None:
    """Answer one write in ten with a success, and undo it."""
    Access.write = Access.write_at_once = _write_or_not  # type: ignore[assignment,method-assign] # the bug


async def _write_slowly(self: Access, caller: Caller, command: Command[T], _: Presumed | None = None) -> T:
    async def run(tx: Transaction) -> T:
        result = await command(tx)
        await asyncio.sleep(_GAP_SECONDS)
        return result

    return await _write(self, caller, run)


def duplicate_let_through() -> None:
    """Look for the patient's visit before the lock is had; the database must be without its unique index."""
    _replace_between(
        "_REGISTER",
        "  ON CONFLICT (organisation_id, shop_uid, patient_uid)",
        "  RETURNING uid, created_at",
        "  WHERE NOT EXISTS (SELECT FROM waiting_room_visits WHERE organisation_id = $1 AND shop_uid = $6 "
        "AND patient_uid = $7 AND status IN ('waiting', 'allocated') AND deleted_at IS NULL)\n",
    )
    # Where a patient waits twice, the next request must not show it by an error.
    _replace(commands, "_REGISTER", "SELECT uid FROM present) AS", "SELECT min(uid) FROM present) AS")
    Access.write_at_once = _write_slowly  # type: ignore[assignment,method-assign] # as a slow disk would


def called_twice() -> None:
    """Choose who is due without a lock, and take that patient though another doctor has done so meanwhile."""
    _replace(calling, "_LOCK_ROOMS_OF", " FOR NO KEY UPDATE OF r", "")
    _replace(calling, "_CALL", " FOR NO KEY UPDATE OF v) f", ") f")
    _replace(
        calling,
        "_CALL",
        "v.ctid = (SELECT d.place FROM due d) AND v.status = 'waiting'",
        "v.uid = (SELECT x.uid FROM waiting_room_visits x WHERE x.organisation_id = $1 "
        "AND x.ctid = (SELECT d.place FROM due d))",
    )


def called_by_clock() -> None:
    """Call the one whose request was taken up first, instead of the first by the turn under the lock."""
    _replace(
        calling,
        "_CALL",
        "ORDER BY v.turn LIMIT 1 FOR",
        "ORDER BY coalesce(v.requeued_at, v.created_at), v.turn LIMIT 1 FOR",
    )
    Access.write_at_once = _write_slowly  # type: ignore[assignment,method-assign] # as a slow disk would


def cancelled_without_lock() -> None:
    """Cancel under the visit's lock alone: a place that is answered before its commit may be true no more.

    Each turn is in a block of its own, as who changes one block waits for the other all the same.
    """
    _replace(
        commands, "_REGISTER", "SET last_turn = room.last_turn + 1,", "SET last_turn = room.last_turn + 256,"
    )
    _replace_between("_CANCEL", ", \nroom AS MATERIALIZED", ", visit AS MATERIALIZED", "")
    _replace(commands, "_CANCEL", " CROSS JOIN (SELECT count(*) FROM raised) locked", "")
    Access.write_at_once = _write_slowly  # type: ignore[assignment,method-assign] # as a slow disk would


BUGS: dict[str, Callable[[], None]] = {
    "no lock": no_lock,
    "order by clock": order_by_clock,
    "cached positions": cached_positions,
    "acknowledged then rolled back": acknowledged_then_rolled_back,
    "duplicate let through": duplicate_let_through,
    "called twice": called_twice,
    "called by the clock": called_by_clock,
    "cancelled without a lock": cancelled_without_lock,
}


def _fall(error: BaseException) -> list[str]:
    """End: a bug that the code does not survive is none that a history could show, and must not pass for one."""
    del error
    os._exit(3)


# In this module's body, as worker processes may import it anew.
if __name__ in {"__main__", "__mp_main__"} and sys.argv[1:]:
    asgi._frames = _fall  # noqa: SLF001 (where an error that nobody expected is told)
    BUGS[sys.argv[1]]()

if __name__ == "__main__":
    end_with_parent(os.getppid())
    serving.serve(*pickle.load(sys.stdin.buffer))  # noqa: S301 (from the test that started us)
