"""GET, POST and DELETE /webhooks/: a pharmacy's own subscriptions."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from tests.api.pharmacy.rows import Counter, open_counter
from tests.conftest import ENCRYPTION_KEYS
from tests.factories import Tenant

from rxdesk.kit.sealing import Place, Sealer, read_keys
from rxdesk.routes import PHARMACY

PATH = "/webhooks/"
TYPE = "pharmacy_order_updated"
TARGET = "https://93.184.216.34/hooks"


async def create(
    client: httpx.AsyncClient, headers: dict[str, str], target: str = TARGET, **more: object
) -> httpx.Response:
    body = {"notification_type": TYPE, "target": target, **more}
    return await client.post(PATH, json=body, headers=headers)


async def stored(tenant: Tenant, uid: str) -> dict[str, Any]:
    [row] = await tenant.rows(
        "SELECT * FROM notification_subscriptions WHERE organisation_id = $1 AND uid = $2", uid
    )
    return row


async def test_created_listed_removed(pharmacy_client: httpx.AsyncClient, tenant: Tenant) -> None:
    counter = await open_counter(tenant)
    headers = await counter.headers()
    assert (await pharmacy_client.get(PATH, headers=headers)).json() == []
    answer = await create(
        pharmacy_client, headers, meta_data={"a": [1]}, header_key="X-Token", header_value="abc"
    )
    assert answer.status_code == 201, answer.text
    made = answer.json()
    secret = made.pop("signing_secret")
    assert secret.startswith("whsec_")
    assert made == {
        "uid": made["uid"],
        "notification_type": TYPE,
        "target": TARGET,
        "options": "WEBHOOK",
        "payload_version": "1",
    }
    listed = await pharmacy_client.get(PATH, headers=headers)
    assert listed.json() == [made]
    assert secret not in listed.text
    row = await stored(tenant, made["uid"])
    assert (row["pharmacy_uid"], row["full_data"]) == (counter.uid, True)
    place = Place(tenant.id, made["uid"], "notification_subscriptions.sealed_signing_secret")
    assert Sealer(read_keys(ENCRYPTION_KEYS)).open(row["sealed_signing_secret"], place) == secret
    again = await create(pharmacy_client, headers, target="https://93.184.216.34:443/hooks")
    assert again.status_code == 409
    removed = await pharmacy_client.delete(f"{PATH}{made['uid']}", headers=headers)
    assert (removed.status_code, removed.content) == (204, b"")
    row = await stored(tenant, made["uid"])
    assert (row["deactivated_reason"], row["deactivated_at"] is None) == ("removed", False)
    assert (await pharmacy_client.get(PATH, headers=headers)).json() == []
    gone = await pharmacy_client.delete(f"{PATH}{made['uid']}", headers=headers)
    assert (gone.status_code, gone.json()) == (404, {"error": "Resource not found"})
    assert (await create(pharmacy_client, headers)).status_code == 201


async def test_each_has_its_own(
    pharmacy_client: httpx.AsyncClient, client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    """The same type and target for two pharmacies and for the organisation: nobody sees or stops another's."""
    counters = [await open_counter(tenant), await open_counter(tenant), await open_counter(other)]
    made = []
    for counter in counters:
        answer = await create(pharmacy_client, await counter.headers())
        assert answer.status_code == 201
        made.append(answer.json()["uid"])
    management = await tenant.headers()
    body = {"notification_type": TYPE, "target": TARGET}
    answer = await client.post("/notification-subscriptions", json=body, headers=management)
    assert answer.status_code == 201
    organisation_s = answer.json()["uid"]
    for counter, mine in zip(counters, made, strict=True):
        headers = await counter.headers()
        listed = (await pharmacy_client.get(PATH, headers=headers)).json()
        assert [row["uid"] for row in listed] == [mine]
        for uid in {*made, organisation_s, "none"} - {mine}:
            assert (await pharmacy_client.delete(f"{PATH}{uid}", headers=headers)).status_code == 404
    answer = await client.get("/notification-subscriptions", headers=management)
    assert [row["uid"] for row in answer.json()] == [organisation_s]
    answer = await client.delete("/notification-subscriptions", params=body, headers=management)
    assert answer.status_code == 204
    for uid in made[:2]:
        assert (await stored(tenant, uid))["deactivated_at"] is None


@pytest.mark.parametrize(
    ("permission", "kind", "full"),
    [
        ("orders_read", "pharmacy_order_created", True),
        ("orders_read", "pharmacy_order_updated", True),
        ("orders_read", "pharmacy_sku_stock_updated", False),
        ("stock_read", "pharmacy_order_updated", False),
        ("stock_read", "pharmacy_sku_stock_updated", True),
    ],
)
async def test_a_key_that_may_not_read_it_hears_it_cut(
    pharmacy_client: httpx.AsyncClient, tenant: Tenant, permission: str, kind: str, *, full: bool
) -> None:
    counter = await open_counter(tenant)
    headers = await counter.headers("webhooks_write", permission)
    answer = await create(pharmacy_client, headers, notification_type=kind)
    assert (await stored(tenant, answer.json()["uid"]))["full_data"] is full


async def test_what_is_refused(pharmacy_client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await (await open_counter(tenant)).headers()
    for more, status in (
        ({"notification_type": "order_updated"}, 400),  # an event that no pharmacy hears of
        ({"notification_type": "nonsense"}, 400),
        ({"target": "http://93.184.216.34/"}, 400),
        ({"target": ""}, 400),
        ({"header_key": "X-A"}, 400),
        ({"header_key": "Host", "header_value": "x"}, 400),
        ({"surprise": 1}, 400),
        ({"target": "https://10.0.0.1/"}, 422),
        ({"target": "https://169.254.169.254/"}, 422),
    ):
        answer = await create(pharmacy_client, headers, **more)
        assert answer.status_code == status, (more, answer.text)
    assert (await pharmacy_client.get(PATH, headers=headers)).json() == []


async def test_an_idempotency_key_is_the_pharmacy_s_own(
    pharmacy_client: httpx.AsyncClient, tenant: Tenant
) -> None:
    """An answer that holds a secret is never given to the pharmacy next door."""
    mine, theirs = await open_counter(tenant), await open_counter(tenant)

    async def send(counter: Counter, base: str = PHARMACY.base) -> httpx.Response:
        url = str(pharmacy_client.base_url).replace(PHARMACY.base, base)
        headers = {**await counter.headers(), "Idempotency-Key": "same"}
        body = {"notification_type": TYPE, "target": TARGET}
        return await pharmacy_client.post(url + "webhooks", json=body, headers=headers)

    first, again, elsewhere = await send(mine), await send(mine), await send(mine, PHARMACY.others[0])
    assert [answer.status_code for answer in (first, again, elsewhere)] == [201] * 3
    assert first.content == again.content == elsewhere.content
    other = await send(theirs)
    assert other.status_code == 201
    assert other.json()["uid"] != first.json()["uid"]
    assert other.json()["signing_secret"] != first.json()["signing_secret"]


async def test_one_of_many_at_once(pharmacy_client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await (await open_counter(tenant)).headers()
    answers = await asyncio.gather(*(create(pharmacy_client, headers) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


async def test_it_hears_of_its_own_only(pharmacy_client: httpx.AsyncClient, tenant: Tenant) -> None:
    mine, theirs = await open_counter(tenant), await open_counter(tenant)
    made = (await create(pharmacy_client, await mine.headers())).json()["uid"]
    for counter in (mine, theirs):
        uid = await counter.order(status="in-progress")
        await pharmacy_client.patch(
            f"/pharmacy_orders/{uid}/status",
            json={"status": "cancelled"},
            headers=await counter.headers(),
        )
    rows = await tenant.rows(
        "SELECT d.subscription_uid, e.pharmacy_uid FROM deliveries d JOIN events e "
        "ON e.organisation_id = $1 AND e.uid = d.event_uid WHERE d.organisation_id = $1"
    )
    assert [tuple(row.values()) for row in rows] == [(made, mine.uid)]


async def test_what_waits_for_one_that_is_removed_is_cancelled(
    pharmacy_client: httpx.AsyncClient, tenant: Tenant
) -> None:
    counter = await open_counter(tenant)
    headers = await counter.headers()
    made = (await create(pharmacy_client, headers)).json()["uid"]
    uid = await counter.order(status="in-progress")
    await pharmacy_client.patch(
        f"/pharmacy_orders/{uid}/status", json={"status": "cancelled"}, headers=headers
    )
    assert (await pharmacy_client.delete(f"{PATH}{made}", headers=headers)).status_code == 204
    rows = await tenant.rows("SELECT status FROM deliveries WHERE organisation_id = $1")
    assert [row["status"] for row in rows] == ["cancelled"]
    assert await tenant.rows("SELECT 1 FROM jobs WHERE organisation_id = $1") == []
