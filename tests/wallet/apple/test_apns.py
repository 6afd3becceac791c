"""Pushes to the emulator's push service: every documented reason, and what a network and a server may do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from tests.wallet.cards import PASS_TYPE, TEAM

from rxdesk.kit.addresses import AllowList
from rxdesk.kit.clock import utc_now
from rxdesk.kit.egress import Egress
from rxdesk.kit.http2 import Http2Answer, Http2Client
from rxdesk.wallet.apple.apns import ApnsClient, Pushed, Verdict, apns_tls, judge
from rxdesk.wallet.apple.certificates import CertificateError
from rxdesk.wallet.apple.trial import TrialFiles, create_chain
from rxdesk.wallet.emulator.apns import STATUS, Devices, Refusal
from rxdesk.wallet.emulator.apns_server import ApnsServer, Trouble, server_tls

TOKEN = "0a" * 32
LOOPBACK = AllowList.parse("127.0.0.1/32:*")
NOW = utc_now().replace(microsecond=0)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> TrialFiles:
    return create_chain(tmp_path_factory.mktemp("live"), PASS_TYPE, TEAM, NOW - timedelta(days=1))


@contextlib.asynccontextmanager
async def service(
    files: TrialFiles, trouble: Callable[[int], Trouble | None] | None = None
) -> AsyncIterator[tuple[ApnsServer, str]]:
    server = ApnsServer(Devices(lambda: NOW), server_tls(files), trouble)
    port = await server.start()
    try:
        yield server, f"https://127.0.0.1:{port}"
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def pushing(
    url: str, files: TrialFiles, authority: Path, topic: str = PASS_TYPE
) -> AsyncIterator[ApnsClient]:
    tls = apns_tls(files.pass_certificate, files.pass_key, "", authority)
    client = ApnsClient(Egress(LOOPBACK), url, tls, topic, lambda: NOW)
    try:
        yield client
    finally:
        await client.close()


async def test_a_push_reaches_its_device_with_the_topic_and_nothing_else(live: TrialFiles) -> None:
    pushed: list[str] = []
    async with service(live) as (server, url), pushing(url, live, live.root) as client:
        server.devices.know(TOKEN, pushed.append)
        assert await client.push(TOKEN) == Pushed("sent", 200, None)
    assert pushed == [PASS_TYPE]


async def test_a_device_that_is_gone_is_told_with_its_time(live: TrialFiles) -> None:
    async with service(live) as (server, url), pushing(url, live, live.root) as client:
        server.devices.know(TOKEN, lambda _: None)
        server.devices.forget(TOKEN)
        gone = await client.push(TOKEN)
        assert gone == Pushed("gone", 410, "Unregistered", int(NOW.timestamp() * 1000))
        server.devices.know(TOKEN, lambda _: None)
        assert (await client.push(TOKEN)).verdict == "sent"


VERDICTS: dict[int, Verdict] = {
    400: "refused",
    403: "refused",
    404: "refused",
    405: "refused",
    410: "gone",
    413: "refused",
    429: "retry",
    500: "retry",
    503: "retry",
}
EXCEPTIONS: dict[str, Verdict] = {"BadCertificate": "retry", "BadCertificateEnvironment": "retry"}


async def test_every_documented_reason_is_judged(live: TrialFiles) -> None:
    reasons = sorted(STATUS)
    async with (
        service(live, lambda number: Refusal(reasons[number - 1])) as (server, url),
        pushing(url, live, live.root) as client,
    ):
        for reason in reasons:
            status = STATUS[reason]
            expected = EXCEPTIONS.get(reason, VERDICTS[status])
            assert await client.push(TOKEN) == Pushed(expected, status, reason)
        assert server.connections == 1


async def test_a_token_that_is_none_never_leaves(live: TrialFiles) -> None:
    async with service(live) as (server, url), pushing(url, live, live.root) as client:
        for token in ("", "../x", "0a?b", "ä", "0a" * 200):
            assert await client.push(token) == Pushed("refused", None, "BadDeviceToken")
        assert server.requests == 0


async def test_a_thousand_share_a_connection(live: TrialFiles) -> None:
    pushed: list[str] = []
    async with service(live) as (server, url), pushing(url, live, live.root) as client:
        server.devices.know(TOKEN, pushed.append)
        results = await asyncio.gather(*(client.push(TOKEN) for _ in range(1000)))
        assert {result.verdict for result in results} == {"sent"}
        assert len(pushed) == 1000
        assert server.connections == 1


async def test_a_goodbye_in_the_middle_loses_and_doubles_nothing(live: TrialFiles) -> None:
    pushed: list[str] = []

    def leaving(number: int) -> Trouble | None:
        return "goaway" if number in (100, 250) else None

    async with service(live, leaving) as (server, url), pushing(url, live, live.root) as client:
        server.devices.know(TOKEN, pushed.append)
        results = await asyncio.gather(*(client.push(TOKEN) for _ in range(500)))
        assert {result.verdict for result in results} == {"sent"}
        assert len(pushed) == 500
        assert server.connections == 3


async def test_a_reset_is_tried_again_later(live: TrialFiles) -> None:
    def resetting(number: int) -> Trouble | None:
        return "reset" if number == 1 else None

    async with service(live, resetting) as (server, url), pushing(url, live, live.root) as client:
        server.devices.know(TOKEN, lambda _: None)
        assert await client.push(TOKEN) == Pushed("retry", None, "connect")
        assert await client.push(TOKEN) == Pushed("sent", 200, None)


async def test_a_certificate_that_expired_or_is_foreign_is_a_tls_fault(
    live: TrialFiles, tmp_path: Path
) -> None:
    old = create_chain(tmp_path / "old", PASS_TYPE, TEAM, NOW - timedelta(days=2), timedelta(days=1))
    foreign = create_chain(tmp_path / "foreign", PASS_TYPE, TEAM, NOW)
    async with service(live) as (server, url):
        for files in (old, foreign):
            async with pushing(url, files, live.root) as client:
                assert await client.push(TOKEN) == Pushed("retry", None, "tls")
        assert server.requests == 0


async def test_another_topic_is_not_allowed(live: TrialFiles) -> None:
    async with service(live) as (_, url), pushing(url, live, live.root, "pass.other") as client:
        assert await client.push(TOKEN) == Pushed("refused", 400, "TopicDisallowed")


@pytest.mark.parametrize("password", ["", "geheim"])
async def test_files_as_apple_gives_them_push(live: TrialFiles, tmp_path: Path, password: str) -> None:
    """The certificate and its key in DER; what OpenSSL needs of them instead is there for a moment only."""
    certificate, key = tmp_path / "pass.cer", tmp_path / "pass.key"
    certificate.write_bytes(
        x509.load_pem_x509_certificate(live.pass_certificate.read_bytes()).public_bytes(Encoding.DER)
    )
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    key.write_bytes(
        load_pem_private_key(live.pass_key.read_bytes(), None).private_bytes(
            Encoding.DER, PrivateFormat.PKCS8, encryption
        )
    )
    folder = tmp_path / "temporary"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        tls = apns_tls(certificate, key, password, live.root)
    assert list(folder.iterdir()) == []
    async with service(live) as (server, url):
        server.devices.know(TOKEN, lambda _: None)
        client = ApnsClient(Egress(LOOPBACK), url, tls, PASS_TYPE, lambda: NOW)
        assert (await client.push(TOKEN)).verdict == "sent"
        await client.close()


def test_files_that_pushes_cannot_be_made_with_are_told(live: TrialFiles, tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="cannot be used for pushes"):
        apns_tls(live.pass_certificate, live.server_key, "", None)
    with pytest.raises(CertificateError, match="No such file"):
        apns_tls(tmp_path / "none", live.pass_key, "", None)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"nonsense", b'{"reason":5}', b'{"reason":"a b"}', b"[" * 100_000, b"\xff"]
)
def test_a_reason_that_is_none_is_none(body: bytes) -> None:
    assert judge(Http2Answer(status=400, body=body)) == Pushed("refused", 400, None)


# --- what the emulator refuses, asked by a client that does not keep to Apple's rules
@pytest.mark.parametrize(
    ("change", "body", "reason"),
    [
        ({":method": "GET"}, b"{}", "MethodNotAllowed"),
        ({":path": "/3/devices/aa"}, b"{}", "BadPath"),
        ({":path": "/3/device/"}, b"{}", "MissingDeviceToken"),
        ({":path": "/3/device/" + "zz" * 32}, b"{}", "BadDeviceToken"),
        ({":path": "/3/device/" + "bb" * 32}, b"{}", "BadDeviceToken"),
        ({"apns-id": "1"}, b"{}", "BadMessageId"),
        ({"apns-priority": "7"}, b"{}", "BadPriority"),
        ({"apns-expiration": "soon"}, b"{}", "BadExpirationDate"),
        ({"apns-collapse-id": "x" * 65}, b"{}", "BadCollapseId"),
        ({"apns-push-type": "shout"}, b"{}", "InvalidPushType"),
        ({}, b"", "PayloadEmpty"),
        ({}, b"x" * 4097, "PayloadTooLarge"),
    ],
)
async def test_the_emulator_refuses_what_apple_refuses(
    live: TrialFiles, change: Mapping[str, str], body: bytes, reason: str
) -> None:
    tls = apns_tls(live.pass_certificate, live.pass_key, "", live.root)
    async with service(live) as (server, url):
        server.devices.know(TOKEN, lambda _: None)
        client = Http2Client(Egress(LOOPBACK), url, tls)
        headers = {name: value for name, value in change.items() if not name.startswith(":")}
        method, path = change.get(":method", "POST"), change.get(":path", f"/3/device/{TOKEN}")
        try:
            answer = await client.request(method, path, headers, body)
        finally:
            await client.close()
    assert answer.status == STATUS[reason]
    assert answer.body.decode() == f'{{"reason": "{reason}"}}'
    assert answer.headers["apns-id"]


async def test_nothing_of_a_push_is_logged(live: TrialFiles, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with service(live) as (server, url), pushing(url, live, live.root) as client:
            server.devices.know(TOKEN, lambda _: None)
            assert (await client.push(TOKEN)).verdict == "sent"
    assert TOKEN not in caplog.text
