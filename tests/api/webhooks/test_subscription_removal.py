"""DELETE /notification-subscriptions (contract, section 2, route 17)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.api.webhooks.subscribing import PATH, TARGET, TYPE, create, listed, rows
from tests.factories import Tenant


@pytest.mark.parametrize("framing", [{"Transfer-Encoding": "chunked"}, {"Content-Length": "0"}])
async def test_an_empty_body_is_none(
    client: httpx.AsyncClient, tenant: Tenant, framing: dict[str, str]
) -> None:
    headers = await tenant.headers()
    await create(client, headers)
    query = {"target": TARGET, "notification_type": TYPE}
    removed = await client.request("DELETE", PATH, params=query, headers=headers | framing, content=b"")
    assert removed.status_code == 204
    nothing = await client.request("DELETE", PATH, headers=headers | framing, content=b"")
    assert nothing.status_code == 400
    assert {fault["location"] for fault in nothing.json()["details"]} == {"query"}


async def test_removed_by_query_by_body_and_with_a_slash(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    reference = {"target": TARGET, "notification_type": TYPE}
    for path in (PATH, PATH + "/"):
        for how in (
            {"params": reference},
            {"json": reference},
            {"json": reference, "params": {"target": "x"}},
        ):
            uid = (await create(client, headers)).json()["uid"]
            answer = await client.request("DELETE", path, headers=headers, **how)  # type: ignore[arg-type]
            assert (answer.status_code, answer.content) == (204, b"")
            assert await listed(client, headers) == []
            [row] = [row for row in await rows(tenant) if row["uid"] == uid]
            assert row["deactivated_at"] is not None  # it stays, for its log
            again = await client.request("DELETE", path, headers=headers, **how)  # type: ignore[arg-type]
            assert (again.status_code, again.content) == (404, b'{"error":"Resource not found"}')


async def test_removing_takes_no_other(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    headers = await tenant.headers()
    for owner in (tenant, other):
        for target, kind in ((TARGET, TYPE), (TARGET + "2", TYPE), (TARGET, "order_created")):
            assert (await create(client, await owner.headers(), target, kind)).status_code == 201
    await client.delete(PATH, params={"target": TARGET, "notification_type": TYPE}, headers=headers)
    left = [(row["target"], row["notification_type"]) for row in await listed(client, headers)]
    assert sorted(left) == [(TARGET, "order_created"), (TARGET + "2", TYPE)]
    assert len(await listed(client, await other.headers())) == 3


async def test_removing_what_is_not_there(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    headers = await tenant.headers()
    await create(client, await other.headers())
    for target, kind in (
        (TARGET, TYPE),
        ("https://none.example/", TYPE),
        (TARGET, "no_such_type"),
        ("x", "y"),
    ):
        for how in ("params", "json"):
            reference: dict[str, Any] = {how: {"target": target, "notification_type": kind}}
            answer = await client.request("DELETE", PATH, headers=headers, **reference)
            assert (answer.status_code, answer.content) == (404, b'{"error":"Resource not found"}')
    assert len(await listed(client, await other.headers())) == 1


async def test_removing_needs_both(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    for how, location, fields in (
        ({}, "query", ["notification_type", "target"]),
        ({"params": {"target": TARGET}}, "query", ["notification_type"]),
        ({"params": {"notification_type": TYPE}}, "query", ["target"]),
        ({"json": {}}, "body", ["notification_type", "target"]),
        ({"json": {"target": TARGET, "notification_type": TYPE, "uid": "x"}}, "body", ["uid"]),
        ({"json": {"target": None, "notification_type": TYPE}}, "body", ["target"]),
    ):
        answer = await client.request("DELETE", PATH, headers=headers, **how)
        assert answer.status_code == 400
        assert [detail["field"] for detail in answer.json()["details"]] == fields
        assert {detail["location"] for detail in answer.json()["details"]} == {location}
