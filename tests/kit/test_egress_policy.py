"""Which addresses a request may go to, however they are written, and the names that lead to them."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

import pytest
from tests.kit.receivers import BODY, LOOPBACK, accepted, names
from tests.webhooks.engine import eventually

from rxdesk.kit.addresses import Address, AllowList
from rxdesk.kit.egress import Egress, connect_tcp, system_resolver
from rxdesk.kit.targets import TargetForbidden, TargetInvalid, TargetRefused, judge_target

# --- the policy
# Escapes are look-alikes: full-width and circled digits and letters, other full stops.
FORBIDDEN_TEXT = """
127.0.0.1 127.0.0.2 127.1 127.0.1 127.255.255.254 2130706433 017700000001 0x7f000001 0x7F000001 0x7f.1
0x7f.0.0.1 0177.0.0.1 0177.1 00177.0.0.1 127.0x1 127.0.0.0x1 127.0.0.01 0x7f.0x0.0x0.0x1 127.0.0.1. 127.1.
2130706434 127.16777215 \uff11\uff12\uff17.\uff10.\uff10.\uff11 127\u30020\u30020\u30021
\u2460\u2461\u2466.0.0.1 \uff10x7f.1 127\uff0e0\uff0e0\uff0e1 127\uff611 0.0.0.0 0 0x0 00 0.0 0.0.0.1 0x 0.1
10.0.0.1 10.1 167772161 012.0.0.1 0xa.1 0x0a000001 10.255.255.255 10.0.0.1. 172.16.0.1 172.31.255.255
0xac.0x10.1 2886729729 192.168.0.1 192.168.1 3232235521 0300.0250.0.1 192.168.65535 100.64.0.1
100.127.255.255 1681915905 100.100.100.200 0x646464c8 169.254.169.254 2852039166 0xa9fea9fe
0251.0376.0251.0376 169.254.43518 169.16689662 0xa9.254.0251.254 169.254.169.254.
169\u3002254\u3002169\u3002254 169.254.170.2 169.254.0.1 168.63.129.16 2822734096 192.0.0.192 192.0.0.1
192.0.2.1 198.51.100.7 203.0.113.9 198.18.0.1 198.19.255.255 192.88.99.1 224.0.0.1 239.255.255.250 240.0.0.1
255.255.255.255 4294967295 0xffffffff 192.31.196.1 192.52.193.1 192.175.48.1 localhost LOCALHOST LocalHost.
localhost. a.localhost a.b.localhost x.LOCALHOST. \u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3
\uff4cocalhost [::1] [0:0:0:0:0:0:0:1] [0000::0001] [::0.0.0.1] [::] [0::0] [::127.0.0.1] [::7f00:1]
[::a00:1] [::169.254.169.254] [::ffff:127.0.0.1] [::FFFF:7f00:1] [0:0:0:0:0:ffff:7f00:0001]
[::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [::ffff:10.0.0.1] [::ffff:8.8.8.8] [::ffff:0:127.0.0.1]
[64:ff9b::127.0.0.1] [64:ff9b::a9fe:a9fe] [64:ff9b::8.8.8.8] [64:ff9b:1::10.0.0.1] [64:ff9b:1:abcd::1]
[2002:7f00:1::] [2002:a9fe:a9fe::1] [2002:c0a8:101::] [2001::1] [2001:0:7f00:1::]
[2001:0:53aa:64c:0:7ffe:80ff:fffe] [2606:4700::5efe:127.0.0.1] [2606:4700::200:5efe:10.0.0.1] [fe80::1]
[fe80::5efe:10.0.0.1] [febf::1] [fc00::1] [fd00::1] [fd00:ec2::254] [fd20:ce::254] [fdff::1] [fec0::1]
[ff02::1] [ff0e::1] [2001:db8::1] [3fff::1] [2001:2::1] [2001:10::1] [2001:20::1] [100::1] [100:0:0:1::1]
[5f00::1] [2620:4f:8000::1] [3ffe::1] [4000::1] [fe00::1] [::2] [200::1] inner.test mixed.test
mixed-last.test mapped.test nat64.test metadata.test six.test scoped.test wildcard.test INNER.test.
\uff49nner.test
"""
FORBIDDEN_HOSTS = FORBIDDEN_TEXT.split()
FORBIDDEN_NAMES = names(
    inner_test="127.0.0.1",
    mixed_test=["127.0.0.1", "1.1.1.1"],
    mixed_last_test=["1.1.1.1", "8.8.8.8", "10.0.0.1"],
    mapped_test="::ffff:127.0.0.1",
    nat64_test="64:ff9b::7f00:1",
    metadata_test="169.254.169.254",
    six_test=["2606:4700::1", "::1"],
    scoped_test="fe80::1%1",
    wildcard_test="0.0.0.0",  # noqa: S104 - judged, not bound to
)


async def test_no_forbidden_target_gets_a_connection(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    connected: list[str] = []

    async def connect(address: Address, _port: int) -> socket.socket:
        # Wherever a request wants to go, its connection would be seen here.
        connected.append(str(address))
        return await connect_tcp(ipaddress.IPv4Address("127.0.0.1"), port)

    real = Egress(AllowList(), resolver=FORBIDDEN_NAMES)
    seen = Egress(AllowList(), resolver=FORBIDDEN_NAMES, connect=connect)
    assert len(set(FORBIDDEN_HOSTS)) == len(FORBIDDEN_HOSTS) >= 140
    for host in FORBIDDEN_HOSTS:
        url = f"https://{host}:{port}/"
        for attempt in (
            real.post(url, BODY, {}),
            seen.post(url, BODY, {}),
            judge_target(url, AllowList(), FORBIDDEN_NAMES),
        ):
            with pytest.raises(TargetForbidden):
                await attempt
        with pytest.raises(TargetInvalid):
            await real.post(f"http://{host}:{port}/", BODY, {})
    assert connected == []
    assert accepted(listener) == 0


async def test_the_listener_would_have_seen_a_connection(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert (
        await Egress(LOOPBACK).post(f"https://127.0.0.1:{port}/", BODY, {}, total=0.05)
    ).error == "timeout"
    assert accepted(listener) == 1


async def test_an_opened_port_opens_no_other(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    egress = Egress(AllowList.parse(f"http+127.0.0.1/32:{port - 1}"), resolver=FORBIDDEN_NAMES)
    for url in (f"https://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/", f"https://inner.test:{port}/"):
        with pytest.raises(TargetForbidden):
            await egress.post(url, BODY, {})
    assert accepted(listener) == 0


async def test_rebinding_loses(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    answers = iter([["1.1.1.1"], ["127.0.0.1"]])

    async def rebinding(_name: str, _port: int) -> Sequence[str]:
        return next(answers)

    await judge_target(f"https://rebinding.test:{port}/", AllowList(), rebinding)
    with pytest.raises(TargetForbidden) as refused:
        await Egress(AllowList(), resolver=rebinding).post(f"https://rebinding.test:{port}/", BODY, {})
    assert refused.value.reason == "loopback"
    assert accepted(listener) == 0


async def test_a_name_is_resolved_once_and_connected_to_as_judged() -> None:
    asked: list[str] = []
    connected: list[str] = []

    async def rebinding(name: str, _port: int) -> Sequence[str]:
        asked.append(name)
        return ["1.1.1.1"] if len(asked) == 1 else ["127.0.0.1"]

    async def connect(address: Address, _port: int) -> socket.socket:
        connected.append(str(address))
        raise ConnectionRefusedError

    egress = Egress(AllowList(), resolver=rebinding, connect=connect)
    assert (await egress.post("https://rebinding.test/", BODY, {})).error == "connect"
    assert (asked, connected) == (["rebinding.test"], ["1.1.1.1"])


async def test_the_peer_is_judged_again_before_a_byte_is_sent() -> None:
    received = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def elsewhere(_address: Address, _port: int) -> socket.socket:
        return await connect_tcp(ipaddress.IPv4Address("127.0.0.1"), port)

    egress = Egress(AllowList(), resolver=names(public_test="1.1.1.1"), connect=elsewhere)
    with pytest.raises(TargetForbidden) as refused:
        await egress.post("https://public.test/", BODY, {})
    assert refused.value.reason == "loopback"
    assert await received == b""
    server.close()


async def test_a_refusal_holds_nothing_of_the_url() -> None:
    for url in ("https://127.0.0.1/SECRET", "https://inner.test/SECRET", "https://u:SECRET@a.test/"):
        with pytest.raises(TargetRefused) as refused:
            await Egress(AllowList(), resolver=FORBIDDEN_NAMES).post(url, BODY, {})
        assert "SECRET" not in repr(refused.value)
        assert "inner" not in repr(refused.value)


# --- the system's resolver
async def test_the_systems_resolver_knows_localhost() -> None:
    assert set(await system_resolver()("localhost", 443)) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("name", ["unknown.invalid", "a" * 64 + ".invalid", ""])
async def test_the_systems_resolver_says_when_there_is_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(OSError, match="resolve"):
        await system_resolver()(name, 443)


async def test_slow_look_ups_are_limited_and_can_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    going: list[str] = []
    loop = asyncio.get_running_loop()
    release = asyncio.Event()

    def slow(name: str, *_: object, **__: object) -> list[object]:
        going.append(name)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(timeout=60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    resolve = system_resolver(slots=2)
    for name in ("a.test", "b.test", "c.test"):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(resolve(name, 443), 0.02)
    await eventually(lambda: len(going) >= 2)  # threads begin in their own time
    assert going == ["a.test", "b.test"]  # the third found no slot
    release.set()
    assert await resolve("d.test", 443) == ["1.1.1.1"]
