"""Is there an order of a history's operations in which each answer is the specification's?

The search is Wing and Gong's (1993) with Lowe's memory of where it has been (2017): an operation may come next when no
other one that is still to come returned before it was invoked. Two things make it fast:

- an operation that is right as things stand and changes nothing is taken at once: every order that takes it later
  can take it now;
- those of unknown outcome are tried last, and only where they change something.

`python -m tests.linear.checker FILE` judges a history that was kept, and explains.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from tests.linear.history import History, Operation, by_shop, read
from tests.linear.room import EMPTY, READS, STEPS, Answer, Room

BUDGET = 2_000_000  # steps of the specification, for one shop
Outcome = Literal["linearizable", "violation", "over budget"]
_SHOWN = 12
_NAMELESS = "?"  # begins the uid of a visit that an operation of unknown outcome made


@dataclass(frozen=True)
class Verdict:
    """What came of a search.

    `order` is one that explains all; of a violation it is the longest way that was found, `room` where it led,
    `blocked` the operation whose return no order gets past, and `prefix` how many operations were invoked by then:
    these are the shortest beginning of the history that cannot be ordered. `beside` could have come next as well.
    """

    outcome: Outcome
    steps: int
    order: tuple[Operation, ...] = ()
    room: Room = EMPTY
    blocked: Operation | None = None
    beside: tuple[Operation, ...] = ()
    prefix: int = 0

    def __str__(self) -> str:
        if self.blocked is None:
            return f"{self.outcome} after {self.steps} steps"
        shown = self.order[-_SHOWN:]
        lines = [
            f"{self.outcome}: no order of the first {self.prefix} operations gets past the return of",
            f"  {self.blocked}",
            f"The longest way there orders {len(self.order)} operations, the last of them:",
            *(f"  {operation}" for operation in shown),
            "Then there wait " + (", ".join(f"{v.uid} of {v.patient}" for v in self.room.waiting) or "none"),
            *(f"  and {visit.uid} is with {doctor}" for visit, doctor in self.room.allocated),
            "and none of these can come next in a way that goes on:",
        ]
        for operation in (self.blocked, *self.beside):
            expected = _expected(self.room, operation, _NAMELESS)[1]
            lines.append(f"  {operation}; by the specification → {' '.join(map(str, expected))}")
        return "\n".join(lines)


def _expected(room: Room, operation: Operation, nameless: str) -> tuple[Room, Answer]:
    """Do one step; a visit that it makes gets the uid that was answered, else the nameless one."""
    answer = operation.answer
    made = operation.kind == "register" and answer is not None and answer[0] == 201
    fresh = str(answer[1]) if made and answer is not None else nameless
    return STEPS[operation.kind](room, fresh, *operation.arguments)


def step(room: Room, operation: Operation, number: int, given: frozenset[str]) -> Room | None:
    """Give the room after the operation, None if its answer is not the specification's.

    `number` tells it from others, `given` are the uids that registrations were answered with: a visit of a
    registration without an answer gets its uid from the first answer that shows it, and gets none of those.
    """
    after, expected = _expected(room, operation, f"{_NAMELESS}{number}")
    answer = operation.answer
    if answer is None:
        return after
    if expected == answer:
        # A uid is given once.
        return (
            None
            if operation.kind == "register" and answer[0] == 201 and room.knows(str(answer[1]))
            else after
        )
    if len(expected) != len(answer) or expected[0] != answer[0]:
        return None
    for ours, theirs in zip(expected, answer, strict=True):
        if ours == theirs:
            continue
        if not (isinstance(ours, str) and isinstance(theirs, str) and ours.startswith(_NAMELESS)):
            return None
        if theirs in given or after.knows(theirs):
            return None
        after = after.renamed(ours, theirs)
    return after


class _Way(NamedTuple):
    """An order as it grows from its end."""

    before: _Way | None
    operation: Operation


class _At(NamedTuple):
    """Where a search stands: all answered operations before `base` are ordered, and those in the two masks.

    `ahead` counts from `base`, `guessed` are those of unknown outcome that were taken.
    """

    base: int
    ahead: int
    guessed: int
    room: Room


class _OverBudgetError(Exception):
    pass


class _Search:
    def __init__(self, history: History, budget: int) -> None:
        # A read without an answer says nothing.
        told = [one for one in history if one.answer is not None or one.kind not in READS]
        told.sort(key=lambda one: one.invoked)
        self.answered = [one for one in told if one.answer is not None]
        self.unknown = [one for one in told if one.answer is None]
        self.returns = [one.returned or 0 for one in self.answered]
        self.given = frozenset(
            str(one.answer[1])
            for one in self.answered
            if one.kind == "register" and one.answer and one.answer[0] == 201
        )
        self.told = told
        self.budget = budget
        self.steps = 0
        self.furthest = -1
        self.deepest: tuple[_At, _Way | None] = (_At(0, 0, 0, EMPTY), None)

    def _step(self, room: Room, operation: Operation, number: int) -> Room | None:
        self.steps += 1
        if self.steps > self.budget:
            raise _OverBudgetError
        return step(room, operation, number, self.given)

    def next_ones(self, at: _At) -> tuple[list[int], int]:
        """Give which answered operations may come next, and when the first of them returned."""
        found, limit = [], sys.maxsize
        ahead = at.ahead
        for index in range(at.base, len(self.answered)):
            if self.answered[index].invoked > limit:
                break
            if not ahead & 1:
                found.append(index)
                limit = min(limit, self.returns[index])
            ahead >>= 1
        return found, limit

    @staticmethod
    def take(at: _At, index: int, room: Room) -> _At:
        base, ahead = at.base, at.ahead | 1 << (index - at.base)
        while ahead & 1:
            base, ahead = base + 1, ahead >> 1
        return _At(base, ahead, at.guessed, room)

    def settle(self, at: _At, way: _Way | None) -> tuple[_At, _Way | None, dict[int, Room | None]]:
        """Take all that changes nothing; give where that leads, and the room after each that may come next."""
        rooms: dict[int, Room | None] = {}
        while True:
            indexes, limit = self.next_ones(at)
            rooms |= {
                index: self._step(at.room, self.answered[index], index)
                for index in indexes
                if index not in rooms
            }
            quiet = next((index for index in indexes if rooms[index] == at.room), None)
            if quiet is None:
                break
            at, way = self.take(at, quiet, at.room), _Way(way, self.answered[quiet])
        if limit > self.furthest:
            self.furthest, self.deepest = limit, (at, way)
        return at, way, {index: rooms[index] for index in indexes}

    def onward(self, at: _At, way: _Way | None, rooms: dict[int, Room | None]) -> Iterator[tuple[_At, _Way]]:
        """Give where to go on, the most urgent first and guesses last."""
        limit = min((self.returns[index] for index in rooms), default=sys.maxsize)
        for index in sorted(rooms, key=self.returns.__getitem__):
            room = rooms[index]
            if room is not None:
                yield self.take(at, index, room), _Way(way, self.answered[index])
        for number, operation in enumerate(self.unknown):
            if operation.invoked > limit:
                break
            if at.guessed >> number & 1:
                continue
            room = self._step(at.room, operation, len(self.answered) + number)
            if room is not None and room != at.room:
                yield at._replace(guessed=at.guessed | 1 << number, room=room), _Way(way, operation)

    def run(self) -> tuple[bool, _Way | None, Room]:
        stack: list[tuple[_At, _Way | None]] = [(_At(0, 0, 0, EMPTY), None)]
        seen: set[_At] = set()
        while stack:
            at, way, rooms = self.settle(*stack.pop())
            if at.base == len(self.answered):
                return True, way, at.room
            if at not in seen:
                seen.add(at)
                stack.extend(reversed([*self.onward(at, way, rooms)]))
        return False, None, EMPTY


def _order(way: _Way | None) -> tuple[Operation, ...]:
    found = []
    while way is not None:
        found.append(way.operation)
        way = way.before
    return tuple(reversed(found))


def check_shop(history: History, budget: int = BUDGET) -> Verdict:
    """Judge the history of one shop, which begins with an empty room."""
    search = _Search(history, budget)
    try:
        found, way, room = search.run()
    except _OverBudgetError:
        return Verdict("over budget", search.steps)
    if found:
        return Verdict("linearizable", search.steps, _order(way), room)
    at, way = search.deepest
    indexes, limit = search.next_ones(at)
    blocked = min(indexes, key=search.returns.__getitem__)
    return Verdict(
        "violation",
        search.steps,
        _order(way),
        at.room,
        search.answered[blocked],
        tuple(search.answered[index] for index in indexes if index != blocked),
        sum(1 for one in search.told if one.invoked <= limit),
    )


def check(history: Iterable[Operation], budget: int = BUDGET) -> dict[str, Verdict]:
    """Judge a history, each shop by itself."""
    return {shop: check_shop(part, budget) for shop, part in by_shop(history).items()}


if __name__ == "__main__":
    for _shop, _verdict in check(read(Path(sys.argv[1]))).items():
        print(f"{_shop}: {_verdict}")  # noqa: T201 (that is what the command is for)
