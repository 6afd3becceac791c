"""The wire: hostile request lines and headers on raw sockets. The server refuses or closes, and serves the others."""

from __future__ import annotations

import asyncio
import re

import pytest
from tests.conftest import Live
from tests.wire.raw import Closed, Wire, ask, request
from tests.wire.sending import OK, refused


async def test_header_of_a_megabyte(live: Live) -> None:
    assert await refused(live.url, request("GET", OK, [("X-Long", "x" * 2**20)])) in (431, 0)
    assert await refused(live.url, request("GET", OK, [("x" * 2**20, "1")])) in (431, 0)


async def test_too_many_headers(live: Live) -> None:
    for number in (200, 5000):
        many = [(f"X-{position}", "1") for position in range(number)]
        assert await refused(live.url, request("GET", OK, many)) in (431, 400, 0)


async def test_long_request_line(live: Live) -> None:
    assert await refused(live.url, request("GET", OK + "?" + "a" * 100_000)) in (414, 0)
    assert await refused(live.url, request("G" * 100_000, OK)) in (400, 405, 414, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 100 + b"\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX y: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,  # a TLS hello
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=str,
)
async def test_no_http(live: Live, data: bytes) -> None:
    assert await refused(live.url, data) in (400, 0, 414, 505)


async def test_half_sent_headers_are_closed(live: Live) -> None:
    """Granian gives them ten seconds; many such connections keep nobody else waiting."""
    wires = [await Wire.open(live.url) for _ in range(50)]
    for wire in wires:
        await wire.send(b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    assert (await ask(live.url, request("GET", "/livez"), seconds=9)).status == 200
    closed = await asyncio.gather(*(wire.is_closed(30) for wire in wires))
    assert all(closed)
    for wire in wires:
        await wire.close()


async def test_forms_of_the_target(live: Live, key: str) -> None:
    for target, status in (
        (f"http://test{OK}", 200),
        (f"http://elsewhere.example{OK}", 200),
        ("*", 400),
        ("http://test", 404),
    ):
        data = request("GET", target, [("X-API-Key", key)])
        try:
            reply = await ask(live.url, data)
        except Closed:
            assert status == 400, target
        else:
            assert reply.status in (status, 404 if status == 400 else status), target


async def test_upgrades_are_not_taken(live: Live, key: str) -> None:
    for protocol in ("websocket", "h2c"):
        headers = [("X-API-Key", key), ("Connection", "Upgrade"), ("Upgrade", protocol)]
        headers += [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]
        reply = await ask(live.url, request("GET", OK, headers))
        assert reply.status in (200, 400, 404), reply


OURS = re.compile(r"req-[0-9a-f]{32}")


async def test_request_ids(live: Live) -> None:
    for given in ("12345678", "a" * 64, "Az09._-Az09", "--------"):
        reply = await ask(live.url, request("GET", OK, [("X-Request-Id", given)]))
        assert reply.value("x-request-id") == given
    seen = set()
    for several in (
        [],
        ["1234567"],
        ["a" * 65],
        ["abcdefgh ijk"],
        ["abcdefgh\xff"],
        ["abcdefgh/"],
        [""],
        ["abcdefgh", "abcdefgh"],
        ["abcdefgh", "ijklmnop"],
        ["abcdefgh,ijklmnop"],
    ):
        for path in (OK, "/nowhere"):
            reply = await ask(live.url, request("GET", path, [("X-Request-Id", value) for value in several]))
            ours = reply.value("x-request-id")
            assert ours is not None
            assert OURS.fullmatch(ours), several
            seen.add(ours)
    assert len(seen) == 20


async def test_every_answer_forbids_sniffing_and_keeping(live: Live, key: str) -> None:
    for path, headers in ((OK, [("X-API-Key", key)]), (OK, []), ("/nowhere", [])):
        reply = await ask(live.url, request("GET", path, headers))
        assert reply.value("x-content-type-options") == "nosniff"
        assert reply.value("cache-control") == "no-store"
