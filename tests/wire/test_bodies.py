"""The wire: bodies of ambiguous length, broken, slow, endless or refused early. Nothing is smuggled in them."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from tests.conftest import Live
from tests.wire.raw import BASE, Closed, Reply, Wire, ask, post, request
from tests.wire.sending import REGISTER, refused


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


class TestSlowBodies:
    """Bodies that never end are answered 408 within the deadline, and others are served meanwhile."""

    @staticmethod
    async def _replies(
        hasty: Live, key: str, headers: list[tuple[str, str]], drip: bytes | None
    ) -> list[Reply]:
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
        try:
            for _ in range(10):
                assert (await ask(hasty.url, request("GET", "/livez"))).status == 200
            replies = await asyncio.gather(*(wire.reply() for wire in wires))
            feeding.cancel()
            for wire in wires:
                assert await wire.is_closed(10), "what follows would be read as a request"
        finally:
            feeding.cancel()
            for wire in wires:
                await wire.close()
        return replies

    async def _judge(self, hasty: Live, key: str, headers: list[tuple[str, str]], drip: bytes | None) -> None:
        replies: list[Reply] = []
        for _ in range(10):
            began = time.monotonic()
            replies = await self._replies(hasty, key, headers, drip)
            # Again where the machine stood still over the body's deadline and the request's, half a second later.
            if time.monotonic() - began < hasty.settings.request_timeout_seconds:
                break
        assert {reply.status for reply in replies} == {408}
        assert json.loads(replies[0].body) == {"error": "The body did not arrive in time"}
        assert replies[0].value("ratelimit")

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
