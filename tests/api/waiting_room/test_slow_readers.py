"""Clients that read slowly or not at all: what waits for them is bounded, others do not wait, and they can resume."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.api.waiting_room.streams import Desk, Event, Follower, desk_at, steps
from tests.conftest import Live, start_live, stop_live
from tests.factories import Tenant

from rxdesk.db import embedded
from rxdesk.web import sse
from rxdesk.web.live import Found, Hub, Limits, State, Step, Wanted, _fill
from rxdesk.web.sse import MOST_BYTES, MOST_WAITING, Stream


def new() -> Stream:
    return Stream("key-1", "q-1", covered=0, shown=None)


async def test_what_waits_is_bounded_and_too_much_is_the_end() -> None:
    stream = new()
    for number in range(MOST_WAITING):
        stream.put(b"%d " % number)
    before = stream.ending
    stream.put(b"one more")
    assert (before, stream.ending) == (False, True)
    assert stream.take() == b""  # whoever comes back is told all of it


@given(st.lists(st.sampled_from(["put", "show", "take"]), max_size=60))
def test_the_newest_state_comes_last_and_no_step_after_it_again(actions: list[str]) -> None:
    """Positions rise on the wire, whatever is taken when: else a client would resume before what it has read."""
    stream, sent, shown = new(), [], 0
    for position, action in enumerate(actions, 1):
        if action == "put":
            stream.put(b"step %d\n" % position)
        elif action == "show":
            stream.show(b"state %d\n" % position)
            stream.shown = shown = position
        else:
            sent += stream.take().decode().splitlines()
        # A state that a step has overtaken is to be shown again.
        assert stream.shown in (None, shown or None)
    sent += stream.take().decode().splitlines()
    positions = [int(line.split()[1]) for line in sent]
    assert positions == sorted(positions)
    puts = [position for position, action in enumerate(actions, 1) if action == "put"]
    assert [int(line.split()[1]) for line in sent if line.startswith("step")] == puts


async def test_the_end_is_sent_after_all_that_waits() -> None:
    stream = new()
    stream.put(b"1")
    stream.show(b"2")
    stream.end(b"3")
    stream.put(b"4")
    stream.show(b"5")
    stream.end(b"6")
    assert stream.take() == b"123"
    assert stream.take() == b""


class Taps:
    """The two ends of a connection: what was sent, and whether anything can be sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.open = asyncio.Event()
        self.gone = asyncio.Event()

    async def send(self, piece: bytes) -> None:
        await self.open.wait()
        self.sent.append(piece)

    async def receive(self) -> dict[str, str]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def test_a_client_that_reads_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "SEND_SECONDS", 0.01)
    stream, taps = new(), Taps()
    stream.put(b"1")
    await asyncio.wait_for(sse.write(stream, taps.receive, taps.send, comment_seconds=60), 10)
    assert stream.ending
    assert taps.sent == []


async def test_a_client_that_goes_away_is_noticed_while_nothing_happens() -> None:
    stream, taps = new(), Taps()
    taps.open.set()
    writing = asyncio.create_task(sse.write(stream, taps.receive, taps.send, comment_seconds=60))
    await asyncio.sleep(0)
    taps.gone.set()
    await asyncio.wait_for(writing, 10)
    assert stream.ending


def narrow(url: str) -> socket.socket:
    """A connection whose client side holds little: what is not read stays with the server."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, port = url.removeprefix("http://").split(":")
    made.connect((host, int(port)))
    return made


@pytest.fixture(scope="module")
def apart(cluster: embedded.Address) -> Iterator[Live]:
    """A server of this file alone, whose memory is looked at."""
    server = start_live(cluster)
    yield server
    stop_live(server)


@pytest.fixture
async def desk(apart: Live, tenant: Tenant) -> AsyncIterator[Desk]:
    async with desk_at(apart.url, tenant) as made:
        yield made


def memory(server: Live) -> float:
    """MB of all its processes."""
    main = psutil.Process(server.process.pid)
    return sum(one.memory_info().rss for one in [main, *main.children(recursive=True)]) / 1e6


async def churn(desk: Desk, shop: str, uid: str, events: int) -> None:
    """So many steps at once, as a large import would tell of them, and a change that is noticed."""
    await desk.tenant.enter()
    await desk.tenant.connection.execute(
        "WITH place AS (UPDATE event_streams SET last_position = last_position + $4::int WHERE organisation_id = $1 "
        "RETURNING last_position - $4::int AS before) "
        "INSERT INTO events (organisation_id, uid, position, event_type, subject_uid, occurred_at, body, actor_kind, "
        "actor_uid) SELECT $1, 'evt-' || p.before + g, p.before + g, 'waiting_room_updated', $2, $3, "
        "convert_to(json_build_object('data', json_build_object('uid', $2::text, 'status', 'waiting', 'filled', "
        "repeat('x', 1000)))::text, 'UTF8'), 'key', 'x' FROM generate_series(1, $4::int) g, place p",
        desk.tenant.id,
        uid,
        datetime.now(UTC),
        events,
    )
    await desk.tenant.rows(
        "UPDATE waiting_rooms SET revision = revision + 1 WHERE organisation_id = $1 AND uid = $2 RETURNING uid",
        shop,
    )


async def test_others_do_not_wait_for_one_who_does_not_read(apart: Live, desk: Desk) -> None:
    """Twelve MB of steps: those who read have all of them; who does not is cut off, and loses none either."""
    shop = await desk.shop()
    uid = await desk.patient(shop)
    path = desk.board_path(shop)
    lazy = narrow(desk.url)
    lazy.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {desk.headers['X-API-Key']}\r\n\r\n".encode())
    keen = await desk.follow(path)
    [snapshot] = await keen.until("snapshot")
    before = memory(apart)
    heard: list[tuple[str, str, str]] = []
    for number in range(1, 61):
        await churn(desk, shop, uid, 200)
        while len(heard) < 200 * number:
            event = await keen.next()
            assert event is not None
            heard += steps([event])
    assert heard == await desk.told(int(snapshot.id))
    assert memory(apart) - before < 12
    # It reads at last: what was on its way, then the end; and what is missing when it comes back.
    reader, writer = await asyncio.open_connection(sock=lazy, limit=1 << 20)
    await reader.readuntil(b"\r\n\r\n")
    late = Follower(reader, writer, 200)
    desk.followers.append(late)
    first, *events = [event async for event in _all(late)]
    assert first.name == "snapshot"
    got = steps(events)
    # It asked first, but a busy server may have let it in after some of the steps.
    due = [step for step in heard if int(step[0]) > int(first.id)]
    assert 0 < len(got) < len(due)
    assert got == due[: len(got)]
    # More than is repeated was missed: the state says how it stands.
    again = await desk.follow(path, events[-1].id)
    assert (await again.until("snapshot"))[-1].data == await desk.board(shop)


async def _all(follower: Follower) -> AsyncIterator[Event]:
    with contextlib.suppress(ConnectionError):
        while (event := await follower.next()) is not None:
            yield event


async def test_a_thousand_steps_of_one_read_end_no_stream() -> None:
    """However many steps come at once, they are one frame; what waits is bounded by bytes as well."""
    stream = new()
    steps = [Step(position, "q-1", b'{"uid":"q-1"}') for position in range(1, 1001)]
    await _fill(
        [stream],
        Found(1000, more=False, keys=frozenset({"key-1"}), steps=steps, states={"q-1": State(b"{}")}),
    )
    before = stream.ending
    assert stream.take().count(b"event: step") == 1000
    stream.put(b"x" * MOST_BYTES)
    stream.put(b"and more")
    assert (before, stream.ending) == (False, True)


async def test_more_streams_than_there_may_be_end_at_once() -> None:
    """Two that were let in at once, where there is room for one."""

    async def connect() -> Any:
        await asyncio.Event().wait()

    async def read(organisation_id: int, name: str, wanted: Wanted) -> Found:
        return Found(0, more=False, keys=wanted.keys, steps=(), states={})

    limits = Limits(in_all=1, of_organisation=9, of_key=9)
    hub = Hub(connect, "channel", read, limits=limits, again_seconds=60, reads=1, observe=lambda *_: None)
    first, second = new(), new()
    mark = hub.mark()
    with hub.joined(1, "shop", first, mark, kind="visit"), hub.joined(1, "shop", second, mark, kind="visit"):
        assert (first.ending, second.ending) == (False, True)
    await hub.close()
