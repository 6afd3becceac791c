"""Server-Sent Events on the wire: frames, the client's last id, and the writing of a stream.

What is to be sent waits in a `Stream`, a limited number of frames of it. Whoever fills one never waits; a client that
reads too slowly is cut off, and comes back with the last id that it read.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from rxdesk.web.answers import Receive

MEDIA_TYPE = b"text/event-stream"
# A proxy that gathers an answer before it passes it on would pass on nothing; nginx heeds this header.
HEADERS = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
MOST_WAITING = 256
"""Frames that may wait for a client."""
MOST_BYTES = 512 * 1024
"""And bytes: more than twice what one read gives."""
SEND_SECONDS = 20.0
"""For which a client may read nothing while its connection is full."""

_COMMENT = b": \n\n"
_END = b"-end"
_ID = re.compile(rb"([0-9]{1,18})(-end)?")  # what a bigint holds


class LastId(NamedTuple):
    """What a client has seen last: a position, and whether it was the end of what it follows."""

    position: int
    ended: bool


def frame(event: str, data: bytes, position: int, *, last: bool = False) -> bytes:
    """Give an event as it is sent; its id is the position, and of the last one says that it is."""
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r", b"").replace(b"\n", b"\ndata: ")
    mark = _END if last else b""
    return b"id: %d%b\nevent: %b\ndata: %b\n\n" % (position, mark, event.encode(), data)


def retry(milliseconds: int) -> bytes:
    """Give the time after which a client that lost its stream asks again."""
    return b"retry: %d\n\n" % milliseconds


def read_last_id(values: Sequence[bytes]) -> LastId | None:
    """Give what a `Last-Event-ID` says; None for none, two, and one that was never given."""
    found = _ID.fullmatch(values[0]) if len(values) == 1 else None
    return None if found is None else LastId(int(found[1]), found[2] is not None)


class Stream:
    """The frames that wait for one client.

    `covered` is the position up to which the client has been told, or will be by what waits. Whoever fills the stream
    keeps in `shown` what it has shown last; None when it is to be shown again.
    """

    __slots__ = (
        "_bytes",
        "_frames",
        "_newest",
        "_wanted",
        "covered",
        "ending",
        "key_uid",
        "shown",
        "subject",
    )

    def __init__(self, key_uid: str, subject: str, *, covered: int, shown: int | None) -> None:
        self.key_uid = key_uid
        self.subject = subject
        self.covered = covered
        self.shown = shown
        self.ending = False
        self._frames: list[bytes] = []
        self._bytes = 0
        self._newest: bytes | None = None
        self._wanted: asyncio.Future[None] | None = None

    def put(self, one: bytes) -> None:
        """Have a frame sent; too many of them are dropped, and the stream ends."""
        if self.ending:
            return
        self._bytes += len(one)
        if len(self._frames) >= MOST_WAITING or self._bytes > MOST_BYTES:
            self.cut()
            return
        if self._newest is not None:  # it would come after what is newer
            self._newest, self.shown = None, None
        self._frames.append(one)
        self._wake()

    def show(self, one: bytes) -> None:
        """Have a frame sent after all others that takes the place of the one before, if that still waits."""
        if not self.ending:
            self._newest = one
            self._wake()

    def end(self, last: bytes | None = None) -> None:
        """End the stream when all that waits has been sent, and a last frame."""
        if self.ending:
            return
        if last is not None:
            if self._newest is not None:
                self._frames.append(self._newest)
                self._newest = None
            self._frames.append(last)
        self.ending = True
        self._wake()

    def cut(self) -> None:
        """End the stream, and send nothing more."""
        self._frames.clear()
        self._newest = None
        self.ending = True
        self._wake()

    def take(self) -> bytes:
        """Give all that waits."""
        if self._newest is not None:
            self._frames.append(self._newest)
            self._newest = None
        if not self._frames:
            return b""
        taken = self._frames[0] if len(self._frames) == 1 else b"".join(self._frames)
        self._frames.clear()
        self._bytes = 0
        return taken

    async def wait(self, until: float) -> None:
        """Wait for frames, or for the end, or until a time of the loop's clock."""
        if self._frames or self._newest is not None or self.ending:
            return
        loop = asyncio.get_running_loop()
        self._wanted = loop.create_future()
        timer = loop.call_at(until, self._wake)
        try:
            await self._wanted
        finally:
            timer.cancel()
            self._wanted = None

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)


async def write(
    stream: Stream, receive: Receive, send: Callable[[bytes], Awaitable[None]], *, comment_seconds: float
) -> None:
    """Send what the stream is filled with until it ends or the client is gone; a comment each so many seconds."""
    gone = asyncio.ensure_future(_gone(receive))
    gone.add_done_callback(lambda _: stream.cut())
    now = asyncio.get_running_loop().time
    due = now() + comment_seconds
    try:
        while True:
            taken = stream.take()
            if now() >= due:
                due = now() + comment_seconds
                taken = _COMMENT + taken
            if taken:
                async with asyncio.timeout(SEND_SECONDS):
                    await send(taken)
            elif stream.ending:
                return
            else:
                await stream.wait(due)
    except TimeoutError:
        stream.cut()
    finally:
        gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
