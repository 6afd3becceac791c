"""HTTP/2 as a client, against servers on loopback that are kind, slow, leaving or hostile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvloop
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from tests.kit.http2_server import Peer, serving
from tests.webhooks.engine import eventually

from rxdesk.kit.addresses import AllowList
from rxdesk.kit.clock import utc_now
from rxdesk.kit.egress import Egress
from rxdesk.kit.goaway import GoAwayFilter
from rxdesk.kit.http2 import Http2Answer, Http2Client, client_tls
from rxdesk.kit.targets import TargetForbidden
from rxdesk.wallet.apple.trial import TrialFiles, create_chain

LOOPBACK = AllowList.parse("127.0.0.1/32:*")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TrialFiles:
    return create_chain(tmp_path_factory.mktemp("http2"), "pass.x", "T", utc_now().replace(microsecond=0))


@contextlib.asynccontextmanager
async def client(
    files: TrialFiles, port: int, *, allow: AllowList = LOOPBACK, trusting: bool = True, silence: float = 5.0
) -> AsyncIterator[Http2Client]:
    tls = client_tls(files.root if trusting else None, files.pass_certificate, files.pass_key, "")
    made = Http2Client(Egress(allow), f"https://127.0.0.1:{port}", tls, silence=silence)
    try:
        yield made
    finally:
        await made.close()


async def ask(http: Http2Client, body: bytes = b"", total: float = 10.0) -> Http2Answer:
    return await http.request("POST", "/x", {"name": "value"}, body, total=total)


def echo(peer: Peer, stream_id: int, headers: dict[str, str], body: bytes) -> None:
    peer.answer(stream_id, 200, body + headers[":path"].encode(), etag=headers["name"])


async def test_a_request_and_its_answer(files: TrialFiles) -> None:
    async with serving(files, echo) as (port, peers), client(files, port) as http:
        answer = await ask(http, b"body")
        assert answer == Http2Answer(200, None, {"etag": "value"}, b"body/x")
        [peer] = peers
        [(headers, _)] = peer.requests.values()
        assert headers == {
            ":method": "POST",
            ":scheme": "https",
            ":authority": f"127.0.0.1:{port}",
            ":path": "/x",
            "name": "value",
        }


async def test_many_share_one_connection_and_never_more_than_the_server_allows(files: TrialFiles) -> None:
    limits: dict[SettingCodes, int] = {SettingCodes.MAX_CONCURRENT_STREAMS: 7}
    async with serving(files, echo, limits) as (port, peers), client(files, port) as http:
        answers = await asyncio.gather(*(ask(http, str(number).encode()) for number in range(500)))
        assert [answer.body for answer in answers] == [f"{number}/x".encode() for number in range(500)]
        [peer] = peers
        assert peer.most_open <= 7
        assert http.connections == 1


async def test_a_body_beyond_the_window_waits_for_the_server(files: TrialFiles) -> None:
    seen: list[int] = []

    def act(peer: Peer, stream_id: int, _: dict[str, str], body: bytes) -> None:
        seen.append(len(body))
        peer.answer(stream_id)

    limits: dict[SettingCodes, int] = {SettingCodes.INITIAL_WINDOW_SIZE: 1000}
    async with serving(files, act, limits) as (port, _), client(files, port) as http:
        answers = await asyncio.gather(*(ask(http, b"x" * 70_000) for _ in range(3)))
        assert [answer.status for answer in answers] == [200] * 3
        assert seen == [70_000] * 3


async def test_after_a_goodbye_the_old_are_answered_and_the_new_go_elsewhere(files: TrialFiles) -> None:
    waiting: list[int] = []

    def act(peer: Peer, stream_id: int, headers: dict[str, str], _: bytes) -> None:
        if len(http_peers) > 1:
            peer.answer(stream_id, 200, b"second")
            return
        waiting.append(stream_id)
        if len(waiting) == 4:
            peer.say_goodbye(waiting[1])
            for old in waiting[:2]:
                peer.answer(old, 200, b"first")

    async with serving(files, act) as (port, http_peers), client(files, port) as http:
        answers = await asyncio.gather(*(ask(http) for _ in range(4)))
        assert [answer.body for answer in answers] == [b"first", b"first", b"second", b"second"]
        await asyncio.wait_for(http_peers[0].lost.wait(), 10)
        assert http.connections == 2


async def test_a_refused_stream_is_sent_again_and_a_cancelled_one_is_not(files: TrialFiles) -> None:
    codes = [ErrorCodes.REFUSED_STREAM, ErrorCodes.REFUSED_STREAM, None, ErrorCodes.CANCEL]

    def act(peer: Peer, stream_id: int, _: dict[str, str], __: bytes) -> None:
        code = codes.pop(0)
        if code is None:
            peer.answer(stream_id)
        else:
            peer.h2.reset_stream(stream_id, code)

    async with serving(files, act) as (port, _), client(files, port) as http:
        assert (await ask(http)).status == 200
        assert await ask(http) == Http2Answer(error="connect")
        assert codes == []


async def test_a_server_that_never_takes_anything_is_left_after_three(files: TrialFiles) -> None:
    def act(peer: Peer, _: int, __: dict[str, str], ___: bytes) -> None:
        peer.say_goodbye(0)

    async with serving(files, act) as (port, peers), client(files, port) as http:
        assert await ask(http) == Http2Answer(error="connect")
        assert len(peers) == 3


async def test_a_connection_that_breaks_ends_what_is_under_way_and_the_next_gets_another(
    files: TrialFiles,
) -> None:
    def act(peer: Peer, stream_id: int, _: dict[str, str], body: bytes) -> None:
        if body == b"break":
            peer.transport.abort()
        elif body == b"go":
            peer.answer(stream_id)

    async with serving(files, act) as (port, _), client(files, port) as http:
        answers = await asyncio.gather(*(ask(http, body) for body in (b"", b"", b"break")))
        assert answers == [Http2Answer(error="connect")] * 3
        assert (await ask(http, b"go")).status == 200


async def test_silence_is_a_timeout_and_the_connection_is_left_unless_it_shows_life(
    files: TrialFiles,
) -> None:
    def act(peer: Peer, stream_id: int, _: dict[str, str], body: bytes) -> None:
        if len(peers) > 1 or body:
            peer.answer(stream_id)
        else:
            peer.transport.pause_reading()

    async with serving(files, act) as (port, peers), client(files, port, silence=0.2) as http:
        assert (await ask(http, b"connected")).status == 200
        assert await ask(http, total=0.2) == Http2Answer(error="timeout")
        assert await ask(http) == Http2Answer(error="connect")
        assert (await ask(http)).status == 200
        assert len(peers) == 2


async def test_requests_that_are_late_together_end_no_other(files: TrialFiles) -> None:
    patient: list[tuple[Peer, int]] = []

    def act(peer: Peer, stream_id: int, _: dict[str, str], body: bytes) -> None:
        if body == b"wait":
            patient.append((peer, stream_id))
        elif body:
            peer.answer(stream_id)

    async with serving(files, act) as (port, peers), client(files, port) as http:
        assert (await ask(http, b"connected")).status == 200
        waiting = asyncio.create_task(ask(http, b"wait", total=30.0))
        late = await asyncio.gather(*(ask(http, total=0.2) for _ in range(3)))
        assert late == [Http2Answer(error="timeout")] * 3
        await eventually(lambda: patient)
        [(peer, stream_id)] = patient
        peer.answer(stream_id)
        assert (await waiting).status == 200
        assert len(peers) == 1


async def test_a_slow_answer_does_not_end_a_connection_that_lives(files: TrialFiles) -> None:
    def act(peer: Peer, stream_id: int, _: dict[str, str], body: bytes) -> None:
        if body:
            peer.answer(stream_id)

    async with serving(files, act) as (port, peers), client(files, port) as http:
        assert (await ask(http, b"connected")).status == 200
        for _ in range(4):
            assert await ask(http, total=0.1) == Http2Answer(error="timeout")
            assert (await ask(http, b"go")).status == 200
        assert len(peers) == 1


async def test_an_endless_answer_is_too_large(files: TrialFiles) -> None:
    def act(peer: Peer, stream_id: int, _: dict[str, str], body: bytes) -> None:
        if body:
            peer.answer(stream_id)
            return
        peer.h2.send_headers(stream_id, [(":status", "200")])
        for _piece in range(4):
            peer.h2.send_data(stream_id, b"x" * 16_000)
        peer.flush()
        asyncio.get_running_loop().call_later(0.05, more, peer, stream_id)

    def more(peer: Peer, stream_id: int) -> None:
        peer.h2.send_data(stream_id, b"x" * 5_000)
        peer.flush()

    async with serving(files, act) as (port, peers), client(files, port) as http:
        assert await ask(http) == Http2Answer(error="too_large")
        assert (await ask(http, b"go")).status == 200
        assert len(peers) == 1


class Rubbish(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)


async def test_who_speaks_no_http2_is_no_server(files: TrialFiles) -> None:
    async with serving(files, echo, factory=Rubbish) as (port, _), client(files, port) as http:
        assert (await ask(http)).error == "connect"
    async with serving(files, echo, protocols=("http/1.1",)) as (port, _), client(files, port) as http:
        assert (await ask(http)).error == "connect"


async def test_an_unknown_authority_is_a_tls_fault(files: TrialFiles) -> None:
    async with serving(files, echo) as (port, _), client(files, port, trusting=False) as http:
        assert await ask(http) == Http2Answer(error="tls")


async def test_nobody_there(files: TrialFiles) -> None:
    async with serving(files, echo) as (port, _):
        pass
    async with client(files, port) as http:
        answers = await asyncio.gather(*(ask(http) for _ in range(5)))
        assert answers == [Http2Answer(error="connect")] * 5


async def test_the_policy_judges_the_address(files: TrialFiles) -> None:
    async with serving(files, echo) as (port, peers), client(files, port, allow=AllowList.parse("")) as http:
        with pytest.raises(TargetForbidden):
            await ask(http)
        assert peers == []


async def test_closing_ends_what_is_under_way(files: TrialFiles) -> None:
    asked = asyncio.Event()

    def act(_: Peer, __: int, ___: dict[str, str], ____: bytes) -> None:
        asked.set()

    async with serving(files, act) as (port, _), client(files, port) as http:
        waiting = asyncio.create_task(ask(http))
        await asked.wait()
        await http.close()
        assert await waiting == Http2Answer(error="connect")


def test_a_goodbye_is_found_in_any_pieces() -> None:
    before = b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x01"
    goodbye = b"\x00\x00\x0a\x07\x00\x00\x00\x00\x00\x80\x00\x00\x05\x00\x00\x00\x02hi"
    for size in range(1, len(before + goodbye + before)):
        found, rest = [], b""
        pieces = GoAwayFilter()
        data = before + goodbye + before
        for start in range(0, len(data), size):
            kept, said = pieces.take(data[start : start + size])
            rest += kept
            found += [said] if said is not None else []
        assert rest == before + before
        [one] = found
        assert (one.last_stream_id, one.error_code, one.debug) == (5, 2, b"hi")


def test_it_works_on_the_event_loop_of_production(files: TrialFiles) -> None:
    async def once() -> Http2Answer:
        async with serving(files, echo) as (port, _), client(files, port) as http:
            return await ask(http, b"body")

    assert uvloop.run(once()).body == b"body/x"
