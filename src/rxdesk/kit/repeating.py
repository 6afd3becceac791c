"""Work beside what a process is there for, again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger("rxdesk.beside")


async def now_and_then(seconds: float, work: Callable[[], Awaitable[object]], failure: str) -> None:
    """Work, wait so many seconds, and so on until cancelled; what fails is logged as `failure`, and is done again."""
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - it is done again in a while, and must not end what it is beside
            _log.warning(failure, error=type(error).__name__)
        await asyncio.sleep(seconds)
