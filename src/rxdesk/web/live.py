"""Live changes: topics that are read again when the database says that something changed, and their streams.

A process has one hub and one connection that hears of changes; a topic is read once for all of its streams, and never
while nobody follows it. What is read is one statement: the position up to which it counts, the keys that are good, the
steps since the position that the streams have covered, and the state as of then. So a stream loses nothing
however often notices are lost, and gets nothing by a key that was revoked. A topic is read again now and then in any
case.

Who opens a stream reads its beginning, and joins with the mark that it took before: if anything was heard since, or may
have been missed, its topic is read again.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import structlog

from rxdesk.access import Caller
from rxdesk.db.listening import Listener
from rxdesk.db.pool import Connect
from rxdesk.errors import too_many, unavailable
from rxdesk.web import sse
from rxdesk.web.metrics import ObserveStreams
from rxdesk.web.sse import Stream

K = TypeVar("K")

WHOLE = ""
"""The subject of a stream of a whole topic."""

# A topic that changes all the time is read so often at most, and is not read for more than half of the time.
_PAUSE_SECONDS = 0.05
_AGAIN_SECONDS = (0.1, 2.0)  # after a read that failed: the first pause, and the longest
_TOGETHER = 64  # streams that are filled before others get their turn
_FULL_RETRY_SECONDS = 10
_RETRY_MS = (1000, 5000)

_log = structlog.get_logger("rxdesk.live")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be read of a topic: steps after a position, the states of subjects, and which keys are good."""

    after: int
    keys: frozenset[str]
    subjects: frozenset[str]


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a subject; `data` is JSON."""

    position: int
    subject: str
    data: bytes


@dataclass(frozen=True, slots=True)
class State:
    """How a subject stands, as JSON; `ended` says how, when nothing more will come of it."""

    document: bytes
    ended: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a read found, all as of one instant: `position` is the last one that it covers.

    `more`: there are more steps than one read gives; it covers those that it gives, and no state. `again_seconds` is
    when it should be read again although nothing has changed.
    """

    position: int
    more: bool
    keys: frozenset[str]
    steps: Sequence[Step]
    states: Mapping[str, State]
    again_seconds: float | None = None


Read: TypeAlias = Callable[[int, str, Wanted], Awaitable[Found]]
Mark: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """How many streams this process has at once: in all, of one organisation and of one key."""

    in_all: int
    of_organisation: int
    of_key: int


class _Topic:
    """A topic that is followed, and who follows it."""

    def __init__(self, organisation_id: int, name: str) -> None:
        self.organisation_id = organisation_id
        self.name = name
        self.streams: dict[Stream, None] = {}
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def wanted(self, streams: Sequence[Stream]) -> Wanted:
        """Give what these streams need."""
        return Wanted(
            after=min(stream.covered for stream in streams),
            keys=frozenset(stream.key_uid for stream in streams),
            subjects=frozenset(stream.subject for stream in streams),
        )


class Hub:
    """The live streams of this process.

    `connect` opens a connection for the notices on `channel`, whose payload is an organisation's number, a space and a
    topic; `read` reads a topic. Each topic is read every `again_seconds` at least. At most `reads` are under way at
    once. `observe` is told of a kind of stream and +1 or -1.
    """

    def __init__(
        self,
        connect: Connect,
        channel: str,
        read: Read,
        *,
        limits: Limits,
        again_seconds: float,
        reads: int,
        observe: ObserveStreams,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._listener = Listener(connect, channel, heard=self._heard, connected=self._connected)
        self._read = read
        self._limits = limits
        self._again_seconds = again_seconds
        self._reads = asyncio.Semaphore(reads)
        self._observe = observe
        self._chance = chance
        self._topics: dict[tuple[int, str], _Topic] = {}
        self._notices = 0
        self._connections = 0
        self._open = 0
        self._of_organisation: Counter[int] = Counter()
        self._of_key: Counter[tuple[int, str]] = Counter()
        self._listening: asyncio.Task[None] | None = None
        self._ending = False

    # Who follows -----------------------------------------------------------------------------------------

    def mark(self) -> Mark:
        """Give a mark of what was heard so far; to be taken before a stream's beginning is read."""
        return self._connections, self._notices

    def retry(self) -> bytes:
        """Give the time after which a client asks again, another one for each, so that not all do at once."""
        return sse.retry(_RETRY_MS[0] + int(self._chance() * (_RETRY_MS[1] - _RETRY_MS[0])))

    def require_room(self, caller: Caller) -> None:
        """Raise 503 when no further stream fits into this process, 429 when the caller has too many."""
        if self._ending:
            raise unavailable()
        if self._open >= self._limits.in_all:
            raise unavailable(_FULL_RETRY_SECONDS)
        of_key = self._of_key[caller.organisation_id, caller.key_uid]
        if (
            of_key >= self._limits.of_key
            or self._of_organisation[caller.organisation_id] >= self._limits.of_organisation
        ):
            raise too_many(_FULL_RETRY_SECONDS, "Too many open streams")

    @contextmanager
    def joined(
        self, organisation_id: int, topic: str, stream: Stream, mark: Mark | None, *, kind: str
    ) -> Iterator[None]:
        """Fill a stream while the context lasts; without a mark its topic is read at once."""
        key = organisation_id, stream.key_uid
        self._open += 1
        self._of_organisation[organisation_id] += 1
        self._of_key[key] += 1
        self._observe(kind, 1)
        followed = self._follow(organisation_id, topic)
        followed.streams[stream] = None
        if mark != self.mark():
            followed.changed.set()
        # Others may have been opened since this one was let in.
        limits = self._limits
        if self._ending or (
            self._open > limits.in_all
            or self._of_organisation[organisation_id] > limits.of_organisation
            or self._of_key[key] > limits.of_key
        ):
            stream.end()
        try:
            yield
        finally:
            self._open -= 1
            self._observe(kind, -1)
            _less(self._of_organisation, organisation_id)
            _less(self._of_key, key)
            del followed.streams[stream]
            if not followed.streams:
                self._drop(followed)

    def _follow(self, organisation_id: int, name: str) -> _Topic:
        if self._listening is None:
            self._listening = asyncio.create_task(self._listener.run())
        topic = self._topics.get((organisation_id, name))
        if topic is None:
            topic = self._topics[organisation_id, name] = _Topic(organisation_id, name)
            topic.task = asyncio.create_task(self._serve(topic))
        return topic

    def _drop(self, topic: _Topic) -> None:
        if self._topics.get((topic.organisation_id, topic.name)) is topic:
            del self._topics[topic.organisation_id, topic.name]
        if topic.task is not None:
            topic.task.cancel()

    # What is heard ---------------------------------------------------------------------------------------

    def _heard(self, payload: str) -> None:
        number, _, name = payload.partition(" ")
        if not number.isdecimal():  # not of ours
            return
        self._notices += 1
        topic = self._topics.get((int(number), name))
        if topic is not None:
            topic.changed.set()

    def _connected(self) -> None:
        self._connections += 1
        for topic in self._topics.values():
            topic.changed.set()

    # What is told ----------------------------------------------------------------------------------------

    async def _serve(self, topic: _Topic) -> None:
        """Read a topic whenever it has changed, and fill its streams."""
        loop = asyncio.get_running_loop()
        pause, again_seconds = _AGAIN_SECONDS[0], self._again_seconds
        while True:
            await _set_within(topic.changed, again_seconds)
            topic.changed.clear()
            streams = list(topic.streams)
            begun = loop.time()
            try:
                async with self._reads:
                    begun = loop.time()
                    found = await self._read(topic.organisation_id, topic.name, topic.wanted(streams))
            except Exception as error:  # noqa: BLE001 (whatever it is, it is tried again, and must not end the streams)
                topic.changed.set()
                _log.warning("topic_not_read", error=type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _AGAIN_SECONDS[1])
                continue
            took = loop.time() - begun
            pause = _AGAIN_SECONDS[0]
            if found.more:
                topic.changed.set()
            again_seconds = min(found.again_seconds or self._again_seconds, self._again_seconds)
            await _fill(streams, found)
            await asyncio.sleep(max(_PAUSE_SECONDS, took))

    # The end ---------------------------------------------------------------------------------------------

    def end(self) -> None:
        """End all streams, and take no more."""
        self._ending = True
        for topic in self._topics.values():
            for stream in topic.streams:
                stream.end()

    async def close(self) -> None:
        """End all streams, and hear nothing more."""
        self.end()
        tasks = [topic.task for topic in self._topics.values() if topic.task is not None]
        if self._listening is not None:
            tasks.append(self._listening)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _fill(streams: Sequence[Stream], found: Found) -> None:
    every: list[tuple[int, bytes]] = []
    by_subject: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for step in found.steps:
        one = step.position, sse.frame("step", step.data, step.position)
        every.append(one)
        by_subject[step.subject].append(one)
    snapshots: dict[str, bytes] = {}
    for number, stream in enumerate(streams, 1):
        if stream.key_uid not in found.keys:
            stream.end(sse.frame("end", b'{"reason":"key"}', found.position))
            continue
        steps = every if stream.subject == WHOLE else by_subject.get(stream.subject, ())
        missed = b"".join(text for position, text in steps if position > stream.covered)
        if missed:  # as one: however many there are, they are no sign of a client that reads slowly
            stream.put(missed)
        if not found.more:
            _show(stream, found, snapshots)
        stream.covered = max(stream.covered, found.position) if found.more else found.position
        if not number % _TOGETHER:
            await asyncio.sleep(0)


def _show(stream: Stream, found: Found, snapshots: dict[str, bytes]) -> None:
    """Show a stream the state of its subject, if that is not what was shown last."""
    state = found.states.get(stream.subject)
    if state is None:
        stream.end(sse.frame("end", b'{"reason":"deleted"}', found.position))
        return
    shown = hash(state.document)
    # A position that went back is that of a database that lost what it had said: it is shown where it stands.
    if shown != stream.shown or found.position < stream.covered:
        text = snapshots.get(stream.subject)
        if text is None:
            text = snapshots[stream.subject] = sse.frame("snapshot", state.document, found.position)
        stream.show(text)
        stream.shown = shown
    if state.ended is not None:
        stream.end(ended(state.ended, found.position))


def ended(reason: str, position: int) -> bytes:
    """Give the last event of a stream whose subject has come to its end; its id says that it was seen."""
    return sse.frame("end", b'{"reason":"%b"}' % reason.encode(), position, last=True)


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _less(counter: Counter[K], key: K) -> None:
    """Count one less, and forget who has none."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
