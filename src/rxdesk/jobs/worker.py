"""The worker's loop: claim, prepare, perform, record. It knows no job; what to do with one is handed in.

Woken by a notice of new work, by the time at which the next retry is due, and each second in any case. A batch is what
has come together: one job goes at once when there is nothing else, and many share their statements under load.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from math import ceil
from typing import Generic, TypeVar

import structlog

from rxdesk.db.pool import Connect, DatabaseUnavailableError
from rxdesk.jobs import queue
from rxdesk.jobs.queue import BEFORE_ALL, LANES, Claim, Claimed, Limits
from rxdesk.jobs.session import Session, open_session
from rxdesk.kit.clock import Clock

P = TypeVar("P")
R = TypeVar("R")

POLL_SECONDS = 1.0
_ROUND_SECONDS = 10.0  # for the statements of one round; a database that hangs longer is left
_RECONNECT_SECONDS = (0.02, 0.5)  # the first pause, and the longest
_RECORD_AGAIN_SECONDS = 0.1
_SETBACK_SECONDS = 5.0  # before a job is tried again that failed by a fault of ours
# A claim and a record cost the same for one and for many. While the worker is busy, it waits so long for company; the
# first waits only while more than half of the slots are taken, so that it keeps nobody from working.
_CLAIM_TOGETHER_SECONDS = 0.015
_RECORD_TOGETHER_SECONDS = 0.005
_BUSY = 8  # others in flight
_BATCH = 256
_HANGING = 500  # endpoints of which it is remembered that they hang
_STOP_SECONDS = 8.0

_log = structlog.get_logger("rxdesk.jobs")


@dataclass(frozen=True, slots=True)
class Work(Generic[P, R]):
    """What is done with jobs of one kind.

    `prepare` gets claims of one organisation and gives what is needed to perform each; a claim that it leaves out, it
    has dealt with itself. `perform` holds no connection and raises nothing in the ordinary course. `record` writes what
    became of jobs of one organisation and takes them off the queue, or puts them back, if they are still this worker's.
    `lease_seconds` is longer than all three may take. `share` is the part of a lane's slots that one organisation may
    have. `hangs` tells of a result whether it was waited for in vain, None when it says nothing of its endpoint; one
    that hangs has one job in flight until it answers.
    """

    kind: str
    slots: Mapping[str, int]
    lease_seconds: float
    prepare: Callable[[int, Sequence[Claim]], Awaitable[list[tuple[Claim, P]]]]
    perform: Callable[[P], Awaitable[R]]
    record: Callable[[int, Sequence[tuple[Claim, P, R]]], Awaitable[None]]
    share: float = 1.0
    hangs: Callable[[R], bool | None] = lambda _: None

    def of_one(self, lane: str) -> int:
        """Give how many slots of a lane one organisation may have."""
        return ceil(self.slots[lane] * self.share)


class Worker(Generic[P, R]):
    """One worker: its number, its slots, and what it has in flight."""

    def __init__(self, connect: Connect, work: Work[P, R], *, clock: Clock) -> None:
        self._connect = connect
        self._work = work
        self._clock = clock
        self._wake = asyncio.Event()
        self._cursors = dict.fromkeys(LANES, BEFORE_ALL)
        self._begun: dict[str, tuple[int, int] | None] = {}  # where a lane's round began; None: it is over
        self._held: dict[str, Counter[int]] = {lane: Counter() for lane in LANES}  # by organisation
        self._hanging: dict[
            tuple[int, int], None
        ] = {}  # organisations' endpoints, the last one to hang at the end
        self._claims: set[Claim] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: dict[int, list[tuple[Claim, P, R]]] = {}
        self._returned: list[tuple[Claim, float]] = []
        self._freed_at = 0.0
        self._stopping = False

    @property
    def in_flight(self) -> int:
        """Jobs that this worker has claimed and not yet recorded."""
        return len(self._claims)

    async def run(self, stopping: asyncio.Event, *, stop_seconds: float = _STOP_SECONDS) -> None:
        """Work until `stopping` is set; then end what is in flight, and give back what takes longer."""
        waker = asyncio.create_task(self._wake_when(stopping))
        session: Session | None = None
        number: int | None = None
        pause = _RECONNECT_SECONDS[0]
        try:
            while not self._stopping:
                try:
                    if session is None:
                        session = await open_session(self._connect, self._wake.set, number=number)
                        number, self._freed_at = session.number, 0.0
                        await queue.free_unknown(session.connection, self._work.kind, number, self._claims)
                    await self._serve(session)
                    if pause > _RECONNECT_SECONDS[0]:
                        _log.warning("queue_reached_again")
                    pause = _RECONNECT_SECONDS[0]
                except Exception as error:  # noqa: BLE001 - nothing may end the work
                    if pause == _RECONNECT_SECONDS[0]:
                        _log.warning("queue_not_reached", error=type(error).__name__)
                    if session is not None and (session.lost() or isinstance(error, TimeoutError)):
                        session.end()
                        session = None
                    self._begun.clear()  # the pause swallows what wakes us, and a lost connection its notices
                    await self._pause(pause)
                    pause = min(pause * 2, _RECONNECT_SECONDS[1])
            await self._drain(session, stop_seconds)
        finally:
            waker.cancel()
            for task in self._tasks:
                task.cancel()
            if session is not None:
                session.end()

    async def _wake_when(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._stopping = True
        self._wake.set()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
                self._wake.clear()
        except TimeoutError:
            return

    # ------------------------------------------------------------------------------------------------- claiming
    async def _serve(self, session: Session) -> None:
        """Return what is to be returned, claim what there is, and sleep once a round of the places has ended."""
        if self._wake.is_set():
            self._begun.clear()  # what has ended may have made room in a place that the round has passed
            self._wake.clear()
        async with asyncio.timeout(_ROUND_SECONDS):
            await self._give_back(session)
            if time.monotonic() - self._freed_at >= POLL_SECONDS:
                await queue.free(session.connection, self._clock())
                self._freed_at = time.monotonic()
            found = await self._claim(session, "first")
            more = found is not None and self._goes_on("first", found)
            now = self._clock()
            if found is None:
                due = await queue.next_retry(session.connection, self._work.kind)
            else:
                due = found.next_retry
            if due is not None and due <= now:
                retries = await self._claim(session, "retry")
                more |= retries is not None and self._goes_on("retry", retries)
                if (
                    not more
                ):  # those that are due and wait still have their share: the end of one of it wakes us
                    due = await queue.next_retry(session.connection, self._work.kind, after=now)
        if more or self._stopping:
            return
        self._begun.clear()
        await self._pause(self._sleep_seconds(None if due is None else (due - self._clock()).total_seconds()))
        until = time.monotonic() + _CLAIM_TOGETHER_SECONDS
        while self._held["first"].total() * 2 > self._work.slots["first"] and not self._stopping:
            left = until - time.monotonic()
            if left <= 0:
                break
            await self._pause(left)

    @staticmethod
    def _sleep_seconds(until_due: float | None) -> float:
        if until_due is None:
            return POLL_SECONDS
        return min(max(until_due, 0.0) + 0.001, POLL_SECONDS)

    def _goes_on(self, lane: str, found: Claimed) -> bool:
        """Tell whether to look again at once."""
        return found.more and self._held[lane].total() < self._work.slots[lane]

    async def _claim(self, session: Session, lane: str) -> Claimed | None:
        """Claim for the free slots of a lane; None when there are none, or its round is over."""
        wanted = self._work.slots[lane] - self._held[lane].total()
        begun = self._begun.setdefault(lane, self._cursors[lane])
        if wanted <= 0 or begun is None:
            return None
        now = self._clock()
        found = await queue.claim(
            session.connection,
            self._work.kind,
            lane,
            wanted=wanted,
            cursor=self._cursors[lane],
            begun=begun,
            worker=session.number,
            now=now,
            lease_until=now + timedelta(seconds=self._work.lease_seconds),
            limits=Limits(self._work.of_one(lane), self._held[lane], self._hanging),
        )
        self._cursors[lane] = found.cursor
        if not found.more:
            self._begun[lane] = None
        self._held[lane].update(one.organisation_id for one in found.claims)
        self._claims.update(found.claims)
        ordered = sorted(found.claims, key=lambda one: one.organisation_id)
        for organisation_id, claims in groupby(ordered, key=lambda one: one.organisation_id):
            self._start(self._begin(organisation_id, list(claims)))
        return found

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _release(self, claims: Sequence[Claim]) -> None:
        if not claims:
            return  # nothing has room now that had none before: a claim would be in vain
        for one in claims:
            if one in self._claims:
                self._claims.discard(one)
                held = self._held[one.lane]
                held[one.organisation_id] -= 1
                if not held[one.organisation_id]:
                    del held[one.organisation_id]
        self._wake.set()

    def _return(self, claims: Sequence[Claim], seconds: float) -> None:
        """Have claims given back by the next round, to be worked on after so many seconds."""
        self._returned += [(one, seconds) for one in claims]
        self._wake.set()

    async def _give_back(self, session: Session) -> None:
        while self._returned:
            seconds = self._returned[0][1]
            claims = [one for one, after in self._returned if after == seconds]
            await queue.give_back(
                session.connection,
                self._work.kind,
                claims,
                not_before=self._clock() + timedelta(seconds=seconds),
            )
            # Others may have been added meanwhile: only what has been given back is struck off.
            given = set(claims)
            self._returned = [(one, after) for one, after in self._returned if one not in given]
            self._release(claims)

    # ------------------------------------------------------------------------------------------------- working
    async def _begin(self, organisation_id: int, claims: list[Claim]) -> None:
        try:
            prepared = await self._work.prepare(organisation_id, claims)
        except DatabaseUnavailableError:
            self._return(claims, _RECORD_AGAIN_SECONDS)
            return
        except Exception as error:  # noqa: BLE001 - one that cannot be prepared must not end the others
            if len(claims) > 1:
                for one in claims:
                    self._start(self._begin(organisation_id, [one]))
                return
            _log.error("job_not_prepared", kind=self._work.kind, error=type(error).__name__)
            self._return(claims, _SETBACK_SECONDS)
            return
        for claim, what in prepared:
            self._start(self._perform(claim, what))
        going = {claim for claim, _ in prepared}
        self._release([one for one in claims if one not in going])

    async def _perform(self, claim: Claim, what: P) -> None:
        try:
            result = await self._work.perform(what)
        except Exception as error:  # noqa: BLE001 - as above
            _log.error("job_not_performed", kind=self._work.kind, error=type(error).__name__)
            self._return([claim], _SETBACK_SECONDS)
            return
        self._note(claim, self._work.hangs(result))
        ended = self._ended.get(claim.organisation_id)
        if ended is not None:  # its recorder is at work, and takes this along next
            ended.append((claim, what, result))
            return
        self._ended[claim.organisation_id] = [(claim, what, result)]
        self._start(self._record(claim.organisation_id))

    def _note(self, claim: Claim, hangs: bool | None) -> None:  # noqa: FBT001 - what the work said of it
        """Keep which endpoints hang, a limited number of them."""
        place = (claim.organisation_id, claim.endpoint)
        if hangs is not None:
            self._hanging.pop(place, None)
        if hangs:
            self._hanging[place] = None
            if len(self._hanging) > _HANGING:
                del self._hanging[next(iter(self._hanging))]

    async def _record(self, organisation_id: int) -> None:
        """Record all that has ended, and what ends meanwhile, a batch at a time, until there is none."""
        ended = self._ended[organisation_id]
        busy = self.in_flight - len(ended) >= _BUSY
        while ended:
            if busy:
                await asyncio.sleep(_RECORD_TOGETHER_SECONDS)
            busy = (
                True  # what ended while others were recorded waits for those that are claimed in their place
            )
            batch = ended[:_BATCH]
            try:
                await self._work.record(organisation_id, batch)
            except DatabaseUnavailableError:
                await asyncio.sleep(_RECORD_AGAIN_SECONDS)
                continue
            except Exception:  # noqa: BLE001 - one that cannot be recorded must not take the others along
                for one in batch:
                    await self._record_alone(organisation_id, one)
            del ended[: len(batch)]
            self._release([claim for claim, _, _ in batch])
        del self._ended[organisation_id]

    async def _record_alone(self, organisation_id: int, ended: tuple[Claim, P, R]) -> None:
        while True:
            try:
                await self._work.record(organisation_id, [ended])
            except DatabaseUnavailableError:
                await asyncio.sleep(_RECORD_AGAIN_SECONDS)
                continue
            except Exception as error:  # noqa: BLE001 - as above
                _log.error("job_not_recorded", kind=self._work.kind, error=type(error).__name__)
                self._return([ended[0]], _SETBACK_SECONDS)
            return

    # ------------------------------------------------------------------------------------------------- ending
    async def _drain(self, session: Session | None, seconds: float) -> None:
        """End what is in flight; what takes longer is given back, and may be done twice."""
        until = time.monotonic() + seconds
        while self._tasks and time.monotonic() < until:
            await asyncio.wait(self._tasks, timeout=until - time.monotonic())
        for task in self._tasks:
            task.cancel()
        self._returned = [(one, 0.0) for one in self._claims]
        if session is None or not self._returned:
            return
        try:
            async with asyncio.timeout(2):
                await self._give_back(session)
        except Exception as error:  # noqa: BLE001 - they are free as soon as this connection has ended
            _log.warning("jobs_not_given_back", error=type(error).__name__)
