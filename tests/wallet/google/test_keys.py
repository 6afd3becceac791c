"""Google's keys: kept as long as Google says, fetched by one for all, and no storm when Google is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from aiohttp import web
from tests.wallet.cards import NOW

from rxdesk.kit.addresses import AllowList
from rxdesk.kit.egress import Egress
from rxdesk.wallet.emulator.callbacks import CallbackSigner
from rxdesk.wallet.google.callbacks import verify_callback
from rxdesk.wallet.google.keys import KeysUnavailable, RootKeys

ISSUER = "3388000000022000000"


@dataclass
class Publisher:
    url: str = ""
    now: datetime = NOW
    status: int = 200
    cache_control: str | None = None
    body: bytes = b""
    asked: int = 0
    signer: CallbackSigner = field(default_factory=lambda: CallbackSigner(NOW))

    def keys(self) -> RootKeys:
        return RootKeys(Egress(AllowList.parse("http+127.0.0.1/32:*")), lambda: self.now, self.url)

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        headers = {} if self.cache_control is None else {"Cache-Control": self.cache_control}
        return web.Response(status=self.status, body=self.body, headers=headers)


@pytest.fixture
async def google() -> AsyncIterator[Publisher]:
    made = Publisher()
    made.body = json.dumps(made.signer.published()).encode()
    app = web.Application()
    app.router.add_get("/keys", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    yield made
    await runner.cleanup()


async def test_they_verify_a_callback_and_are_asked_for_once(google: Publisher) -> None:
    keys = google.keys()
    found = await asyncio.gather(*(keys.current() for _ in range(20)))
    body = google.signer.callback("save", "c", "o", ISSUER, NOW)
    assert verify_callback(body, ISSUER, found[0], NOW).event_type == "save"
    assert google.asked == 1


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        (None, 3600),
        ("public, max-age=300", 300),
        ("max-age=5", 60),
        ("max-age=999999999, public", 86_400),
        ("s-maxage=10, no-transform", 3600),
        ("max-age=x", 3600),
    ],
)
async def test_they_are_kept_as_long_as_google_says(
    google: Publisher, cache_control: str | None, seconds: int
) -> None:
    google.cache_control = cache_control
    keys = google.keys()
    await keys.current()
    google.now = NOW + timedelta(seconds=seconds - 1)
    await keys.current()
    assert google.asked == 1
    google.now = NOW + timedelta(seconds=seconds)
    await keys.current()
    assert google.asked == 2


async def test_what_is_at_hand_serves_on_when_google_is_away(google: Publisher) -> None:
    keys = google.keys()
    first = await keys.current()
    google.status = 503
    google.now = NOW + timedelta(hours=2)
    for _ in range(5):
        assert await keys.current() == first
    assert google.asked == 2  # not once for each who asks
    google.status, google.now = 200, google.now + timedelta(minutes=1)
    await keys.current()
    assert google.asked == 3


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (503, b"", "503"),
        (200, b"<html>", "cannot be read"),
        (200, b'{"keys":[{"keyValue":"x","protocolVersion":"ECv1"}]}', "none of the protocol"),
    ],
)
async def test_none_at_all(google: Publisher, status: int, body: bytes, said: str) -> None:
    google.status, google.body = status, body
    keys = google.keys()
    for _ in range(3):
        with pytest.raises(KeysUnavailable, match=said):
            await keys.current()
    assert google.asked == 1
