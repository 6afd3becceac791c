"""Time limits that share timers end what they guard as asyncio.timeout does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rxdesk.kit.deadlines import TICKS_A_SECOND, Deadlines

_TICK = 1 / TICKS_A_SECOND


async def test_what_is_in_time_goes_on() -> None:
    deadlines = Deadlines()
    with deadlines.after(60):
        await asyncio.sleep(0)


async def test_what_is_late_is_a_timeout_within_a_tick() -> None:
    deadlines, loop = Deadlines(), asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(TimeoutError), deadlines.at(begun + 0.01):
        await asyncio.Event().wait()
    assert loop.time() >= begun + 0.01
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_limit_that_has_passed_ends_at_the_first_wait() -> None:
    deadlines = Deadlines()
    with pytest.raises(TimeoutError), deadlines.after(-1):
        await asyncio.Event().wait()


async def test_those_of_one_tick_share_a_timer_and_all_end(monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines, loop = Deadlines(), asyncio.get_running_loop()
    when = (int(loop.time() * TICKS_A_SECOND) + 1.5) * _TICK
    timers: list[float] = []
    call_at = loop.call_at

    def counted(moment: float, *arguments: Any, **more: Any) -> asyncio.TimerHandle:
        timers.append(moment)
        return call_at(moment, *arguments, **more)

    monkeypatch.setattr(loop, "call_at", counted)

    async def wait(seconds: float | None) -> str:
        try:
            with deadlines.at(when):
                if seconds is None:
                    await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return "in time"

    assert [*await asyncio.gather(wait(None), wait(0), wait(None))] == ["late", "in time", "late"]
    assert len(timers) == 1


async def test_one_who_is_cancelled_from_elsewhere_stays_cancelled() -> None:
    deadlines = Deadlines()
    begun = asyncio.Event()

    async def wait() -> None:
        with deadlines.after(60):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_from_elsewhere_and_late_at_once_stays_cancelled() -> None:
    deadlines = Deadlines()

    async def wait() -> None:
        with deadlines.after(60) as deadline:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            deadline.end()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_inner_limit_is_not_the_outer_ones() -> None:
    deadlines = Deadlines()
    with deadlines.after(60):
        with pytest.raises(TimeoutError), deadlines.after(0):
            await asyncio.Event().wait()
        await asyncio.sleep(0)  # the outer one has not ended


async def test_an_error_of_the_block_is_its_own() -> None:
    deadlines = Deadlines()
    with pytest.raises(ZeroDivisionError), deadlines.after(60):
        _ = 1 / 0


async def test_a_limit_that_was_lifted_ends_nothing() -> None:
    deadlines = Deadlines()
    with deadlines.after(0) as deadline:
        deadline.lift()
        await asyncio.sleep(3 * _TICK)
