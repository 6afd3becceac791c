"""POST /notification-subscriptions/test: how often, what it holds meanwhile, and from a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from tests.api.webhooks.receivers import Pki, receiving
from tests.api.webhooks.sending import OK, PATH, SECOND, send, verify
from tests.conftest import BASE, InProcess, Live, start_live, stop_live
from tests.factories import Tenant

from rxdesk.db import embedded
from rxdesk.db.pool import Connection


async def test_one_a_second_and_organisation(
    sender: InProcess, pki: Pki, tenant: Tenant, other: Tenant
) -> None:
    async with receiving(OK, pki.good) as receiver:
        # What is refused for its form uses nothing up.
        headers = await tenant.headers()
        for body, status in (
            ({}, 400),
            ({"target_url": "x"}, 400),
            ({"target_url": receiver.url(), "event_type": "x"}, 400),
            ({"target_url": receiver.url(), "header_key": "Host", "header_value": "x"}, 400),
            ({"target_url": receiver.url(), "extra": 1}, 400),
            ({"target_url": "https://10.0.0.1/"}, 422),
        ):
            assert (await sender.client.post(PATH, json=body, headers=headers)).status_code == status
        body = {"target_url": receiver.url()}
        keys = [await tenant.headers("order:read") for _ in range(5)]
        answers = await asyncio.gather(*(sender.client.post(PATH, json=body, headers=key) for key in keys))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200, 429, 429, 429, 429]
        [refused] = {answer.content for answer in answers if answer.status_code == 429}
        assert refused == b'{"error":"Rate limit exceeded"}'
        assert {a.headers["retry-after"] for a in answers if a.status_code == 429} == {"1"}
        assert (await send(sender.client, other, receiver.url())).status_code == 200
        assert len(receiver.received) == 2
        sender.clock.moment += SECOND - timedelta(milliseconds=1)
        assert (await send(sender.client, tenant, receiver.url())).status_code == 429
        sender.clock.moment += timedelta(milliseconds=1)
        assert (await send(sender.client, tenant, receiver.url())).status_code == 200


async def test_the_idempotency_key_has_no_say_here(sender: InProcess, pki: Pki, tenant: Tenant) -> None:
    headers = {**await tenant.headers(), "Idempotency-Key": "k"}
    async with receiving(OK, pki.good) as receiver:
        body = {"target_url": receiver.url()}
        first = await sender.client.post(PATH, json=body, headers=headers)
        again = await sender.client.post(PATH, json=body, headers=headers)
        assert (first.status_code, again.status_code) == (200, 429)
        sender.clock.moment += SECOND
        third = await sender.client.post(
            PATH,
            json=body,
            headers=[*headers.items(), ("Idempotency-Key", ""), ("Idempotency-Key", "x" * 300)],
        )
        assert third.status_code == 200
        assert third.json()["signing_secret"] != first.json()["signing_secret"]
    assert len(receiver.received) == 2
    assert await tenant.rows("SELECT uid FROM idempotency_keys WHERE organisation_id = $1") == []


async def test_no_transaction_is_open_while_the_target_is_waited_for(
    sender: InProcess, pki: Pki, tenant: Tenant, app_connection: Connection
) -> None:
    states: list[str] = []

    async def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        states.extend(
            row["state"]
            for row in await app_connection.fetch(
                "SELECT state FROM pg_stat_activity WHERE application_name = 'tests' "
                "AND datname = current_database() AND backend_start >= $1",
                begun,
            )
        )
        await OK(_, writer)

    begun = await app_connection.fetchval("SELECT clock_timestamp()")
    async with receiving(look, pki.good) as receiver:
        assert (await send(sender.client, tenant, receiver.url())).status_code == 200
    assert set(states) == {"idle"}


@pytest.fixture(scope="module")
def live_sender(cluster: embedded.Address, pki: Pki) -> Iterator[Live]:
    server = start_live(cluster, egress_allow="127.0.0.1/32:*", egress_ca_file=str(pki.ca_file))
    yield server
    stop_live(server)


async def test_from_a_real_server(live_sender: Live, pki: Pki, tenant: Tenant) -> None:
    headers = await tenant.headers("order:read")
    async with (
        receiving(OK, pki.good) as receiver,
        httpx.AsyncClient(base_url=live_sender.url + BASE, trust_env=False, timeout=15) as client,
    ):

        async def both() -> tuple[list[httpx.Response], float]:
            begun, body = time.monotonic(), {"target_url": receiver.url()}
            answers = [await client.post(path, json=body, headers=headers) for path in (PATH, PATH + "/")]
            return answers, time.monotonic() - begun

        (first, second), seconds = await both()
        for _ in range(4):  # again while this machine is too slow to send two within a second
            if seconds < 0.9:
                break
            await asyncio.sleep(1.1)
            (first, second), seconds = await both()
        assert first.json()["success"] is True
        verify(receiver.received[-1], first.json()["signing_secret"])
        assert second.status_code == 429
