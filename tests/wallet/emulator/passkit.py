"""The web service of passes as Apple describes it, for one pass, kept by a test."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import msgspec
from aiohttp import web
from tests.wallet.cards import NOW, PASS_TYPE, PATIENT

from rxdesk.kit.clock import utc_now
from rxdesk.wallet.apple.certificates import PassSigner
from rxdesk.wallet.apple.package import MEDIA_TYPE, build_pass
from rxdesk.wallet.card import Card, WebService


@dataclass
class Service:
    signer: PassSigner
    card: Card = PATIENT
    tag: int = 1
    url: str = ""
    token: str = "t" * 32
    registered: dict[str, str] = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    broken: Callable[[bytes], bytes] = bytes
    listed: bytes | None = None  # in the place of the list of newer passes

    def file(self) -> bytes:
        web_service = WebService(url=self.url, token=self.token)
        return build_pass(msgspec.structs.replace(self.card, web_service=web_service), self.signer, utc_now())

    def say(self, text: str, key: str = "news") -> None:
        [news] = [one for one in self.card.back if one.key == key]
        changed = msgspec.structs.replace(news, value=msgspec.structs.replace(news.value, default=text))
        self.card = msgspec.structs.replace(self.card, back=(changed,))
        self.tag += 1

    def trusts(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"ApplePass {self.token}"

    async def register(self, request: web.Request) -> web.Response:
        if not self.trusts(request):
            return web.Response(status=401)
        device = request.match_info["device"]
        status = 200 if device in self.registered else 201
        self.registered[device] = (await request.json())["pushToken"]
        return web.Response(status=status)

    async def unregister(self, request: web.Request) -> web.Response:
        if not self.trusts(request):
            return web.Response(status=401)
        self.registered.pop(request.match_info["device"], None)
        return web.Response()

    async def serials(self, request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers
        if self.listed is not None:
            return web.Response(body=self.listed, content_type="application/json")
        if int(request.query.get("passesUpdatedSince", "0")) >= self.tag:
            return web.Response(status=204)
        return web.json_response({"serialNumbers": [self.card.serial], "lastUpdated": str(self.tag)})

    async def newest(self, request: web.Request) -> web.Response:
        if not self.trusts(request):
            return web.Response(status=401)
        changed = NOW.replace(second=self.tag)
        since = request.headers.get("If-Modified-Since")
        if since is not None and parsedate_to_datetime(since) >= changed:
            return web.Response(status=304)
        return web.Response(
            body=self.broken(self.file()),
            content_type=MEDIA_TYPE,
            headers={"Last-Modified": format_datetime(changed, usegmt=True)},
        )

    async def download(self, _: web.Request) -> web.Response:
        return web.Response(body=self.file(), content_type=MEDIA_TYPE)

    async def log(self, request: web.Request) -> web.Response:
        self.logs += (await request.json())["logs"]
        return web.Response()


@contextlib.asynccontextmanager
async def passkit(signer: PassSigner) -> AsyncIterator[Service]:
    service = Service(signer)

    @web.middleware
    async def noting(request: web.Request, handler: Any) -> web.StreamResponse:
        answer: web.StreamResponse = await handler(request)
        if "/v1/" in request.path:
            what = request.path.split("/v1/")[1].split("/")[0]
            service.requests.append(f"{request.method} {what} {answer.status}")
        return answer

    app = web.Application(middlewares=[noting])
    registration = f"/w/v1/devices/{{device}}/registrations/{PASS_TYPE}"
    app.router.add_post(f"{registration}/{PATIENT.serial}", service.register)
    app.router.add_delete(f"{registration}/{PATIENT.serial}", service.unregister)
    app.router.add_get(registration, service.serials)
    app.router.add_get(f"/w/v1/passes/{PASS_TYPE}/{PATIENT.serial}", service.newest)
    app.router.add_post("/w/v1/log", service.log)
    app.router.add_get("/w/pass.pkpass", service.download)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}/w"
    try:
        yield service
    finally:
        await runner.cleanup()
