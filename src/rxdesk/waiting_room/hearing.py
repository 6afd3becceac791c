"""Since when a process could have heard doctors' signs of life: silence before that says nothing of a doctor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from rxdesk.kit.clock import Clock

LOOK_SECONDS = 10.0
_LONGEST = timedelta(minutes=1)  # between two looks, or the process stood still, or its clock was set


class Hearing:
    """What a process knows of its own hearing: `since` is when it began, after the last break.

    `answers` tells whether the database, without which no sign of life can be written, answers.
    """

    def __init__(self, clock: Clock, answers: Callable[[], Awaitable[bool]]) -> None:
        self._clock = clock
        self._answers = answers
        self.since = self._last = clock()

    async def look(self) -> None:
        """See whether signs of life can be written, every ten seconds; hearing begins anew where that is not so."""
        answered = await self._answers()
        now = self._clock()
        if not answered or not timedelta(0) <= now - self._last <= _LONGEST:
            self.since = now
        self._last = now

    def begin_anew(self) -> None:
        """Note that a sign of life could not be written."""
        self.since = self._clock()
