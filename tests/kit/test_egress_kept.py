"""Connections that are kept between requests: reused while they are young, alive and quiet, and only then."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.webhooks.engine import eventually

from rxdesk.kit import connector
from rxdesk.kit.addresses import Address, AllowList
from rxdesk.kit.egress import Egress, Outcome
from rxdesk.kit.sockets import connect_tcp

BODY = b'{"event_type":"order_created"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOOPBACK = AllowList.parse("http+127.0.0.1/32:*")

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[bool]]


@dataclass
class Receiver:
    """A server that answers any number of requests on a connection."""

    port: int = 0
    accepted: int = 0
    heads: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def url(self, host: str = "127.0.0.1", path: str = "/hook") -> str:
        return f"http://{host}:{self.port}{path}"


@contextlib.asynccontextmanager
async def receiving(behave: Behaviour) -> AsyncIterator[Receiver]:
    """`behave` gets the number of the request on its connection, and tells whether to go on."""
    receiver = Receiver()
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        receiver.accepted += 1
        receiver.writers.append(writer)
        number = 0
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    receiver.heads.append(await reader.readuntil(b"\r\n\r\n"))
                    await reader.readexactly(len(BODY))
                    number += 1
                    if not await behave(reader, writer, number):
                        return
                    await writer.drain()
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def answering(answer: bytes) -> Behaviour:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> bool:
        writer.write(answer)
        return True

    return behave


@contextlib.asynccontextmanager
async def keeping(**more: Any) -> AsyncIterator[Egress]:
    egress = Egress(LOOPBACK, **{"keep_seconds": 5.0, **more})
    try:
        yield egress
    finally:
        egress.close()


async def send(egress: Egress, url: str, **more: Any) -> Outcome:
    return await egress.post(url, BODY, {"Content-Type": "application/json"}, **{"total": 30.0, **more})


async def closed(receiver: Receiver, number: int = 0) -> None:
    """Wait until a connection is seen to be closed by its other side."""
    await eventually(receiver.writers[number].transport.is_closing)


async def test_a_connection_is_reused() -> None:
    async with receiving(answering(OK)) as receiver, keeping() as egress:
        for _ in range(5):
            outcome = await send(egress, receiver.url())
            assert (outcome.status, outcome.error, outcome.answer) == (200, None, b"ok")
    assert receiver.accepted == 1
    assert all(b"connection:" not in head.lower() for head in receiver.heads)


async def test_it_is_closed_when_nobody_needs_it_any_more() -> None:
    async with receiving(answering(OK)) as receiver:
        async with keeping() as egress:
            await send(egress, receiver.url())
        await closed(receiver)


async def test_an_idle_one_does_not_live_long() -> None:
    async with receiving(answering(OK)) as receiver, keeping(keep_seconds=0.05) as egress:
        await send(egress, receiver.url())
        await closed(receiver)
        assert (await send(egress, receiver.url())).error is None
    assert receiver.accepted == 2


async def test_an_old_one_is_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "_OLDEST_SECONDS", 0.0)
    async with receiving(answering(OK)) as receiver, keeping() as egress:
        for _ in range(3):
            assert (await send(egress, receiver.url())).error is None
    assert receiver.accepted == 3


async def test_each_host_and_port_has_its_own() -> None:
    opened: list[tuple[Address, int]] = []

    async def connect(address: Address, port: int) -> socket.socket:
        opened.append((address, port))
        return await connect_tcp(address, port)

    async with (
        receiving(answering(OK)) as one,
        receiving(answering(OK)) as two,
        keeping(connect=connect) as egress,
    ):
        for _ in range(2):
            for url in (one.url(), two.url(), one.url("localhost"), one.url(path="/other")):
                assert (await send(egress, url)).error is None
    assert len(opened) == 3


async def test_one_that_died_meanwhile_is_replaced() -> None:
    """It is closed at the very moment of the second request, before a byte of an answer."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        writer.write(OK)
        return number == 1

    async def only_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        return number == 1 and await behave(reader, writer, number)

    async with receiving(only_one) as receiver, keeping() as egress:
        for _ in range(3):
            outcome = await send(egress, receiver.url())
            assert (outcome.status, outcome.error) == (200, None)
    assert receiver.accepted == 3
    assert len(receiver.heads) == 5, "twice it went out on a connection that was dead"


async def test_only_once_and_only_before_an_answer() -> None:
    async def half(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        writer.write(OK if number == 1 else b"HTTP/1.1 2")
        await writer.drain()
        return number == 1

    async with receiving(half) as receiver, keeping() as egress:
        assert (await send(egress, receiver.url())).error is None
        assert (await send(egress, receiver.url())).error == "connect"
    assert len(receiver.heads) == 2

    async def never(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _number: int) -> bool:
        return False

    async with receiving(never) as receiver, keeping() as egress:
        assert (await send(egress, receiver.url())).error == "connect"
    assert len(receiver.heads) == 1, "a fresh connection is no reason to try again"


async def test_what_must_not_be_made_twice_is_not_sent_again() -> None:
    async def only_one(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        writer.write(OK if number == 1 else b"")
        return number == 1

    async with receiving(only_one) as receiver, keeping() as egress:
        answers = [
            await egress.request("POST", receiver.url(), BODY, {}, total=30.0, once=True) for _ in range(3)
        ]
    assert [(one.status, one.error) for one in answers] == [(200, None), (None, "connect"), (200, None)]
    assert (receiver.accepted, len(receiver.heads)) == (2, 3)


async def test_a_long_answer_is_cut_and_closes_the_connection() -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000
    async with receiving(answering(long)) as receiver, keeping() as egress:
        for _ in range(2):
            outcome = await send(egress, receiver.url(), max_answer=1000)
            assert (outcome.status, outcome.error, outcome.answer) == (200, None, b"x" * 1000)
    assert receiver.accepted == 2


async def test_an_endless_answer_is_not_waited_for() -> None:
    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> bool:
        writer.write(b"HTTP/1.1 500 X\r\n\r\n")
        while True:
            writer.write(b"x" * 4096)
            await writer.drain()

    async with receiving(endless) as receiver, keeping() as egress:
        outcome = await send(egress, receiver.url(), max_answer=1000)
    assert (outcome.status, outcome.error, len(outcome.answer)) == (500, "status", 1000)


async def test_what_ran_into_the_deadline_is_not_used_again() -> None:
    async def late(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        if number == 1:
            await asyncio.sleep(0.15)
        writer.write(OK)
        return True

    async with receiving(late) as receiver, keeping() as egress:
        assert (await send(egress, receiver.url(), total=0.1)).error == "timeout"
        await asyncio.sleep(0.1)
        assert (await send(egress, receiver.url())).error is None
    assert receiver.accepted == 2


async def test_an_answer_that_nobody_asked_for_closes_the_connection() -> None:
    """Else it would be taken for the answer to the next request."""

    async def eager(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        writer.write(OK)
        await writer.drain()
        if number == 1:
            await asyncio.sleep(0.02)
            writer.write(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
        return True

    async with receiving(eager) as receiver, keeping() as egress:
        assert (await send(egress, receiver.url())).status == 200
        await closed(receiver)
        assert (await send(egress, receiver.url())).status == 200
    assert receiver.accepted == 2


async def test_interim_answers_are_counted_for_each_request() -> None:
    few = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10 + OK
    async with receiving(answering(few)) as receiver, keeping() as egress:
        for _ in range(4):
            assert (await send(egress, receiver.url())).error is None
    assert receiver.accepted == 1


async def test_a_failure_keeps_the_connection_and_says_when_to_come_again() -> None:
    busy = b"HTTP/1.1 503 X\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n"
    async with receiving(answering(busy)) as receiver, keeping() as egress:
        for _ in range(2):
            outcome = await send(egress, receiver.url())
            assert (outcome.status, outcome.error, outcome.retry_after) == (503, "status", "120")
    assert receiver.accepted == 1


async def test_a_redirect_is_not_followed_on_a_kept_connection() -> None:
    moved = b"HTTP/1.1 301 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with receiving(answering(moved)) as receiver, keeping() as egress:
        for _ in range(2):
            assert (await send(egress, receiver.url())).error == "redirect"
    assert len(receiver.heads) == 2


async def test_many_at_once() -> None:
    async with receiving(answering(OK)) as receiver, keeping() as egress:
        for _ in range(5):
            outcomes = await asyncio.gather(*(send(egress, receiver.url()) for _ in range(20)))
            assert {outcome.error for outcome in outcomes} == {None}
    assert receiver.accepted <= 20


async def test_each_that_waits_has_its_own_end() -> None:
    async with (
        receiving(answering(OK)) as one,
        receiving(answering(OK)) as two,
        keeping(keep_seconds=0.2) as egress,
    ):
        await send(egress, one.url())
        await asyncio.sleep(0.1)
        await send(egress, two.url())
        await closed(one)
        await closed(two)


async def test_what_ends_after_closing_is_not_kept() -> None:
    asked, answers = asyncio.Event(), asyncio.Event()

    async def late(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> bool:
        asked.set()
        await answers.wait()
        writer.write(OK)
        return True

    async with receiving(late) as receiver, keeping() as egress:
        sending = asyncio.create_task(send(egress, receiver.url()))
        await asked.wait()
        egress.close()
        answers.set()
        assert (await sending).status == 200
        await closed(receiver)


async def test_an_answer_before_the_request_has_left_closes_the_connection() -> None:
    """Else the next request would wait behind what the receiver may never read."""
    accepted: list[asyncio.StreamWriter] = []

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport that reads
        writer.write(OK)

    server = await asyncio.start_server(hasty, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with keeping() as egress:
        for _ in range(2):
            outcome = await egress.post(url, b"x" * (1 << 24), {}, total=30.0)
            assert (outcome.status, outcome.error, outcome.answer) == (200, None, b"ok")
    server.close()
    for writer in accepted:
        writer.transport.abort()
    assert len(accepted) == 2
