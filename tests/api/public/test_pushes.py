"""From a push notification over the API to the lock screen of simulated iPhones, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography import x509
from tests.api.wallet.cards import make_template, put
from tests.conftest import BASE, ENCRYPTION_KEYS, Live, settings_for, start_live, stop_live
from tests.factories import Tenant
from tests.wallet.cards import PASS_TYPE, TEAM

from rxdesk import working
from rxdesk.db import embedded
from rxdesk.kit.addresses import AllowList
from rxdesk.kit.clock import utc_now
from rxdesk.kit.egress import Egress
from rxdesk.wallet.apple.trial import TrialFiles, create_chain
from rxdesk.wallet.emulator.apns import Devices, Refusal
from rxdesk.wallet.emulator.apns_server import ApnsServer, Trouble, server_tls
from rxdesk.wallet.emulator.phone import Phone

LOOPBACK = "http+127.0.0.1/32:*,127.0.0.1/32:*"
NOTIFICATIONS = "/v1/operations/wallet-passes/push-notifications"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> TrialFiles:
    return create_chain(tmp_path_factory.mktemp("chain"), PASS_TYPE, TEAM, utc_now() - timedelta(days=1))


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


@pytest.fixture(scope="module")
def serving(cluster: embedded.Address, chain: TrialFiles) -> Iterator[Live]:
    live = start_live(cluster, **settings_of(chain))
    yield live
    stop_live(live)


@dataclass
class World:
    """A server, a worker, Apple's double and what a tenant does with them."""

    live: Live
    client: httpx.AsyncClient
    tenant: Tenant
    devices: Devices
    apns: ApnsServer
    root: x509.Certificate
    tasks: list[asyncio.Task[None]]

    async def issue(self, customer: str = "c", **members: Any) -> dict[str, Any]:
        template = await make_template(self.tenant, "points", display_name="Card")
        made = await put(self.client, self.tenant, template, customer, **members)
        assert made.status_code == 201, made.text
        issued: dict[str, Any] = made.json()
        return issued

    async def phone(self, issued: dict[str, Any], seed: int = 1) -> Phone:
        """A phone that has added the pass by the link of its page."""
        phone = Phone(
            Egress(AllowList.parse(LOOPBACK)), self.devices, self.root, random.Random(seed).randbytes
        )
        path = issued["links"]["apple_wallet"].partition("/w/")[2]
        file = (await self.client.get(f"{self.live.url}/w/{path}")).content
        assert await phone.add(file), phone.complaints
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

    async def until(self, what: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """The notifications once they are as wanted."""
        async with asyncio.timeout(15):
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
    async with asyncio.timeout(15):
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
    devices = Devices(utc_now)
    apns = ApnsServer(devices, server_tls(chain), trouble)
    port = await apns.start()
    settings = settings_for(**settings_of(chain, apple_push_url=f"https://127.0.0.1:{port}"))
    stopping = asyncio.Event()
    composed = working.compose(
        settings, cluster.connect_args(embedded.APP), ENCRYPTION_KEYS, chance=lambda: 0.0
    )
    worker = asyncio.create_task(working.run(composed, stopping))
    root = x509.load_pem_x509_certificate(chain.root.read_bytes())
    tasks: list[asyncio.Task[None]] = []
    async with httpx.AsyncClient(base_url=serving.url + BASE, trust_env=False, timeout=15) as client:
        try:
            yield World(serving, client, tenant, devices, apns, root, tasks)
        finally:
            for task in tasks:
                task.cancel()
            stopping.set()
            await worker
            await apns.stop()


async def test_a_message_reaches_every_device_of_the_pass(
    serving: Live, cluster: embedded.Address, tenant: Tenant, chain: TrialFiles
) -> None:
    async with world(serving, cluster, tenant, chain) as here:
        issued = await here.issue(first_name="Max")
        phones = [await here.phone(issued, seed) for seed in (1, 2, 3)]
        await here.send((issued["uid"], "{first_name}, your prescription is ready"))
        [row] = await here.until(
            lambda rows: (
                [(one["status"], one["attempts"]) for one in rows[0]["devices"]]
                == [("delivered_to_device", 1)] * 3
            )
        )
        for phone in phones:
            await phone.settled()
            assert phone.screen == ["Max, your prescription is ready"]
            assert phone.complaints == []
        assert row["wallet_pass_uid"] == issued["uid"]
        assert row["message"] == "Max, your prescription is ready"
        assert row["status"] == "delivered_to_device"
        assert {one["device"] for one in row["devices"]} == {phone.identifier for phone in phones}
        assert {one["reason"] for one in row["devices"]} == {None}
        assert await here.told(wallet_pass_uid=issued["uid"]) == [row]
        assert await here.told(wallet_pass_uid="wp-none") == []
        # The same text again is no change that a device would show.
        await here.send((issued["uid"], "{first_name}, your prescription is ready"))
        rows = await here.until(lambda rows: statuses(rows) == ["delivered_to_device"] * 2)
        assert [one["unchanged"] for one in rows] == [True, False]
        await phones[0].settled()
        assert phones[0].screen == ["Max, your prescription is ready"]
        assert (
            await tenant.rows("SELECT 1 FROM jobs WHERE organisation_id = $1 AND kind = 'wallet_push'") == []
        )


async def test_a_pass_that_is_on_no_device_says_so(
    serving: Live, cluster: embedded.Address, tenant: Tenant, chain: TrialFiles
) -> None:
    async with world(serving, cluster, tenant, chain) as here:
        issued = await here.issue()
        await here.send((issued["uid"], "x"))
        [row] = await here.told()
        assert (row["status"], row["devices"]) == ("no_device", [])


async def test_a_changed_field_and_a_revocation_reach_the_device(
    serving: Live, cluster: embedded.Address, tenant: Tenant, chain: TrialFiles
) -> None:
    async with world(serving, cluster, tenant, chain) as here:
        issued = await here.issue(field_values={"points": 1})
        phone = await here.phone(issued)
        members = {"wallet_pass_template_uid": issued["wallet_pass_template_uid"], "shop_customer_id": "c"}
        headers = await tenant.headers()
        body = {**members, "field_values": {"points": 2}}
        assert (await here.client.post("/wallet-passes", json=body, headers=headers)).status_code == 200
        await until(lambda: document(phone)["generic"]["secondaryFields"][0]["value"] == "2")
        await here.client.post(f"/wallet-passes/{issued['uid']}/revoke", headers=headers)
        await until(lambda: document(phone).get("voided") is True)
        assert phone.screen == []


async def test_a_device_that_is_gone_is_forgotten(
    serving: Live, cluster: embedded.Address, tenant: Tenant, chain: TrialFiles
) -> None:
    async with world(serving, cluster, tenant, chain) as here:
        issued = await here.issue()
        phone = await here.phone(issued)
        here.devices.forget(phone.push_token)  # wiped: it said no goodbye to us
        await here.send((issued["uid"], "x"))
        [row] = await here.until(lambda rows: statuses(rows) == ["failed"])
        assert [(one["status"], one["reason"]) for one in row["devices"]] == [("failed", "Unregistered")]
        registered = "SELECT 1 FROM wallet_registrations WHERE organisation_id = $1"
        async with asyncio.timeout(5):
            while True:
                if await tenant.rows(registered) == []:
                    break
                await asyncio.sleep(0.02)
        await here.send((issued["uid"], "y"))
        assert statuses(await here.told()) == ["no_device", "failed"]


@pytest.mark.parametrize("trouble", ["reset", Refusal("TooManyRequests")])
async def test_what_fails_is_tried_again(
    serving: Live, cluster: embedded.Address, tenant: Tenant, chain: TrialFiles, trouble: Trouble
) -> None:
    async with world(
        serving, cluster, tenant, chain, lambda number: trouble if number == 1 else None
    ) as here:
        issued = await here.issue()
        phone = await here.phone(issued)
        await here.send((issued["uid"], "x"))
        [row] = await here.until(lambda rows: statuses(rows) == ["delivered_to_device"])
        await phone.settled()
        assert phone.screen == ["x"]
        assert row["devices"][0]["reason"] is None


async def test_a_refused_push_fails_with_apple_s_reason(
    serving: Live, cluster: embedded.Address, tenant: Tenant, chain: TrialFiles
) -> None:
    refusal = Refusal("TopicDisallowed")
    async with world(serving, cluster, tenant, chain, lambda _: refusal) as here:
        issued = await here.issue()
        await here.phone(issued)
        await here.send((issued["uid"], "x"))
        [row] = await here.until(lambda rows: statuses(rows) == ["failed"])
        assert [(one["reason"], one["attempts"]) for one in row["devices"]] == [("TopicDisallowed", 1)]


async def test_a_device_that_unregistered_before_its_push(
    serving: Live, cluster: embedded.Address, tenant: Tenant, chain: TrialFiles
) -> None:
    """It is not pushed, and the notification says why."""
    async with world(serving, cluster, tenant, chain, lambda _: Refusal("ServiceUnavailable")) as here:
        issued = await here.issue()
        phone = await here.phone(issued)
        await here.send((issued["uid"], "x"))
        await here.until(lambda rows: rows[0]["devices"][0]["attempts"] == 1)
        await phone.remove(issued["uid"])
        [row] = await here.until(lambda rows: statuses(rows) == ["failed"])
        assert (row["devices"][0]["reason"], row["devices"][0]["attempts"]) == ("unregistered", 1)
