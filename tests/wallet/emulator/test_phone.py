"""The simulated iPhone, with a web service and the emulator's push service: from a change to the lock screen."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from tests.wallet.cards import PASS_TYPE, TEAM
from tests.wallet.emulator.passkit import Service, passkit

from rxdesk.kit.addresses import AllowList
from rxdesk.kit.clock import utc_now
from rxdesk.kit.egress import Egress
from rxdesk.wallet.apple.apns import ApnsClient, apns_tls
from rxdesk.wallet.apple.certificates import PassSigner, load_signer
from rxdesk.wallet.apple.trial import TrialFiles, create_chain
from rxdesk.wallet.emulator.apns import Devices
from rxdesk.wallet.emulator.apns_server import ApnsServer, server_tls
from rxdesk.wallet.emulator.phone import Phone
from rxdesk.wallet.png import MAX_BYTES_TOGETHER

LOOPBACK = AllowList.parse("http+127.0.0.1/32:*,127.0.0.1/32:*")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> TrialFiles:
    began = utc_now().replace(microsecond=0) - timedelta(days=1)
    return create_chain(tmp_path_factory.mktemp("live"), PASS_TYPE, TEAM, began)


@pytest.fixture(scope="module")
def live_signer(live: TrialFiles) -> PassSigner:
    return load_signer(live.pass_certificate, live.pass_key, live.intermediate)


@pytest.fixture
async def service(live_signer: PassSigner) -> AsyncIterator[Service]:
    async with passkit(live_signer) as made:
        yield made


def a_phone(live: TrialFiles, devices: Devices, seed: int = 1, language: str = "en") -> Phone:
    root = x509.load_pem_x509_certificate(live.root.read_bytes())
    return Phone(Egress(LOOPBACK), devices, root, random.Random(seed).randbytes, language)


@contextlib.asynccontextmanager
async def switched_on(*phones: Phone) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(phone.run()) for phone in phones]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_from_a_change_to_the_lock_screen(live: TrialFiles, service: Service) -> None:
    server = ApnsServer(Devices(utc_now), server_tls(live))
    port = await server.start()
    tls = apns_tls(live.pass_certificate, live.pass_key, "", live.root)
    client = ApnsClient(Egress(LOOPBACK), f"https://127.0.0.1:{port}", tls, PASS_TYPE, utc_now)
    phones = [a_phone(live, server.devices, seed) for seed in range(3)]
    try:
        async with switched_on(*phones):
            for phone in phones:
                assert await phone.add(service.file())
            service.say("Your order is on its way")
            results = [await client.push(token) for token in service.registered.values()]
            assert {result.verdict for result in results} == {"sent"}
            for phone in phones:
                await phone.settled()
                assert phone.screen == ["Your order is on its way"]
                assert phone.complaints == []
            # Pushed again, with nothing new: each one asks, is answered 204, and shows nothing.
            service.requests.clear()
            for token in service.registered.values():
                await client.push(token)
            for phone in phones:
                await phone.settled()
                assert len(phone.screen) == 1
            assert service.requests == ["GET devices 204"] * 3
            await phones[0].remove(service.card.serial)
            assert (await client.push(phones[0].push_token)).verdict == "gone"
    finally:
        await client.close()
        await server.stop()


async def test_a_newer_version_that_says_the_same_shows_nothing(live: TrialFiles, service: Service) -> None:
    phone = a_phone(live, Devices(utc_now))
    await phone.add(service.file())
    for text in ("A", "A", "B"):
        service.say(text)
        await phone.catch_up(PASS_TYPE)
    assert phone.screen == ["A", "B"]
    assert "GET passes 200" in service.requests


async def test_a_pass_with_all_images_that_a_template_may_have(live: TrialFiles, service: Service) -> None:
    images = {f"logo@{scale}x": b"x" * (MAX_BYTES_TOGETHER // 3) for scale in (1, 2, 3)}
    service.card = msgspec.structs.replace(service.card, images=images)
    phone = a_phone(live, Devices(utc_now))
    await phone.add(service.file())
    service.say("A")
    await phone.catch_up(PASS_TYPE)
    assert (phone.screen, phone.complaints) == (["A"], [])


async def test_what_it_has_is_not_sent_again(live: TrialFiles, service: Service) -> None:
    phone = a_phone(live, Devices(utc_now))
    await phone.add(service.file())
    service.say("A")
    await phone.catch_up(PASS_TYPE)
    phone._tags.clear()  # noqa: SLF001 - a phone that lost its tag asks for all it has
    await phone.catch_up(PASS_TYPE)
    assert service.requests[-2:] == ["GET devices 200", "GET passes 304"]


async def test_registering_twice_is_fine_and_without_the_token_it_is_not(
    live: TrialFiles, service: Service
) -> None:
    phone = a_phone(live, Devices(utc_now))
    assert await phone.add(service.file())
    assert await phone.add(service.file())
    assert service.requests == ["POST devices 201", "POST devices 200"]
    file = service.file()
    service.token = "u" * 32
    assert not await phone.add(file)
    assert phone.complaints == ["registration was answered 401"]


async def test_a_damaged_newer_pass_is_reported_and_asked_for_again(
    live: TrialFiles, service: Service
) -> None:
    phone = a_phone(live, Devices(utc_now))
    await phone.add(service.file())
    service.say("A")
    service.broken = lambda file: file.replace(b"Ada", b"Eve")
    await phone.catch_up(PASS_TYPE)
    assert phone.screen == []
    assert service.logs == phone.complaints
    assert "refused" in service.logs[0]
    service.broken = bytes
    await phone.catch_up(PASS_TYPE)
    assert phone.screen == ["A"]


@pytest.mark.parametrize(
    "listed",
    [b"", b"nonsense", b"[]", b"{}", b'{"serialNumbers":"x","lastUpdated":"1"}', b"\xff", b"[" * 9000],
)
async def test_a_list_that_cannot_be_read_is_reported_and_asked_for_again(
    live: TrialFiles, service: Service, listed: bytes
) -> None:
    """Whoever tries a web service of their own is told, and the phone goes on."""
    phone = a_phone(live, Devices(utc_now))
    await phone.add(service.file())
    service.say("A")
    service.listed = listed
    await phone.catch_up(PASS_TYPE)
    assert phone.complaints == service.logs == ["the list of newer passes cannot be read"]
    service.listed = None
    await phone.catch_up(PASS_TYPE)
    assert phone.screen == ["A"]


async def test_a_pass_of_a_stranger_is_refused(live: TrialFiles, service: Service, tmp_path: Path) -> None:
    other = create_chain(tmp_path, PASS_TYPE, TEAM, utc_now().replace(microsecond=0))
    phone = a_phone(other, Devices(utc_now))
    assert not await phone.add(service.file())
    assert phone.passes == {}
    assert service.requests == []
