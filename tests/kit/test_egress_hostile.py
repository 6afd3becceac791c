"""Receivers that stall, lie or are not there, and names with several addresses: the deadline holds for all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.kit.receivers import (
    BODY,
    LOOPBACK,
    OK,
    RECEIVER,
    Behaviour,
    Pki,
    answering,
    dripping,
    endless,
    hang,
    names,
    receiving,
    reset,
    send,
)
from tests.webhooks.engine import eventually

from rxdesk.kit.addresses import Address, AllowList
from rxdesk.kit.egress import Egress, connect_tcp

DEADLINE = 0.5  # for what is silent from the beginning
SHAKEN = 3.0  # in which this machine, however busy, shakes hands
PATIENCE = 30.0  # for what ends by itself, and what would never end


# --- hostile, and silent
@pytest.mark.parametrize(
    ("behaviour", "total", "status", "error"),
    [
        (hang, DEADLINE, None, "timeout"),
        (dripping(b"HTTP/1.1 200 OK\r\nX-Drip: "), DEADLINE, None, "timeout"),
        (dripping(b"HTTP/1.1 200 OK\r\n\r\n"), SHAKEN, 200, "timeout"),
        (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"), SHAKEN, 200, "timeout"),
        (dripping(b"HTTP/1.1 500 X\r\nContent-Length: 10000\r\n\r\n"), SHAKEN, 500, "status"),
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), PATIENCE, None, "too_large"),
        (reset, PATIENCE, None, "connect"),
    ],
    ids=[
        "silence",
        "header drip",
        "body drip",
        "sized body drip",
        "drip of a failure",
        "endless 100s",
        "reset",
    ],
)
async def test_no_receiver_holds_us_beyond_the_deadline(
    pki: Pki, egress: Egress, behaviour: Behaviour, total: float, status: int | None, error: str
) -> None:
    async with receiving(behaviour, pki.good) as receiver, asyncio.timeout(PATIENCE):
        outcome = await send(egress, receiver.url(), total=total)
    assert (outcome.status, outcome.error) == (status, error)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "timeout"),
        (OK, None),
        (b"nonsense\r\n\r\n", "connect"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, "too_large"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2 << 20), "too_large"),
    ],
    ids=["silence", "answer", "nonsense", "endless 100s", "long body"],
)
async def test_the_socket_is_gone_when_the_request_is_over(
    pki: Pki, answer: bytes, error: str | None
) -> None:
    opened: list[socket.socket] = []

    async def connect(address: Address, port: int) -> socket.socket:
        opened.append(await connect_tcp(address, port))
        return opened[-1]

    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        writer.write(answer)
        # Neither our goodbye nor the end of the connection is noticed.
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport of both directions
        await asyncio.Event().wait()

    egress = Egress(LOOPBACK, ca_file=pki.ca_file, resolver=RECEIVER, connect=connect)
    async with receiving(deaf, pki.good) as receiver:
        outcome = await send(egress, receiver.url(), total=PATIENCE if answer else DEADLINE)
        await eventually(lambda: [one.fileno() for one in opened] == [-1])
    assert outcome.error == error


@contextlib.asynccontextmanager
async def raw_receiver(answer: bytes, *, close: bool) -> AsyncIterator[int]:
    """A listener that does not speak TLS."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        if not close:
            await over.wait()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        server.close()
        await asyncio.sleep(0.01)


async def test_a_stall_in_tls_ends_at_the_deadline(egress: Egress) -> None:
    async with raw_receiver(b"", close=False) as port, asyncio.timeout(PATIENCE):
        outcome = await send(egress, f"https://receiver.test:{port}/", total=DEADLINE)
    assert (outcome.status, outcome.error) == (None, "timeout")


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28"]
)
async def test_what_speaks_no_tls(egress: Egress, answer: bytes) -> None:
    async with raw_receiver(answer, close=True) as port:
        assert (await send(egress, f"https://receiver.test:{port}/")).error == "tls"


@pytest.mark.parametrize("fault", ["expired", "wrong_name", "unknown_authority"])
async def test_a_certificate_that_does_not_hold(pki: Pki, egress: Egress, fault: str) -> None:
    async with receiving(answering(OK), getattr(pki, fault)) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error) == (None, "tls")
    assert receiver.requests == []


async def test_our_authority_counts_only_where_it_is_given(pki: Pki) -> None:
    async with receiving(answering(OK), pki.good) as receiver:
        assert (await send(Egress(LOOPBACK, resolver=RECEIVER), receiver.url())).error == "tls"
    assert receiver.requests == []


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_an_unusable_authority_file_is_an_error_at_once(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(OSError):  # noqa: PT011 - the messages are OpenSSL's
        Egress(LOOPBACK, ca_file=file)


async def test_a_closed_port(egress: Egress) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        outcome = await send(egress, f"https://127.0.0.1:{taken.getsockname()[1]}/")
    assert (outcome.status, outcome.error, outcome.answer) == (None, "connect", b"")


async def test_a_name_that_does_not_resolve(egress: Egress) -> None:
    assert (await send(egress, "https://unknown.test/")).error == "dns"


async def test_a_name_server_that_does_not_answer() -> None:
    async def silent(_name: str, _port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    assert (
        await send(Egress(LOOPBACK, resolver=silent), "https://receiver.test/", total=0.05)
    ).error == "timeout"


# --- several addresses
PUBLIC = ["1.1.1.1", "2606:4700::1111", "8.8.8.8"]


async def test_addresses_are_tried_in_order() -> None:
    tried: list[tuple[str, int]] = []

    async def connect(address: Address, port: int) -> socket.socket:
        tried.append((str(address), port))
        if str(address) == "1.1.1.1":
            await asyncio.Event().wait()
        raise ConnectionRefusedError

    egress = Egress(AllowList(), resolver=names(many_test=PUBLIC), connect=connect)
    outcome = await egress.post("https://many.test:8443/", BODY, {}, connect=0.02)
    assert outcome.error == "connect"
    assert tried == [(one, 8443) for one in PUBLIC]


async def test_the_second_address_serves_when_the_first_is_dead(pki: Pki) -> None:
    async def connect(address: Address, port: int) -> socket.socket:
        if str(address) == "1.1.1.1":
            raise ConnectionRefusedError
        return await connect_tcp(address, port)

    egress = Egress(
        LOOPBACK, ca_file=pki.ca_file, resolver=names(receiver_test=["1.1.1.1", "127.0.0.1"]), connect=connect
    )
    async with receiving(answering(OK), pki.good) as receiver:
        assert (await send(egress, receiver.url())).error is None


async def test_silence_at_every_address_is_a_timeout() -> None:
    async def connect(_address: Address, _port: int) -> socket.socket:
        await asyncio.Event().wait()
        raise AssertionError

    egress = Egress(AllowList(), resolver=names(many_test=PUBLIC), connect=connect)
    assert (await egress.post("https://many.test/", BODY, {}, connect=0.01)).error == "timeout"
