"""GET /wallet-passes/templates (contract, section 2, route 12)."""

from __future__ import annotations

import httpx
from tests.conftest import InProcess
from tests.factories import LONG_AGO, Tenant

PATH = "/wallet-passes/templates"


async def test_by_name(client: httpx.AsyncClient, tenant: Tenant) -> None:
    shop = await tenant.insert("shops", identifier="mein-shop")
    elsewhere = await tenant.insert("shops")
    expected = []
    for name, kind in (
        ("apfel", "generic"),
        ("Ärztekarte", "storeCard"),
        ("Birne", "eventTicket"),
        ("birne", "coupon"),
        ("Zebra", "generic"),
    ):
        uid = await tenant.insert("wallet_pass_templates", shop_uid=shop, display_name=name, pass_type=kind)
        row = {"uid": uid, "display_name": name, "pass_type": kind, "shop_identifier": "mein-shop"}
        expected.append(row)
    await tenant.insert("wallet_pass_templates", shop_uid=shop, deleted_at=LONG_AGO)
    await tenant.insert("wallet_pass_templates", shop_uid=elsewhere)
    headers = await tenant.headers("wallet_pass_template:read")
    for path in (PATH, PATH + "/"):
        answer = await client.get(path, params={"shop_identifier": "mein-shop", "x": "y"}, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {"data": expected, "total": 5}


async def test_names_that_are_alike_stand_by_uid(client: httpx.AsyncClient, tenant: Tenant) -> None:
    shop = await tenant.insert("shops")
    uids = [await tenant.insert("wallet_pass_templates", uid=f"wpt-{n}", shop_uid=shop) for n in "bca"]
    answer = await client.get(PATH, params={"shop_identifier": shop}, headers=await tenant.headers())
    assert [row["uid"] for row in answer.json()["data"]] == sorted(uids)


async def test_a_shop_without_templates(client: httpx.AsyncClient, tenant: Tenant) -> None:
    shop = await tenant.insert("shops")
    answer = await client.get(PATH, params={"shop_identifier": shop}, headers=await tenant.headers())
    assert (answer.status_code, answer.json()) == (200, {"data": [], "total": 0})


async def test_a_shop_that_is_not_ours(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    headers = await tenant.headers()
    deleted = await tenant.insert("shops", identifier="gone", deleted_at=LONG_AGO)
    foreign = await other.insert("shops")
    for identifier in ("gone", deleted, foreign, "none", "x" * 5000, "💊", "%", "My-Shop"):
        answer = await client.get(PATH, params={"shop_identifier": identifier}, headers=headers)
        assert (answer.status_code, answer.content) == (404, b'{"error":"Resource not found"}')


async def test_two_organisations_may_use_one_identifier(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    for owner in (tenant, other):
        shop = await owner.insert("shops", identifier="same")
        uid = await owner.insert("wallet_pass_templates", shop_uid=shop)
        answer = await client.get(PATH, params={"shop_identifier": "same"}, headers=await owner.headers())
        assert [row["uid"] for row in answer.json()["data"]] == [uid]


async def test_the_shop_is_required_once(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    for query, message in (
        ("", "is required"),
        ("?shop=x", "is required"),
        ("?shop_identifier=", "must be a string of length >= 1"),
        ("?shop_identifier=a&shop_identifier=a", "is given more than once"),
        ("?shop_identifier=%ff", "is not UTF-8"),
        ("?shop_identifier=%00", "holds NUL"),
    ):
        answer = await client.get(PATH + query, headers=headers)
        details = [{"field": "shop_identifier", "location": "query", "message": message}]
        assert (answer.status_code, answer.json()) == (
            400,
            {"error": "Validation failed", "details": details},
        )


async def test_the_permission(client: httpx.AsyncClient, tenant: Tenant) -> None:
    shop = await tenant.insert("shops")
    for permission in ("wallet_pass:read", "wallet_pass_push_notification:write"):
        answer = await client.get(
            PATH, params={"shop_identifier": shop}, headers=await tenant.headers(permission)
        )
        assert answer.status_code == 403


async def test_one_statement(inside: InProcess, tenant: Tenant) -> None:
    headers, params = await tenant.headers(), {"shop_identifier": await tenant.insert("shops")}
    await inside.client.get(PATH, params=params, headers=headers)
    inside.statements.clear()
    assert (await inside.client.get(PATH, params=params, headers=headers)).status_code == 200
    assert len(inside.statements) == 1
