"""A server, a worker and Google's double, for tests of passes in Google Wallet."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.api.public.pushing import LOOPBACK, NOTIFICATIONS
from tests.api.wallet.cards import make_template, put
from tests.conftest import ENCRYPTION_KEYS, FixedClock, InProcess, in_process, settings_for
from tests.factories import Tenant
from tests.webhooks.engine import eventually

from rxdesk import working
from rxdesk.access import Transaction
from rxdesk.db import embedded
from rxdesk.kit.clock import utc_now
from rxdesk.kit.sealing import Sealer, read_keys
from rxdesk.wallet import templates
from rxdesk.wallet.emulator.callbacks import CallbackSigner
from rxdesk.wallet.emulator.google import Answer, GoogleDouble
from rxdesk.wallet.emulator.google_account import KEYS_PATH, TOKEN_PATH
from rxdesk.wallet.emulator.google_server import HOLDER_PATH, GoogleServer

ISSUER = "3388000000022000000"
EMAIL = "wallet@example.iam.example.com"
PUBLIC = "https://passes.example"


@dataclass
class GoogleWorld:
    """The application in this process, Google's double, and what a tenant and a holder do with them."""

    app: InProcess
    tenant: Tenant
    server: GoogleServer
    settings: dict[str, Any]
    clock: FixedClock
    troubles: list[Answer | None] = field(default_factory=list)
    callbacks: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def double(self) -> GoogleDouble:
        return self.server.double

    async def issue(self, customer: str = "c", *, kind: str = "generic", **members: Any) -> dict[str, Any]:
        template = await make_template(self.tenant, "points", display_name="Card", pass_type=kind)
        made = await put(self.app.client, self.tenant, template, customer, **members)
        assert made.status_code == 201, made.text
        issued: dict[str, Any] = made.json()
        return issued

    def google_id(self, uid: str) -> str:
        """The id of the object of a pass, or of the class of a template."""
        return f"{ISSUER}.{self.tenant.organisation.public_code}_{uid}"

    def object_id(self, issued: dict[str, Any]) -> str:
        return self.google_id(issued["uid"])

    def object(self, issued: dict[str, Any]) -> dict[str, Any]:
        """The pass as Google has it."""
        return self.double.kept[self.object_id(issued)]

    async def visit(self, url: str, **headers: str) -> httpx.Response:
        """What the server answers at one of its public addresses."""
        return await self.app.client.get("http://test" + url.removeprefix(PUBLIC), headers=headers)

    async def follow(self, issued: dict[str, Any]) -> int:
        """Do what the holder's tap does: the link leads to Google; how that answers."""
        answer = await self.visit(issued["links"]["google_wallet"])
        assert answer.status_code == 303, answer.text
        async with httpx.AsyncClient(trust_env=False, timeout=20) as browser:
            return (await browser.get(answer.headers["Location"])).status_code

    async def save(self, issued: dict[str, Any]) -> None:
        """Save the pass as a holder does, and have the server hear of it."""
        assert await self.follow(issued) == 200
        heard = await self.hear()
        assert heard == [200], heard

    async def delete(self, issued: dict[str, Any]) -> None:
        """Delete the pass as a holder does, and have the server hear of it."""
        async with httpx.AsyncClient(trust_env=False, timeout=20) as phone:
            await phone.delete(f"{self.server.url}{HOLDER_PATH}{self.object_id(issued)}")
        heard = await self.hear()
        assert heard == [200], heard

    async def hear(self) -> list[int]:
        """Bring the server what Google has to say; its answers."""
        said, self.callbacks[:] = list(self.callbacks), []
        return [await self.call_back(urlsplit(url).path, body) for url, body in said]

    async def call_back(self, path: str, body: bytes) -> int:
        return (await self.app.client.post("http://test" + path, content=body)).status_code

    async def send(self, issued: dict[str, Any], *texts: str) -> None:
        body = [{"wallet_pass_uid": issued["uid"], "message": text} for text in texts]
        headers = await self.tenant.headers("wallet_pass_push_notification:write")
        answer = await self.app.client.post("/wallet-passes/push-notifications", json=body, headers=headers)
        assert [row["status"] for row in answer.json()["data"]] == ["queued"] * len(texts)

    async def told(self) -> list[dict[str, Any]]:
        """The push notifications, oldest first."""
        headers = await self.tenant.headers("wallet_pass:read")
        answer = await self.app.client.get("http://test" + NOTIFICATIONS, headers=headers)
        rows: list[dict[str, Any]] = answer.json()["data"]
        return rows[::-1]

    async def devices(self) -> list[list[tuple[str, str, str | None]]]:
        """What became of each notification, as (device, status, reason)."""
        return [
            [(one["device"], one["status"], one["reason"]) for one in row["devices"]]
            for row in await self.told()
        ]

    async def work(self, cluster: embedded.Address) -> None:
        """Have a worker do all that is due by the clock."""
        composed = working.compose(
            settings_for(**self.settings),
            cluster.connect_args(embedded.APP),
            ENCRYPTION_KEYS,
            clock=self.clock,
            chance=lambda: 0.5,
        )
        # A connection of its own: the tenant's may be used meanwhile.
        looking = await asyncpg.connect(**cluster.connect_args(embedded.APP))
        stopping = asyncio.Event()
        worker = asyncio.create_task(working.run(composed, stopping))

        async def none_due() -> bool:
            due = "SELECT EXISTS (SELECT FROM jobs WHERE organisation_id = $1 AND due_at <= $2)"
            return not await looking.fetchval(due, self.tenant.id, self.clock())

        try:
            await eventually(none_due, 20)
        finally:
            await looking.close()
            stopping.set()
            await worker


async def redesign(world: GoogleWorld, template: str, look: templates.Look) -> None:
    await world.tenant.enter()
    connection, sealer = world.tenant.connection, Sealer(read_keys(ENCRYPTION_KEYS))
    async with connection.transaction():
        tx = Transaction(connection, world.tenant.id, "operator", "test", world.clock(), sealer)
        await templates.redesign(tx, template, look)


async def change(world: GoogleWorld, issued: dict[str, Any], **members: Any) -> None:
    answer = await put(world.app.client, world.tenant, issued["wallet_pass_template_uid"], "c", **members)
    assert answer.status_code == 200


def points(world: GoogleWorld, issued: dict[str, Any]) -> str:
    modules = {module["id"]: module for module in world.object(issued)["textModulesData"]}
    body: str = modules["field_points"]["body"]
    return body


def account_file(folder: Path, key: rsa.RSAPrivateKey, url: str) -> Path:
    """A service account whose access tokens are had at `url`."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    document = {"client_email": EMAIL, "private_key": pem, "private_key_id": "k1", "token_uri": url}
    file = folder / "account.json"
    file.write_text(json.dumps(document))
    return file


@contextlib.contextmanager
def google_server(key: rsa.RSAPrivateKey, clock: FixedClock) -> Iterator[GoogleServer]:
    """Google's double, whose callbacks nobody delivers yet."""
    double = GoogleDouble(ISSUER, EMAIL, key.public_key(), clock)
    server = GoogleServer(double, CallbackSigner(clock()))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def google_settings(server: GoogleServer, account: Path) -> dict[str, Any]:
    return {
        "google_account_file": str(account),
        "google_issuer": ISSUER,
        "google_api_url": server.url,
        "google_save_url": server.url + "/gp/v/save",
        "google_keys_url": server.url + KEYS_PATH,
        "public_url": PUBLIC,
        "egress_allow": LOOPBACK,
        "public_requests_per_minute": 0,
    }


@contextlib.asynccontextmanager
async def google_world(
    cluster: embedded.Address, tenant: Tenant, key: rsa.RSAPrivateKey, folder: Path
) -> AsyncIterator[GoogleWorld]:
    """All of it, but for the worker, which works when it is told to."""
    clock = FixedClock(utc_now())
    with google_server(key, clock) as server:
        settings = google_settings(server, account_file(folder, key, server.url + TOKEN_PATH))
        async with in_process(cluster, clock, **settings) as app:
            world = GoogleWorld(app, tenant, server, settings, clock)
            server.deliver = lambda url, body: world.callbacks.append((url, body))
            server.double.trouble = lambda _: world.troubles.pop(0) if world.troubles else None
            yield world


async def saved(world: GoogleWorld, cluster: embedded.Address, **members: Any) -> dict[str, Any]:
    """A pass that its holder has saved, and all that came of it done."""
    issued = await world.issue(**members)
    await world.save(issued)
    await world.work(cluster)
    return issued
