"""Since when a process could have heard signs of life of doctors: silence before that says nothing of a doctor."""

from __future__ import annotations

from datetime import datetime, timedelta


class Hearing:
    """What a process knows of its own hearing; `since` is when it began, after the last break."""

    def __init__(self, now: datetime) -> None:
        self.since = now
        self._last = now

    def go_on(self, now: datetime, longest: timedelta) -> None:
        """Note that signs of life can be written; if that was last noted longer ago, hearing begins anew."""
        if now - self._last > longest:
            self.begin_anew(now)
        self._last = now

    def begin_anew(self, now: datetime) -> None:
        """Note that a sign of life could not be written."""
        self.since = now
