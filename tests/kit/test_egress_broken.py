"""Answers that break their form: the status counts where it can be read, nobody is waited for, and nothing is kept."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tests.kit.receivers import Pki
from tests.kit.test_egress_kept import OK, answering, keeping, receiving, send
from tests.webhooks.engine import eventually

from rxdesk.kit import connector
from rxdesk.kit.addresses import Address, AllowList
from rxdesk.kit.egress import Egress
from rxdesk.kit.sockets import connect_tcp

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (CHUNKED, b"zz\r\n"),
        (CHUNKED + b"2\r\nok\r\n", b"zz\r\n"),
        (CHUNKED, b"2\r\nok\r\n0\r\n" + b"X: y\r\n" * 200),
        (CHUNKED + b"zz\r\n", b""),
    ],
    ids=["no chunk", "no second chunk", "trailers without end", "at once"],
)
async def test_a_body_that_breaks_its_form_is_not_waited_for(first: bytes, rest: bytes) -> None:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> bool:
        writer.write(first)
        await asyncio.sleep(0.02)  # so that it comes on its own
        writer.write(rest)
        return True

    async with receiving(behave) as receiver, keeping() as egress:
        for _ in range(2):
            outcome = await send(egress, receiver.url())
            assert (outcome.status, outcome.error) == (200, None)
            assert outcome.duration_ms < 20_000, "far less than the deadline"
    assert receiver.accepted == 2


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\nhello", 204),
        (b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 204),
        (OK + b"more", 200),
        (b"HTTP/1.1 204 X\r\n\r\nHTTP/1.1 5", 204),
        (OK + b"H", 200),
        (OK + b"HTTP/1.1 500 X\r\nContent-Len", 200),
        (OK + OK, 200),
        (CHUNKED + b"0\r\n\r\nHTTP/1.1 500 X\r\n", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nok", 200),
    ],
)
async def test_what_follows_an_answer_closes_the_connection_and_does_not_change_the_answer(
    answer: bytes, status: int
) -> None:
    async with receiving(answering(answer)) as receiver, keeping() as egress:
        for _ in range(2):
            outcome = await send(egress, receiver.url())
            assert (outcome.status, outcome.error) == (status, None)
    assert receiver.accepted == 2


@pytest.mark.parametrize("body", [b"Content-Length: 5\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_body_that_is_announced_where_none_belongs_is_not_waited_for(body: bytes) -> None:
    """It comes late, when the next request is under way, and would be taken for its answer."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> bool:
        writer.write(b"HTTP/1.1 204 X\r\n" + body)
        await asyncio.sleep(0.02)
        writer.write(b"hello")
        return True

    async with receiving(behave) as receiver, keeping() as egress:
        for _ in range(2):
            outcome = await send(egress, receiver.url())
            assert (outcome.status, outcome.error) == (204, None)
    assert receiver.accepted == 2


@pytest.mark.parametrize(
    ("head", "piece", "status", "error"),
    [
        (b"", b"\r\n", None, "too_large"),
        (CHUNKED + b"1;", b"a", 200, None),
        (CHUNKED, b"0", 200, None),
    ],
    ids=["empty lines", "extension of a chunk", "size of a chunk"],
)
async def test_what_is_no_part_of_an_answer_has_an_end_too(
    head: bytes, piece: bytes, status: int | None, error: str | None
) -> None:
    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> bool:
        writer.write(head)
        while True:
            writer.write(piece * 65536)
            await writer.drain()

    async with receiving(endless) as receiver, keeping() as egress:
        outcome = await send(egress, receiver.url(), total=20.0)
    assert (outcome.status, outcome.error) == (status, error)


@pytest.mark.parametrize("upgrade", [b"", b"Connection: upgrade\r\nUpgrade: websocket\r\n"])
async def test_another_protocol_is_not_spoken(upgrade: bytes) -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + b"\r\n"
    async with receiving(answering(switching)) as receiver, keeping() as egress:
        for _ in range(2):
            outcome = await send(egress, receiver.url())
            assert (outcome.status, outcome.error) == (101, "status")
    assert receiver.accepted == 2


async def test_over_tls_too_an_answer_before_the_request_has_left_closes_the_connection(
    pki: Pki,
) -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport that reads
        writer.write(OK)

    server = await asyncio.start_server(hasty, "127.0.0.1", 0, ssl=pki.good)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/hook"
    egress = Egress(AllowList.parse("127.0.0.1/32:*"), ca_file=pki.ca_file, keep_seconds=5.0)
    for _ in range(2):
        outcome = await egress.post(url, b"x" * (1 << 24), {}, total=30.0)
        assert (outcome.status, outcome.error, outcome.answer) == (200, None, b"ok")
    egress.close()
    server.close()
    for writer in accepted:
        writer.transport.abort()
    assert len(accepted) == 2


async def test_no_more_than_so_many_connections_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the receivers of a few seconds would take all the files that a process may open."""
    monkeypatch.setattr(connector, "_MOST_IDLE", 3)
    opened: list[socket.socket] = []

    async def connect(address: Address, port: int) -> socket.socket:
        opened.append(await connect_tcp(address, port))
        return opened[-1]

    async with receiving(answering(OK)) as receiver, keeping(connect=connect) as egress:
        for number in range(8):
            await send(egress, receiver.url(f"host-{number}.localhost"))
        await send(egress, receiver.url("host-5.localhost"))
        await send(egress, receiver.url("host-8.localhost"))

        def waiting() -> list[int]:
            return [number for number, one in enumerate(opened) if one.fileno() != -1]

        await eventually(lambda: len(waiting()) <= 3)
        assert waiting() == [5, 7, 8], "what has waited longest makes room"
