"""Google's root keys for callbacks: fetched when they are needed, kept as long as Google says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from rxdesk.kit.clock import Clock
from rxdesk.kit.egress import Egress
from rxdesk.wallet.google.callbacks import KEYS_URL, CallbackRefused, RootKey, read_root_keys

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})(?:[\s,]|$)", re.IGNORECASE)
_LEAST: Final = timedelta(minutes=1)
_USUAL: Final = timedelta(hours=1)
_MOST: Final = timedelta(days=1)
_LONGEST_ANSWER = 1 << 16


class KeysUnavailable(Exception):  # noqa: N818 - a state, not a fault of the program
    """Google's keys cannot be had at present, and none are at hand; the message says why."""


class RootKeys:
    """The keys at one address. Whoever asks for them while they are fetched waits for the same request.

    Keys that could not be fetched anew serve on: each says itself when it runs out. After a failure a minute passes
    before the next attempt.
    """

    def __init__(self, egress: Egress, clock: Clock, url: str = KEYS_URL) -> None:
        self._egress = egress
        self._clock = clock
        self._url = url
        self._keys: list[RootKey] = []
        self._fault = ""
        self._until: datetime | None = None
        self._asking = asyncio.Lock()

    async def current(self) -> list[RootKey]:
        """Give the keys.

        Raises KeysUnavailable, and TargetInvalid or TargetForbidden when the policy refuses the URL.
        """
        async with self._asking:
            now = self._clock()
            if self._until is None or now >= self._until:
                await self._fetch(now)
        if not self._keys:
            raise KeysUnavailable(f"the keys of Google's callbacks cannot be had: {self._fault}")
        return self._keys

    async def _fetch(self, now: datetime) -> None:
        outcome = await self._egress.request("GET", self._url, b"", {}, max_answer=_LONGEST_ANSWER)
        self._until = now + _LEAST
        if outcome.error is not None:
            self._fault = str(outcome.status or outcome.error)
            return
        try:
            keys = read_root_keys(outcome.answer)
        except CallbackRefused as refusal:
            self._fault = str(refusal)
            return
        self._keys, self._fault = keys, "there is none of the protocol that is known here"
        self._until = now + _age(outcome.headers)


def _age(headers: Mapping[str, str]) -> timedelta:
    """Say how long an answer may be kept: between a minute and a day."""
    match = _MAX_AGE.search(headers.get("Cache-Control", ""))
    return min(max(timedelta(seconds=int(match[1])), _LEAST), _MOST) if match else _USUAL
