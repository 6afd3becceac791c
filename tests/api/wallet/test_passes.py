"""GET /wallet-passes (contract, section 2, route 13)."""

from __future__ import annotations

from datetime import timedelta

import httpx
from tests.conftest import InProcess
from tests.factories import LONG_AGO, Tenant

PATH = "/wallet-passes"


async def test_a_customers_passes(inside: InProcess, tenant: Tenant) -> None:
    now = inside.clock.moment
    shop, elsewhere = [await tenant.insert("shops") for _ in range(2)]
    templates = [await tenant.insert("wallet_pass_templates", shop_uid=shop) for _ in range(5)]
    gone = await tenant.insert("wallet_pass_templates", shop_uid=shop, deleted_at=LONG_AGO)
    foreign = await tenant.insert("wallet_pass_templates", shop_uid=elsewhere)
    expected: list[dict[str, str]] = []
    for day, (template, stored, expires_at, status) in enumerate(
        (
            (templates[0], "active", None, "active"),
            (templates[1], "active", now + timedelta(seconds=1), "active"),
            (templates[2], "active", now, "expired"),
            (templates[3], "expired", None, "expired"),
            (templates[4], "revoked", now - timedelta(days=1), "revoked"),
        )
    ):
        uid = await tenant.insert(
            "wallet_passes",
            wallet_pass_template_uid=template,
            shop_customer_id="cust-123",
            status=stored,
            expires_at=expires_at,
            created_at=LONG_AGO + timedelta(days=day),
        )
        row = {
            "uid": uid,
            "wallet_pass_template_uid": template,
            "shop_customer_id": "cust-123",
            "status": status,
        }
        expected.insert(0, row)
    for template, customer, more in (
        (templates[0], "cust-12", {}),
        (templates[1], "CUST-123", {}),
        (gone, "cust-123", {}),
        (foreign, "cust-123", {}),
        (templates[0], "cust-123", {"deleted_at": LONG_AGO}),
    ):
        await tenant.insert(
            "wallet_passes", wallet_pass_template_uid=template, shop_customer_id=customer, **more
        )
    headers = await tenant.headers("wallet_pass:read")
    params = {"shop_identifier": shop, "shop_customer_id": "cust-123"}
    for path in (PATH, PATH + "/"):
        answer = await inside.client.get(path, params=params, headers=headers)
        assert answer.status_code == 200
        assert answer.json() == {"data": expected, "total": 5}
    for template, rows in ((templates[3], [expected[1]]), (gone, []), (foreign, []), ("none", [])):
        answer = await inside.client.get(
            PATH, params={**params, "wallet_pass_template_uid": template}, headers=headers
        )
        assert answer.json() == {"data": rows, "total": len(rows)}
    # The pass runs out at its second, by the clock alone.
    inside.clock.moment = now + timedelta(seconds=1)
    answer = await inside.client.get(
        PATH, params={**params, "wallet_pass_template_uid": templates[1]}, headers=headers
    )
    assert [row["status"] for row in answer.json()["data"]] == ["expired"]


async def test_a_customer_without_passes(client: httpx.AsyncClient, tenant: Tenant) -> None:
    params = {"shop_identifier": await tenant.insert("shops"), "shop_customer_id": "nobody"}
    answer = await client.get(PATH, params=params, headers=await tenant.headers())
    assert (answer.status_code, answer.json()) == (200, {"data": [], "total": 0})


async def test_customers_of_two_organisations(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    for owner in (tenant, other):
        shop = await owner.insert("shops", identifier="same")
        template = await owner.insert("wallet_pass_templates", shop_uid=shop)
        uid = await owner.insert("wallet_passes", wallet_pass_template_uid=template, shop_customer_id="c")
        params = {"shop_identifier": "same", "shop_customer_id": "c"}
        answer = await client.get(PATH, params=params, headers=await owner.headers())
        assert [row["uid"] for row in answer.json()["data"]] == [uid]


async def test_a_shop_that_is_not_ours(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    headers = await tenant.headers()
    await tenant.insert("shops", identifier="gone", deleted_at=LONG_AGO)
    for identifier in ("gone", await other.insert("shops"), "none"):
        params = {"shop_identifier": identifier, "shop_customer_id": "c"}
        answer = await client.get(PATH, params=params, headers=headers)
        assert (answer.status_code, answer.content) == (404, b'{"error":"Resource not found"}')


async def test_what_is_missing_is_named(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    for query, fields in (
        ("", ["shop_customer_id", "shop_identifier"]),
        ("?shop_identifier=x", ["shop_customer_id"]),
        ("?shop_customer_id=x", ["shop_identifier"]),
        ("?shop_customer_id=&shop_identifier=x", ["shop_customer_id"]),
        (
            "?shop_customer_id=1&shop_identifier=x&wallet_pass_template_uid=a&wallet_pass_template_uid=b",
            ["wallet_pass_template_uid"],
        ),
    ):
        answer = await client.get(PATH + query, headers=headers)
        assert answer.status_code == 400
        body = answer.json()
        assert body["error"] == "Validation failed"
        assert [detail["field"] for detail in body["details"]] == fields
        assert {detail["location"] for detail in body["details"]} == {"query"}


async def test_the_permission(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers("wallet_pass_template:read")
    assert (await client.get(PATH, headers=headers)).status_code == 403


async def test_one_statement(inside: InProcess, tenant: Tenant) -> None:
    headers = await tenant.headers()
    params = {"shop_identifier": await tenant.insert("shops"), "shop_customer_id": "c"}
    await inside.client.get(PATH, params=params, headers=headers)
    inside.statements.clear()
    assert (await inside.client.get(PATH, params=params, headers=headers)).status_code == 200
    assert len(inside.statements) == 1
