"""The Operations API in this process, and events in an organisation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import pytest
from tests.conftest import ENCRYPTION_KEYS, FixedClock, InProcess, in_process
from tests.factories import Tenant

from rxdesk.access import Transaction, run_command
from rxdesk.db import embedded
from rxdesk.kit.sealing import Place, Sealer, read_keys
from rxdesk.webhooks.events import EVENT_TYPES
from rxdesk.webhooks.outbox import emit

BASE = "/v1/operations"
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@dataclass
class Operations:
    """The API with its clock, and what makes events."""

    inside: InProcess

    @property
    def clock(self) -> FixedClock:
        return self.inside.clock

    async def ask(self, method: str, path: str, headers: dict[str, str], **more: Any) -> httpx.Response:
        return await self.inside.client.request(method, f"http://test{BASE}{path}", headers=headers, **more)

    async def get(self, path: str, headers: dict[str, str], expect: int = 200, **query: Any) -> Any:
        answer = await self.ask("GET", path, headers, params=query)
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def post(self, path: str, headers: dict[str, str], status: int, body: Any = None) -> Any:
        answer = await self.ask("POST", path, headers, json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def happen(
        self, tenant: Tenant, kind: str, uid: str = "x-1", pharmacy_uid: str | None = None, **data: Any
    ) -> str:
        """Make an event by the clock; give its uid."""
        sample: Mapping[str, Any] = EVENT_TYPES[kind].sample(int(self.clock().timestamp()))
        found: list[str] = []

        async def command(tx: Transaction) -> None:
            found.append(emit(tx, kind, {**sample, "uid": uid, **data}, pharmacy_uid=pharmacy_uid))

        await tenant.enter()
        async with tenant.connection.transaction():
            sealer = Sealer(read_keys(ENCRYPTION_KEYS))
            tx = Transaction(tenant.connection, tenant.id, "operator", "test", self.clock(), sealer)
            await run_command(tx, command)
        return found[0]


@pytest.fixture
async def operations(cluster: embedded.Address) -> AsyncIterator[Operations]:
    async with in_process(cluster) as running:
        yield Operations(running)


async def subscription(
    tenant: Tenant, uid: str, kind: str, made: datetime, target: str = "https://example.com/", **more: Any
) -> str:
    """Insert a subscription whose secret is SECRET."""
    sealer = Sealer(read_keys(ENCRYPTION_KEYS))
    place = Place(tenant.id, uid, "notification_subscriptions.sealed_signing_secret")
    columns = {
        "uid": uid,
        "notification_type": kind,
        "target": target,
        "target_key": target,
        "payload_version": "1",
        "sealed_signing_secret": sealer.seal(SECRET, place),
        "full_data": True,
        "created_at": made,
        "actor_kind": "key",
        "actor_uid": "key-1",
        **more,
    }
    names = ", ".join(columns)
    places = ", ".join(f"${position}" for position in range(2, len(columns) + 2))
    await tenant.enter()
    await tenant.connection.execute(
        f"INSERT INTO notification_subscriptions (organisation_id, {names}) VALUES ($1, {places})",
        tenant.id,
        *columns.values(),
    )
    return uid


async def end(tenant: Tenant, delivery: str, status: str, *, at: datetime) -> None:
    """What a worker leaves of a delivery: an outcome, and nothing in the queue."""
    await tenant.update("deliveries", delivery, status=status, attempts=10, ended_at=at, next_attempt_at=None)
    await tenant.connection.execute(
        "DELETE FROM jobs WHERE organisation_id = $1 AND uid = $2", tenant.id, delivery
    )


async def queue(tenant: Tenant) -> list[dict[str, Any]]:
    return await tenant.rows(
        "SELECT uid, lane, due_at FROM jobs WHERE organisation_id = $1 AND kind = 'delivery' ORDER BY uid"
    )
