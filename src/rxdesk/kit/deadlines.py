"""Time limits for many short tasks at once: like `asyncio.timeout`, but those that end in one tick share a timer.

A timer for each request, set and nearly always cancelled, costs more than most of what it guards.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Final, Self

TICKS_A_SECOND: Final = 20


class Deadlines:
    """Makes time limits; belongs to one event loop."""

    def __init__(self) -> None:
        self._ticks: dict[int, set[Deadline]] = {}

    def at(self, when: float) -> Deadline:
        """Give a limit that ends at `when` by the loop's clock, or up to a tick later."""
        return Deadline(self._ticks, when)

    def after(self, seconds: float) -> Deadline:
        """Give a limit that ends in so many seconds, or up to a tick later."""
        return Deadline(self._ticks, asyncio.get_running_loop().time() + seconds)


class Deadline:
    """Cancels the task inside its `with` block when its time comes, and raises TimeoutError there."""

    __slots__ = ("_cancelling", "_passed", "_task", "_tick", "_ticks")

    def __init__(self, ticks: dict[int, set[Deadline]], when: float) -> None:
        self._ticks = ticks
        self._tick = int(when * TICKS_A_SECOND) + 1
        self._passed = False
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0

    def __enter__(self) -> Self:
        self._task = task = asyncio.current_task()
        if task is None:
            message = "a deadline needs a task"
            raise RuntimeError(message)
        self._cancelling = task.cancelling()
        together = self._ticks.get(self._tick)
        if together is None:
            together = self._ticks[self._tick] = set()
            loop = asyncio.get_running_loop()
            loop.call_at(self._tick / TICKS_A_SECOND, _pass, self._ticks, self._tick)
        together.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if not self._passed:
            self.lift()
            return
        task = self._task
        # As in asyncio.timeout: who was cancelled from elsewhere as well stays cancelled.
        if task is not None and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def lift(self) -> None:
        """Let the block take as long as it will."""
        together = self._ticks.get(self._tick)
        if together is not None:
            together.discard(self)

    def end(self) -> None:
        """Cancel the task: its time has come."""
        self._passed = True
        if self._task is not None:
            self._task.cancel()


def _pass(ticks: dict[int, set[Deadline]], tick: int) -> None:
    for deadline in ticks.pop(tick):
        deadline.end()
