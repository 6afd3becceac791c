"""A server with a certificate for trials, and a pass of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.api.public.googling import GoogleWorld, google_world
from tests.api.public.pushing import settings_of
from tests.api.wallet.cards import make_template, put, token_of
from tests.conftest import InProcess, Live, in_process, start_live, stop_live
from tests.factories import Tenant
from tests.wallet.cards import NOW, PASS_TYPE, TEAM
from tests.webhooks.engine import empty_queue

from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.kit.clock import utc_now
from rxdesk.wallet.apple.trial import TrialFiles, create_chain

BASE = "http://test/w"


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> TrialFiles:
    return create_chain(tmp_path_factory.mktemp("chain"), PASS_TYPE, TEAM, NOW)


@pytest.fixture(scope="session")
def apple(chain: TrialFiles) -> dict[str, Any]:
    """The settings of a server that signs with the chain."""
    return {
        "apple_certificate_file": chain.pass_certificate,
        "apple_key_file": chain.pass_key,
        "apple_intermediate_file": chain.intermediate,
        "public_url": "https://passes.example",
    }


@pytest.fixture
async def signing(cluster: embedded.Address, apple: dict[str, Any]) -> AsyncIterator[InProcess]:
    """The application in this process, with the chain's certificate."""
    async with in_process(cluster, **apple) as running:
        yield running


@dataclass(frozen=True)
class Held:
    """A pass that was issued, with what its holder has of it."""

    tenant: Tenant
    template: str
    uid: str
    landing: str
    device: str

    @property
    def code(self) -> str:
        return self.tenant.organisation.public_code

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"ApplePass {self.device}"}

    @property
    def serial(self) -> str:
        return f"{self.code}_{self.uid}"

    def registration(self, device: str = "device-1", pass_type: str = PASS_TYPE) -> str:
        return f"{BASE}/{self.code}/v1/devices/{device}/registrations/{pass_type}/{self.serial}"

    def serials(self, device: str = "device-1", pass_type: str = PASS_TYPE) -> str:
        return f"{BASE}/{self.code}/v1/devices/{device}/registrations/{pass_type}"

    def newest(self, pass_type: str = PASS_TYPE) -> str:
        return f"{BASE}/{self.code}/v1/passes/{pass_type}/{self.serial}"


async def make_held(client: httpx.AsyncClient, tenant: Tenant, **members: object) -> Held:
    """Issue a pass of a template of its own."""
    template = await make_template(tenant, "points", display_name="Loyalty card")
    made = await put(client, tenant, template, **members)
    uid = made.json()["uid"]
    landing, device = [await token_of(tenant, uid, purpose) for purpose in ("landing", "device")]
    return Held(tenant, template, uid, landing, device)


@pytest.fixture(scope="session")
def today(tmp_path_factory: pytest.TempPathFactory) -> TrialFiles:
    """A chain that is valid by the clock, for TLS."""
    return create_chain(tmp_path_factory.mktemp("today"), PASS_TYPE, TEAM, utc_now() - timedelta(days=1))


@pytest.fixture(scope="session")
def serving(cluster: embedded.Address, today: TrialFiles) -> Iterator[Live]:
    """A server that signs with it."""
    live = start_live(cluster, **settings_of(today))
    yield live
    stop_live(live)


@pytest.fixture(scope="session")
def account_key() -> rsa.RSAPrivateKey:
    """The key of a service account at Google."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
async def queue(app_connection: Connection) -> AsyncIterator[None]:
    """An empty queue, which is left empty."""
    await empty_queue(app_connection)
    yield
    await empty_queue(app_connection)


@pytest.fixture
async def world(
    cluster: embedded.Address, tenant: Tenant, account_key: rsa.RSAPrivateKey, tmp_path: Path
) -> AsyncIterator[GoogleWorld]:
    """A server with an account at Google, whose double is in this process."""
    async with google_world(cluster, tenant, account_key, tmp_path) as made:
        yield made
