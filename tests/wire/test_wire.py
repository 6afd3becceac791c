"""The wire: hostile bytes on raw sockets. The server refuses or closes, and goes on serving the others."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.conftest import Live, start_live, stop_live
from tests.factories import Tenant
from tests.wire.raw import BASE, Closed, Reply, Wire, ask, post, request

from rxdesk.db import embedded
from rxdesk.permissions import ALL

OK = BASE + "/health/"
REGISTER = "/waiting-room/register"


@pytest.fixture(scope="module")
def hasty(cluster: embedded.Address) -> Iterator[Live]:
    """A server with a short deadline, so that slow bodies need no patience of ours."""
    server = start_live(cluster, request_timeout_seconds=1.5)
    yield server
    stop_live(server)


@pytest.fixture
async def key(tenant: Tenant) -> str:
    return await tenant.key(*ALL)


@pytest.fixture(autouse=True)
async def _still_serving(live: Live) -> AsyncIterator[None]:
    """After each of these, the server still answers: the same process."""
    yield
    reply = await ask(live.url, request("GET", "/livez"))
    assert (reply.status, reply.body) == (200, b'{"status":"ok"}')
    assert live.process.is_alive()


async def refused(url: str, data: bytes) -> int:
    """Send, and give the status of the refusal, 0 when the server just closed."""
    wire = await Wire.open(url)
    sending = asyncio.create_task(wire.send(data))
    try:
        status = (await wire.reply()).status
    except Closed:
        status = 0
    finally:
        sending.cancel()
        await wire.close()
    return status


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


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Length", "5"), ("Content-Length", "6")],
        [("Content-Length", "5, 6")],
        [("Content-Length", "-1")],
        [("Content-Length", "+5")],
        [("Content-Length", "0x5")],
        [("Content-Length", "5 5")],
        [("Content-Length", "99999999999999999999999")],
        [("Transfer-Encoding", "chunked, identity")],
        [("Transfer-Encoding", "xchunked")],
        [("Transfer-Encoding", "gzip")],
    ],
    ids=str,
)
async def test_ambiguous_lengths_are_refused_and_end_the_connection(
    live: Live, key: str, headers: list[tuple[str, str]]
) -> None:
    """What two readers could cut differently is how requests are smuggled: nothing after it may be served."""
    wire = await Wire.open(live.url)
    smuggled = request("GET", "/livez")
    await wire.send(request("POST", BASE + REGISTER, [("X-API-Key", key), *headers], smuggled))
    try:
        reply: Reply | None = await wire.reply()
    except Closed:
        reply = None
    assert reply is None or 400 <= reply.status < 500, reply
    with pytest.raises((Closed, TimeoutError)):
        pytest.fail(f"served what was smuggled: {await wire.reply(seconds=1)}")
    await wire.close()


async def test_length_and_chunked_together(live: Live, key: str) -> None:
    """Transfer-Encoding wins (RFC 9112, section 6.3), or it is refused; the length never cuts the body."""
    for headers in (
        [("Content-Length", "4"), ("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "chunked"), ("Content-Length", "4")],
    ):
        wire = await Wire.open(live.url)
        body = b"2\r\n{}\r\n0\r\n\r\n"
        await wire.send(request("POST", BASE + REGISTER, [("X-API-Key", key), *headers], body))
        try:
            reply = await wire.reply()
            assert reply.status == 400
            if reply.body:  # as chunked: an object without members
                assert json.loads(reply.body)["error"] == "Validation failed"
        except Closed:
            pass
        with pytest.raises((Closed, TimeoutError)):
            pytest.fail(f"served what was smuggled: {await wire.reply(seconds=0.5)}")
        await wire.close()


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"-2\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}XX0\r\n\r\n",
        b"ffffffffffffffffff\r\n{}",
        b"2;" + b"a" * 200_000 + b"\r\n{}\r\n0\r\n\r\n",
        b"0\r\n" + b"X-Trailer: 1\r\n" * 20_000 + b"\r\n",
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_broken_chunks(live: Live, key: str, body: bytes) -> None:
    headers = [("X-API-Key", key), ("Transfer-Encoding", "chunked")]
    assert await refused(live.url, request("POST", BASE + REGISTER, headers, body)) in (400, 413, 431, 0)


async def test_body_cut_off(live: Live, key: str) -> None:
    wire = await Wire.open(live.url)
    await wire.send(request("POST", BASE + REGISTER, [("X-API-Key", key), ("Content-Length", "100")], b'{"a'))
    await wire.close()


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


class TestSlowBodies:
    """Bodies that never end are answered 408 within the deadline, and others are served meanwhile."""

    @staticmethod
    async def _judge(hasty: Live, key: str, headers: list[tuple[str, str]], drip: bytes | None) -> None:
        wires = [await Wire.open(hasty.url) for _ in range(20)]
        head = request("POST", BASE + REGISTER, [("X-API-Key", key), *headers])
        for wire in wires:
            await wire.send(head)

        async def feed() -> None:
            while drip is not None:
                for wire in wires:
                    await wire.send(drip)
                await asyncio.sleep(0.05)

        feeding = asyncio.create_task(feed())
        for _ in range(10):
            assert (await ask(hasty.url, request("GET", "/livez"))).status == 200
        replies = await asyncio.gather(*(wire.reply() for wire in wires))
        feeding.cancel()
        assert {reply.status for reply in replies} == {408}
        assert json.loads(replies[0].body) == {"error": "The body did not arrive in time"}
        assert replies[0].value("ratelimit")
        for wire in wires:
            assert await wire.is_closed(10), "what follows would be read as a request"
            await wire.close()

    async def test_nothing_is_sent(self, hasty: Live, key: str) -> None:
        await self._judge(hasty, key, [("Content-Length", "100")], None)

    async def test_a_slow_drip(self, hasty: Live, key: str) -> None:
        await self._judge(hasty, key, [("Content-Length", "100000")], b" ")

    async def test_slow_chunks(self, hasty: Live, key: str) -> None:
        await self._judge(hasty, key, [("Transfer-Encoding", "chunked")], b"1\r\n \r\n")


async def test_endless_chunks(live: Live, key: str) -> None:
    wire = await Wire.open(live.url)
    await wire.send(request("POST", BASE + REGISTER, [("X-API-Key", key), ("Transfer-Encoding", "chunked")]))

    async def feed() -> None:
        # At a pace: what a flood still sends when the server has answered and closed would cost us the answer.
        for _ in range(10_000):
            if not await wire.send(b"10000\r\n" + b" " * 65536 + b"\r\n"):
                return
            await asyncio.sleep(0.01)

    feeding = asyncio.create_task(feed())
    reply = await wire.reply()
    assert reply.status == 413
    feeding.cancel()
    await wire.close()


async def test_early_refusal_of_a_large_body(live: Live) -> None:
    """A 401 comes before the body is read, and what is left of the body is no request."""
    for headers in ([], [("X-API-Key", "nonsense")]):
        wire = await Wire.open(live.url)
        length = 50 * 2**20
        await wire.send(request("POST", BASE + REGISTER, [*headers, ("Content-Length", str(length))]))
        reply = await wire.reply()
        assert reply.status == 401
        await wire.send(request("GET", "/livez") * 1000)
        with pytest.raises((Closed, TimeoutError)):
            pytest.fail(f"read the body as a request: {await wire.reply(seconds=0.5)}")
        await wire.close()


async def test_early_refusal_with_the_body_sent(live: Live) -> None:
    """The client that sends all of a body before it looks gets its answer too."""
    reply = await ask(live.url, post(REGISTER, "nonsense", b" " * 2**20))
    assert reply.status == 401


async def test_expect_continue(live: Live, key: str) -> None:
    wire = await Wire.open(live.url)
    head = [("X-API-Key", key), ("Content-Length", "2"), ("Expect", "100-continue")]
    await wire.send(request("POST", BASE + REGISTER, head))
    assert (await wire.reply()).status == 100
    await wire.send(b"{}")
    assert (await wire.reply()).status == 400
    await wire.close()
    # A refusal needs no body, so none is asked for.
    wire = await Wire.open(live.url)
    await wire.send(request("POST", BASE + REGISTER, [("Content-Length", "2"), ("Expect", "100-continue")]))
    assert (await wire.reply()).status == 401
    await wire.close()


async def test_pipelining(live: Live, tenant: Tenant, key: str) -> None:
    uids = [await tenant.insert("patients") for _ in range(20)]
    wire = await Wire.open(live.url)
    await wire.send(b"".join(request("GET", f"{BASE}/patients/{uid}", [("X-API-Key", key)]) for uid in uids))
    got = [json.loads((await wire.reply()).body)["uid"] for _ in uids]
    assert got == uids
    await wire.close()


async def test_one_connection_many_keys(live: Live, tenant: Tenant, other: Tenant) -> None:
    """Nothing of a request stays with its connection."""
    wire = await Wire.open(live.url)
    mine, theirs = await tenant.insert("patients"), await other.insert("patients")
    keys = await tenant.key("patient:read"), await other.key("patient:read"), await tenant.key()
    for _ in range(10):
        for credential, uid, status in (
            (keys[0], mine, 200),
            (keys[1], mine, 404),
            (keys[0], theirs, 404),
            (keys[1], theirs, 200),
            (keys[2], mine, 403),
            (None, mine, 401),
        ):
            headers = [("X-API-Key", credential)] if credential else []
            await wire.send(request("GET", f"{BASE}/patients/{uid}", headers))
            assert (await wire.reply()).status == status
    await wire.close()


async def test_http_1_0(live: Live, key: str) -> None:
    wire = await Wire.open(live.url)
    await wire.send(f"GET {OK} HTTP/1.0\r\nX-API-Key: {key}\r\n\r\n".encode())
    reply = await wire.reply()
    assert (reply.status, reply.body) == (200, b'{"status":"ok"}')
    assert await wire.is_closed(10)
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


async def test_more_connections_than_are_served_at_once(live: Live, key: str) -> None:
    """1,200 open connections, each with a request: all are answered, none is dropped."""
    number = 1200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < number + 200:
        pytest.skip(f"only {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, number + 200)), hard))
    began = time.monotonic()
    try:
        idle = [await Wire.open(live.url) for _ in range(number)]
        try:
            await asyncio.gather(*(wire.send(request("GET", "/livez")) for wire in idle))
            replies = await asyncio.gather(*(wire.reply(seconds=20) for wire in idle))
            assert {reply.status for reply in replies} == {200}
            # They stay open, and a newcomer is served at once.
            assert (await ask(live.url, request("GET", OK, [("X-API-Key", key)]))).status == 200
            assert time.monotonic() - began < 8, (
                "the first ones were closed for their idleness before the last came"
            )
        finally:
            await asyncio.gather(*(wire.close() for wire in idle))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_more_unfinished_bodies_than_are_served_at_once(hasty: Live, key: str) -> None:
    """1,100 requests that wait for their bodies: they end by the deadline, and service goes on meanwhile."""
    number = 1100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < number + 200:
        pytest.skip(f"only {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, number + 200)), hard))
    try:
        wires = [await Wire.open(hasty.url) for _ in range(number)]
        try:
            head = request("POST", BASE + REGISTER, [("X-API-Key", key), ("Content-Length", "100")])
            await asyncio.gather(*(wire.send(head) for wire in wires))
            reply = await ask(hasty.url, request("GET", "/livez"), seconds=10)
            assert reply.status == 200
        finally:
            await asyncio.gather(*(wire.close() for wire in wires))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
