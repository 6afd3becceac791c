"""POST /wallet-passes and POST /wallet-passes/{uid}/revoke (contract, section 4)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.api.wallet.cards import make_template, put, register
from tests.conftest import InProcess, in_process
from tests.factories import LONG_AGO, Tenant

from rxdesk.db import embedded

PATH = "/wallet-passes"
OWN_COLUMNS = ("display_name", "first_name", "last_name", "patient_uid", "status", "expires_at")


async def row(tenant: Tenant, uid: str) -> dict[str, Any]:
    [found] = await tenant.rows("SELECT * FROM wallet_passes WHERE organisation_id = $1 AND uid = $2", uid)
    return found


async def test_made_then_changed(cluster: embedded.Address, tenant: Tenant) -> None:
    template = await make_template(tenant, "points", "level")
    code = tenant.organisation.public_code
    async with in_process(cluster, public_url="https://passes.example/") as inside:
        made = await put(
            inside.client, tenant, template, first_name="Max", field_values={"points": 120, "level": "Gold"}
        )
        assert made.status_code == 201, made.text
        body = made.json()
        links = body.pop("links")
        assert body == {
            "uid": body["uid"],
            "wallet_pass_template_uid": template,
            "shop_customer_id": "cust-1",
            "status": "active",
        }
        assert links.keys() == {"landing_page", "apple_wallet", "google_wallet"}
        assert links["landing_page"].startswith(f"https://passes.example/w/{code}.")
        assert (links["apple_wallet"], links["google_wallet"]) == (None, None)
        changed = await put(
            inside.client, tenant, template, display_name="Max M.", field_values={"points": 130}
        )
        assert (changed.status_code, changed.json()) == (200, {**body, "links": links})
    stored = await row(tenant, body["uid"])
    assert (stored["first_name"], stored["display_name"]) == ("Max", "Max M.")
    assert stored["field_values"] == '{"level": "Gold", "points": 130}'
    assert stored["actor_kind"] == "key"
    assert stored["public_id"] not in (None, "")
    assert stored["public_id"].encode() not in stored["sealed_secret"]


async def test_what_is_left_out_stays_and_null_takes_away(inside: InProcess, tenant: Tenant) -> None:
    template = await make_template(tenant, "points", "level")
    patient = await tenant.insert("patients")
    expires = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
    everything: dict[str, Any] = {
        "patient_profile_uid": patient,
        "display_name": "D",
        "first_name": "F",
        "last_name": "L",
        "expires_at": expires,
        "field_values": {"points": 1, "level": "x"},
    }
    uid = (await put(inside.client, tenant, template, **everything)).json()["uid"]
    before = await row(tenant, uid)
    assert [before[name] for name in ("patient_uid", "display_name")] == [patient, "D"]
    assert (await put(inside.client, tenant, template)).status_code == 200
    after = await row(tenant, uid)
    assert [after[name] for name in (*OWN_COLUMNS, "field_values")] == [
        before[name] for name in (*OWN_COLUMNS, "field_values")
    ]
    nothing: dict[str, Any] = {**dict.fromkeys(everything), "field_values": {"level": None, "points": 2}}
    assert (await put(inside.client, tenant, template, **nothing)).status_code == 200
    after = await row(tenant, uid)
    assert [after[name] for name in OWN_COLUMNS] == [None, None, None, None, "active", None]
    assert after["field_values"] == '{"points": 2}'


async def test_one_a_template_and_customer(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    first, second = await make_template(tenant), await make_template(tenant)
    made = [
        await put(client, tenant, first, "c-1"),
        await put(client, tenant, first, "c-2"),
        await put(client, tenant, second, "c-1"),
        await put(client, other, await make_template(other), "c-1"),
    ]
    assert [answer.status_code for answer in made] == [201] * 4
    assert len({answer.json()["links"]["landing_page"] for answer in made}) == 4
    # A deleted one is not the customer's any more.
    await tenant.update("wallet_passes", made[0].json()["uid"], deleted_at=LONG_AGO)
    again = await put(client, tenant, first, "c-1")
    assert again.status_code == 201
    assert again.json()["uid"] != made[0].json()["uid"]


async def test_many_at_once_make_one(client: httpx.AsyncClient, tenant: Tenant) -> None:
    template = await make_template(tenant, "points")
    headers = await tenant.headers("wallet_pass:write")
    body = {"wallet_pass_template_uid": template, "shop_customer_id": "c"}

    async def one(number: int) -> httpx.Response:
        return await client.post(PATH, json={**body, "field_values": {"points": number}}, headers=headers)

    answers = await asyncio.gather(*(one(number) for number in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [201]
    assert len({answer.text for answer in answers}) == 1
    tags = await tenant.rows("SELECT last_tag FROM wallet_tags WHERE organisation_id = $1")
    [made] = await tenant.rows("SELECT tag FROM wallet_passes WHERE organisation_id = $1")
    assert made["tag"] == tags[0]["last_tag"]


async def test_each_change_has_a_higher_tag(inside: InProcess, tenant: Tenant) -> None:
    """However often in one second, and when the clock goes back."""
    template = await make_template(tenant, "points")
    uid = (await put(inside.client, tenant, template)).json()["uid"]
    tags = [(await row(tenant, uid))["tag"]]
    assert tags == [int(inside.clock.moment.timestamp())]
    for seconds in (0, 0, -100, 5):
        inside.clock.moment += timedelta(seconds=seconds)
        await put(inside.client, tenant, template, field_values={"points": len(tags)})
        tags.append((await row(tenant, uid))["tag"])
    assert tags == sorted(set(tags))
    inside.clock.moment += timedelta(days=1)
    await put(inside.client, tenant, template, field_values={"points": 0})
    assert (await row(tenant, uid))["tag"] == int(inside.clock.moment.timestamp())


async def test_a_change_that_changes_nothing_is_told_to_nobody(inside: InProcess, tenant: Tenant) -> None:
    template = await make_template(tenant, "points", "level", "rate")
    patient = await tenant.insert("patients")
    members: dict[str, Any] = {
        "patient_profile_uid": patient,
        "display_name": "D",
        "first_name": None,
        "expires_at": 1798761600,
        "field_values": {"points": 1, "level": "x"},
    }
    made = (await put(inside.client, tenant, template, **members)).json()
    await register(tenant, made["uid"])
    before = await row(tenant, made["uid"])
    inside.clock.moment += timedelta(seconds=5)
    same: tuple[dict[str, Any], ...] = (
        {},
        members,
        {"field_values": {"points": 1}},
        {"field_values": {"rate": None}},
    )
    for given in same:
        answer = await put(inside.client, tenant, template, **given)
        assert (answer.status_code, answer.json()) == (200, made)
    assert await row(tenant, made["uid"]) == before
    pushes = "SELECT tag FROM wallet_pushes WHERE organisation_id = $1 ORDER BY tag"
    assert await tenant.rows(pushes) == []
    # 12.50 and 12.5 are one number, and not what a pass shows.
    await tenant.update("wallet_passes", made["uid"], field_values='{"points": 1.0, "level": "x"}')
    told = []
    for given in ({"field_values": {"points": 1}}, {"first_name": "F"}, {"expires_at": None}):
        assert (await put(inside.client, tenant, template, **given)).status_code == 200
        told.append((await row(tenant, made["uid"]))["tag"])
    assert [one["tag"] for one in await tenant.rows(pushes)] == told


async def test_an_imported_pass_gets_its_addresses(client: httpx.AsyncClient, tenant: Tenant) -> None:
    template = await make_template(tenant)
    uid = await tenant.insert("wallet_passes", wallet_pass_template_uid=template, shop_customer_id="cust-1")
    answer = await put(client, tenant, template)
    assert (answer.status_code, answer.json()["uid"]) == (200, uid)
    assert "/w/" in answer.json()["links"]["landing_page"]


async def test_references_that_are_not_ours(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    template = await make_template(tenant)
    for field, uid in (
        ("wallet_pass_template_uid", await make_template(other)),
        ("wallet_pass_template_uid", await make_template(tenant, deleted_at=LONG_AGO)),
        ("wallet_pass_template_uid", ""),
        ("patient_profile_uid", await other.insert("patients")),
        ("patient_profile_uid", await tenant.insert("patients", deleted_at=LONG_AGO)),
    ):
        answer = await put(client, tenant, template, **{field: uid})
        assert answer.status_code == 404
        assert answer.json() == {"error": "Resource not found", "field": field}
    assert await tenant.rows("SELECT 1 FROM wallet_passes WHERE organisation_id = $1") == []


async def test_a_field_that_the_template_does_not_have(client: httpx.AsyncClient, tenant: Tenant) -> None:
    template = await make_template(tenant, "points")
    answer = await put(client, tenant, template, field_values={"points": 1, "level": "x"})
    assert answer.status_code == 422
    assert answer.json() == {"error": "The template has no such field", "field": "field_values.level"}


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("shop_customer_id", ""),
        ("shop_customer_id", "x" * 256),
        ("first_name", ""),
        ("first_name", 5),
        ("expires_at", -1),
        ("expires_at", "2027"),
        ("field_values", None),
        ("field_values", {"points": [1]}),
        ("status", "revoked"),
    ],
)
async def test_a_faulty_member_is_named(
    client: httpx.AsyncClient, tenant: Tenant, member: str, value: object
) -> None:
    answer = await put(client, tenant, await make_template(tenant, "points"), **{member: value})
    assert answer.status_code == 400
    assert [fault["field"] for fault in answer.json()["details"]] == [member]


async def test_revoked_and_active_again(inside: InProcess, tenant: Tenant) -> None:
    template = await make_template(tenant)
    made = (await put(inside.client, tenant, template)).json()
    headers = await tenant.headers("wallet_pass:write")
    before = await row(tenant, made["uid"])
    wanted = {**made, "status": "revoked"}
    del wanted["links"]
    revoked = await inside.client.post(f"{PATH}/{made['uid']}/revoke", headers=headers)
    assert (revoked.status_code, revoked.json()) == (200, wanted)
    after = await row(tenant, made["uid"])
    assert after["status"] == "revoked"
    assert after["tag"] > before["tag"]
    again = await inside.client.post(f"{PATH}/{made['uid']}/revoke", headers=headers)
    assert (again.status_code, again.json()) == (200, wanted)
    assert (await row(tenant, made["uid"]))["tag"] == after["tag"]
    back = await put(inside.client, tenant, template)
    assert (back.status_code, back.json()) == (200, made)


async def test_a_pass_that_has_run_out_says_so(inside: InProcess, tenant: Tenant) -> None:
    expires = int(inside.clock.moment.timestamp())
    answer = await put(inside.client, tenant, await make_template(tenant), expires_at=expires)
    assert answer.json()["status"] == "expired"


async def test_a_pass_that_is_not_ours_is_not_revoked(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    headers = await tenant.headers("wallet_pass:write")
    theirs = (await put(client, other, await make_template(other))).json()["uid"]
    gone = (await put(client, tenant, await make_template(tenant))).json()["uid"]
    await tenant.update("wallet_passes", gone, deleted_at=LONG_AGO)
    for uid in (theirs, gone, "none"):
        answer = await client.post(f"{PATH}/{uid}/revoke", headers=headers)
        assert (answer.status_code, answer.content) == (404, b'{"error":"Resource not found"}')
    assert (await row(other, theirs))["status"] == "active"


async def test_the_same_idempotency_key_makes_one(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = {**await tenant.headers("wallet_pass:write"), "Idempotency-Key": "k-1"}
    body = {"wallet_pass_template_uid": await make_template(tenant), "shop_customer_id": "c"}
    first, second = [await client.post(PATH, json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
