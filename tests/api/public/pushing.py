"""A server, a worker, Apple's double and simulated iPhones, for tests of pushes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from cryptography import x509
from tests.api.wallet.cards import make_template, put
from tests.conftest import BASE, ENCRYPTION_KEYS, Live, settings_for
from tests.factories import Tenant

from rxdesk import working
from rxdesk.db import embedded
from rxdesk.kit.addresses import AllowList
from rxdesk.kit.clock import utc_now
from rxdesk.kit.egress import Egress
from rxdesk.wallet.apple.trial import TrialFiles
from rxdesk.wallet.emulator.apns import Devices
from rxdesk.wallet.emulator.apns_server import ApnsServer, Trouble, server_tls
from rxdesk.wallet.emulator.phone import Phone

LOOPBACK = "http+127.0.0.1/32:*,127.0.0.1/32:*"
NOTIFICATIONS = "/v1/operations/wallet-passes/push-notifications"


def settings_of(chain: TrialFiles, **more: Any) -> dict[str, Any]:
    return {
        "apple_certificate_file": chain.pass_certificate,
        "apple_key_file": chain.pass_key,
        "apple_intermediate_file": chain.intermediate,
        "egress_allow": LOOPBACK,
        "egress_ca_file": chain.root,
        "public_requests_per_minute": 0,
        **more,
    }


@dataclass
class World:
    """A server, a worker, Apple's double and what a tenant does with them."""

    live: Live
    client: httpx.AsyncClient
    tenant: Tenant
    devices: Devices
    apns: ApnsServer
    apns_url: str
    root: x509.Certificate
    tasks: list[asyncio.Task[None]]

    async def issue(self, customer: str = "c", **members: Any) -> dict[str, Any]:
        template = await make_template(self.tenant, "points", display_name="Card")
        made = await put(self.client, self.tenant, template, customer, **members)
        assert made.status_code == 201, made.text
        issued: dict[str, Any] = made.json()
        return issued

    async def file(self, issued: dict[str, Any]) -> bytes:
        """The pass, by the link of its page."""
        path = issued["links"]["apple_wallet"].partition("/w/")[2]
        return (await self.client.get(f"{self.live.url}/w/{path}")).content

    async def phone(self, issued: dict[str, Any], seed: int = 1, file: bytes | None = None) -> Phone:
        """A phone that has added the pass by the link of its page, or the file that was downloaded before."""
        phone = Phone(
            Egress(AllowList.parse(LOOPBACK)), self.devices, self.root, random.Random(seed).randbytes
        )
        assert await phone.add(file or await self.file(issued)), phone.complaints
        self.tasks.append(asyncio.create_task(phone.run()))
        return phone

    async def send(self, *pairs: tuple[str, str]) -> None:
        body = [{"wallet_pass_uid": uid, "message": text} for uid, text in pairs]
        headers = await self.tenant.headers()
        answer = await self.client.post("/wallet-passes/push-notifications", json=body, headers=headers)
        assert [row["status"] for row in answer.json()["data"]] == ["queued"] * len(pairs)

    async def told(self, **params: str) -> list[dict[str, Any]]:
        headers = await self.tenant.headers("wallet_pass:read")
        answer = await self.client.get(self.live.url + NOTIFICATIONS, params=params, headers=headers)
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["data"]
        return rows

    async def quiet(self) -> None:
        """Wait until nothing waits for the worker."""
        async with asyncio.timeout(30):
            while True:
                if not await self.tenant.rows("SELECT 1 FROM jobs WHERE organisation_id = $1"):
                    return
                await asyncio.sleep(0.02)

    async def until(self, what: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """The notifications once they are as wanted."""
        async with asyncio.timeout(30):
            while True:
                rows = await self.told()
                if what(rows):
                    return rows
                await asyncio.sleep(0.02)


def document(phone: Phone) -> Mapping[str, Any]:
    """The document of the one pass of a phone."""
    [held] = phone.passes.values()
    return held.read.document


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while True:
            if what():
                return
            await asyncio.sleep(0.02)


def statuses(rows: list[dict[str, Any]]) -> list[str]:
    return [row["status"] for row in rows]


@contextlib.asynccontextmanager
async def world(
    serving: Live,
    cluster: embedded.Address,
    tenant: Tenant,
    chain: TrialFiles,
    trouble: Callable[[int], Trouble | None] | None = None,
) -> AsyncIterator[World]:
    """All of it, with a worker in this process."""
    async with idle_world(serving, tenant, chain, trouble) as here:
        stopping = asyncio.Event()
        settings = settings_for(**settings_of(chain, apple_push_url=here.apns_url))
        composed = working.compose(
            settings, cluster.connect_args(embedded.APP), ENCRYPTION_KEYS, chance=lambda: 0.0
        )
        worker = asyncio.create_task(working.run(composed, stopping))
        try:
            yield here
        finally:
            stopping.set()
            await worker


@contextlib.asynccontextmanager
async def idle_world(
    serving: Live,
    tenant: Tenant,
    chain: TrialFiles,
    trouble: Callable[[int], Trouble | None] | None = None,
) -> AsyncIterator[World]:
    """All of it without a worker."""
    devices = Devices(utc_now)
    apns = ApnsServer(devices, server_tls(chain), trouble)
    port = await apns.start()
    root = x509.load_pem_x509_certificate(chain.root.read_bytes())
    tasks: list[asyncio.Task[None]] = []
    async with httpx.AsyncClient(base_url=serving.url + BASE, trust_env=False, timeout=15) as client:
        try:
            yield World(serving, client, tenant, devices, apns, f"https://127.0.0.1:{port}", root, tasks)
        finally:
            for task in tasks:
                task.cancel()
            await apns.stop()
