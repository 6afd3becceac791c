"""A request to the outside: what is sent, and what is made of the answer."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
from pathlib import Path

import pytest
from tests.kit.receivers import (
    BODY,
    LOOPBACK,
    OK,
    RECEIVER,
    Pki,
    accepted,
    answering,
    endless,
    receiving,
    send,
)

from rxdesk.kit.addresses import AllowList
from rxdesk.kit.egress import ANSWER_LIMIT, Egress


# --- what a request is
async def test_a_delivery(pki: Pki, egress: Egress) -> None:
    async with receiving(answering(OK), pki.good) as receiver:
        outcome = await send(egress, receiver.url(path="/a/../b%2F?c=d&&e"))
    assert (outcome.status, outcome.error, outcome.answer) == (200, None, b"ok")
    assert outcome.duration_ms >= 0
    assert receiver.bodies == [BODY]
    assert receiver.server_names == ["receiver.test"]
    line, *headers = receiver.requests[0].decode().rstrip().split("\r\n")
    assert line == "POST /a/../b%2F?c=d&&e HTTP/1.1"
    assert sorted(headers) == [
        "Accept-Encoding: identity",
        "Accept: */*",
        "Connection: close",
        f"Content-Length: {len(BODY)}",
        "Content-Type: application/json",
        f"Host: receiver.test:{receiver.port}",
        "User-Agent: RxDesk",
        "X-Token: t",
    ]


async def test_hosts_of_every_kind(pki: Pki, egress: Egress) -> None:
    async with receiving(answering(OK), pki.good) as receiver:
        for host in ("127.0.0.1", "localhost", "RECEIVER.test.", "bücher.test"):
            assert (await send(egress, receiver.url(host))).error is None, host
    assert receiver.server_names == [None, "localhost", "receiver.test", "xn--bcher-kva.test"]


async def test_plain_http_where_it_is_opened(egress: Egress) -> None:
    async with receiving(answering(OK), None) as receiver:
        outcome = await send(egress, f"http://127.0.0.1:{receiver.port}/")
    assert (outcome.status, outcome.error) == (200, None)


async def test_headers_that_are_given_take_the_place_of_ours(egress: Egress, pki: Pki) -> None:
    async with receiving(answering(b"HTTP/1.1 204 X\r\n\r\n"), pki.good) as receiver:
        await egress.post(receiver.url(), BODY, {"user-agent": "theirs", "X-Name": "ä"})
    lines = receiver.requests[0].decode().split("\r\n")
    assert [line for line in lines if line.lower().startswith("user-agent")] == ["user-agent: theirs"]
    assert "X-Name: ä" in lines


@pytest.mark.parametrize("sign", ["\r", "\n", "\0", "\x1f", "\x7f"])
async def test_a_header_cannot_be_more_than_one(listener: socket.socket, sign: str) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    egress = Egress(AllowList.parse("http+127.0.0.0/8:*"))
    for headers in ({"X": f"a{sign}Host: b"}, {f"X{sign}Y": "a"}):
        with pytest.raises(ValueError, match="control"):
            await egress.post(url, b"", headers)
    assert accepted(listener) == 0


async def test_duration_is_read_from_the_clock(pki: Pki) -> None:
    ticks = iter([100.0, 100.0871])
    egress = Egress(LOOPBACK, ca_file=pki.ca_file, resolver=RECEIVER, clock=lambda: next(ticks))
    async with receiving(answering(OK), pki.good) as receiver:
        assert (await send(egress, receiver.url())).duration_ms == 87


async def test_environment_proxies_and_netrc_are_ignored(
    egress: Egress, pki: Pki, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with receiving(answering(OK), None) as proxy, receiving(answering(OK), pki.good) as receiver:
        for variable in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        assert (await send(egress, receiver.url())).error is None
    assert proxy.accepted == 0
    assert b"authorization" not in receiver.requests[0].lower()


async def test_no_connection_and_no_cookie_is_kept(pki: Pki, egress: Egress) -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"

    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        writer.write(answer)
        await reader.read()

    async with receiving(stay, pki.good) as receiver:
        for _ in range(3):
            assert (await send(egress, receiver.url())).error is None
    assert receiver.accepted == 3
    assert all(b"cookie" not in head.lower() for head in receiver.requests)


async def test_nothing_of_a_request_is_logged(
    pki: Pki, egress: Egress, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="aiohttp")
    caplog.set_level(logging.DEBUG, logger="rxdesk")
    async with receiving(answering(b"nonsense\r\n\r\n"), pki.good) as receiver:
        await send(egress, receiver.url(path="/SECRET"))
    assert not [one for one in caplog.records if one.name.startswith(("aiohttp", "rxdesk"))]


# --- the answer
@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("200 OK", None),
        ("201 Created", None),
        ("204 No Content", None),
        ("299 X", None),
        ("300 X", "redirect"),
        ("304 Not Modified", "redirect"),
        ("308 X", "redirect"),
        ("400 X", "status"),
        ("404 X", "status"),
        ("410 Gone", "status"),
        ("429 X", "status"),
        ("500 X", "status"),
        ("503 X", "status"),
        ("600 X", "status"),
    ],
)
async def test_the_status_decides(egress: Egress, line: str, error: str | None) -> None:
    async with receiving(
        answering(f"HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n".encode()), None
    ) as receiver:
        outcome = await send(egress, f"http://127.0.0.1:{receiver.port}/")
    assert (outcome.status, outcome.error) == (int(line[:3]), error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(pki: Pki, egress: Egress, status: int) -> None:
    async with receiving(answering(OK), None) as inner:
        answer = (
            f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:{inner.port}/\r\nContent-Length: 0\r\n\r\n"
        )
        async with receiving(answering(answer.encode()), pki.good) as receiver:
            outcome = await send(egress, receiver.url())
        assert (outcome.status, outcome.error) == (status, "redirect")
        assert (receiver.accepted, inner.accepted) == (1, 0)


async def test_a_gzip_bomb_stays_packed(pki: Pki, egress: Egress) -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    async with receiving(answering(head + bomb), pki.good) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error) == (200, None)
    assert outcome.answer == bomb[:16384]


async def test_of_a_long_answer_the_beginning_is_kept(pki: Pki, egress: Egress) -> None:
    body = bytes(range(256)) * 400
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with receiving(answering(head + body), pki.good) as receiver:
        kept = await send(egress, receiver.url())
        none = await egress.post(receiver.url(), BODY, {}, max_answer=0)
    assert (kept.error, kept.answer) == (None, body[:16384])
    assert (none.error, none.answer) == (None, b"")


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    ],
    ids=["to the end", "sized", "chunked"],
)
async def test_an_endless_answer_is_too_large(pki: Pki, egress: Egress, head: bytes, piece: bytes) -> None:
    async with receiving(endless(head, piece), pki.good) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error) == (200, "too_large")
    assert outcome.answer == b"x" * 16384


async def test_an_answer_of_exactly_the_limit_is_not_too_large(pki: Pki, egress: Egress) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {ANSWER_LIMIT}\r\n\r\n".encode()
    async with receiving(answering(head + b"x" * ANSWER_LIMIT), pki.good) as receiver:
        assert (await send(egress, receiver.url())).error is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX-Bomb: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Bomb: x\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + (b"X-Bomb: " + b"x" * 8000 + b"\r\n") * 9 + b"\r\n",
        b"HTTP/1.1 200 " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X" * 1_000_000 + b": x\r\n\r\n",
    ],
    ids=["value", "count", "sum", "status line", "name"],
)
async def test_a_header_bomb_is_too_large(pki: Pki, egress: Egress, answer: bytes) -> None:
    async with receiving(answering(answer), pki.good) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error) == (None, "too_large")


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 abc X\r\n\r\n", b"\0" * 100]
)
async def test_what_speaks_no_http_is_no_connection(pki: Pki, egress: Egress, answer: bytes) -> None:
    async with receiving(answering(answer), pki.good) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error) == (None, "connect")


async def test_a_few_interim_answers_are_passed_over(pki: Pki, egress: Egress) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with receiving(answering(interim * 3 + OK), pki.good) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error, outcome.answer) == (200, None, b"ok")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ],
)
async def test_an_answer_cut_short_counts_by_its_status(pki: Pki, egress: Egress, answer: bytes) -> None:
    async with receiving(answering(answer), pki.good) as receiver:
        outcome = await send(egress, receiver.url())
    assert (outcome.status, outcome.error, outcome.answer) == (200, None, b"ok")
