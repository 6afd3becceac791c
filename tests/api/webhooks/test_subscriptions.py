"""GET, POST and DELETE /notification-subscriptions (contract, section 2, routes 15 to 17)."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
from datetime import timedelta
from typing import Any, get_args

import httpx
import pytest
from tests.conftest import ENCRYPTION_KEYS, InProcess, in_process
from tests.factories import Tenant

from rxdesk.db import embedded
from rxdesk.kit.sealing import Place, Sealer, SealError, read_keys
from rxdesk.permissions import ALL
from rxdesk.webhooks.events import EVENT_TYPES
from rxdesk.webhooks.schemas import EventTypeName

PATH = "/notification-subscriptions"
TYPE = "pharmacy_order_created"
TARGET = "https://93.184.216.34/hooks?a=1&b=ä".replace("ä", "%C3%A4")


async def create(
    client: httpx.AsyncClient, headers: dict[str, str], target: str = TARGET, kind: str = TYPE, **more: object
) -> httpx.Response:
    return await client.post(
        PATH, json={"notification_type": kind, "target": target, **more}, headers=headers
    )


async def listed(client: httpx.AsyncClient, headers: dict[str, str]) -> list[dict[str, Any]]:
    answer = await client.get(PATH, headers=headers)
    assert answer.status_code == 200
    body: list[dict[str, Any]] = answer.json()
    assert isinstance(body, list)
    return body


async def rows(tenant: Tenant) -> list[dict[str, Any]]:
    return await tenant.rows("SELECT * FROM notification_subscriptions WHERE organisation_id = $1")


def fields_of(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert body["error"] == "Validation failed"
    assert {detail["location"] for detail in body["details"]} <= {"body"}
    return [detail["field"] for detail in body["details"]]


async def test_created_and_listed(inside: InProcess, tenant: Tenant) -> None:
    headers = {"X-API-Key": await tenant.key()}  # any valid key
    assert await listed(inside.client, headers) == []
    expected = []
    for number, kind in enumerate(EVENT_TYPES):
        inside.clock.moment += timedelta(seconds=1)
        path = PATH if number % 2 else PATH + "/"
        answer = await inside.client.post(
            path, json={"notification_type": kind, "target": TARGET}, headers=headers
        )
        assert answer.status_code == 201
        body = answer.json()
        secret = body.pop("signing_secret")
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
        assert re.fullmatch(r"ns-[0-9A-HJKMNP-TV-Z]{26}", body["uid"])
        assert body == {
            "uid": body["uid"],
            "notification_type": kind,
            "target": TARGET,
            "options": "WEBHOOK",
            "payload_version": "1",
        }
        expected.append(body)
    for path in (PATH, PATH + "/"):
        answer = await inside.client.get(path, headers=headers)
        assert (answer.status_code, answer.json()) == (200, expected)
        assert "whsec_" not in answer.text
    assert list(EVENT_TYPES) == list(get_args(EventTypeName))
    inside.statements.clear()
    await listed(inside.client, headers)
    assert len(inside.statements) == 1


async def test_each_organisation_sees_its_own(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    uids = [(await create(client, await owner.headers())).json()["uid"] for owner in (tenant, other)]
    for owner, uid in zip((tenant, other), uids, strict=True):
        assert [row["uid"] for row in await listed(client, await owner.headers())] == [uid]


async def test_what_is_stored(inside: InProcess, tenant: Tenant, other: Tenant) -> None:
    made = await tenant.new_key()
    meta = {"team": "logistics", "n": [1, 2.5, None, True, {"ä": "💊"}]}
    answer = await create(
        inside.client,
        {"X-API-Key": made.key},
        meta_data=meta,
        payload_version="1",
        header_key="Authorization",
        header_value="Bearer very-secret-value",
    )
    uid, secret = answer.json()["uid"], answer.json()["signing_secret"]
    [row] = await rows(tenant)
    sealed = {name: row.pop(name) for name in ("sealed_header_value", "sealed_signing_secret")}
    assert json.loads(row.pop("meta_data")) == meta
    assert row == {
        "organisation_id": tenant.id,
        "uid": uid,
        "notification_type": TYPE,
        "target": TARGET,
        "target_key": TARGET,
        "payload_version": "1",
        "header_key": "Authorization",
        "full_data": False,
        "created_at": inside.clock.moment,
        "deactivated_at": None,
        "actor_kind": "key",
        "actor_uid": made.uid,
    }
    # Neither secret can be read off the row: not as it is, not decoded, not as base64 of itself.
    whole = b"".join(sealed.values()) + repr(row).encode()
    for plain in (secret.encode(), secret[6:].encode(), base64.b64decode(secret[6:]), b"very-secret-value"):
        assert plain not in whole
        assert base64.b64encode(plain).rstrip(b"=")[:-1] not in whole
    sealer = Sealer(read_keys(ENCRYPTION_KEYS))
    for column, plain_text in (
        ("sealed_signing_secret", secret),
        ("sealed_header_value", "Bearer very-secret-value"),
    ):
        name = f"notification_subscriptions.{column}"
        assert sealer.open(sealed[column], Place(tenant.id, uid, name)) == plain_text
        for place in (
            Place(other.id, uid, name),
            Place(tenant.id, "ns-other", name),
            Place(tenant.id, uid, "notification_subscriptions.other"),
        ):
            with pytest.raises(SealError):
                sealer.open(sealed[column], place)
    with pytest.raises(SealError):
        sealer.open(
            sealed["sealed_header_value"],
            Place(tenant.id, uid, "notification_subscriptions.sealed_signing_secret"),
        )


async def test_the_same_type_and_target_twice(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    headers = await tenant.headers()
    first = (await create(client, headers)).json()
    for more in ({}, {"header_key": "X-Team", "header_value": "b"}, {"meta_data": {"x": 1}}):
        answer = await create(client, headers, **more)
        assert (answer.status_code, answer.json()) == (
            409,
            {"error": "There is an active subscription of this type for this target"},
        )
    assert (await create(client, headers, kind="order_created")).status_code == 201
    assert (await create(client, headers, target=TARGET + "2")).status_code == 201
    assert (await create(client, await other.headers())).status_code == 201
    removed = await client.delete(PATH, params={"target": TARGET, "notification_type": TYPE}, headers=headers)
    assert removed.status_code == 204
    again = (await create(client, headers)).json()
    assert again["uid"] != first["uid"]
    assert again["signing_secret"] != first["signing_secret"]


async def test_a_target_is_one_in_every_spelling(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    given = "https://93.184.216.34:443"
    spellings = ["https://93.184.216.34", "https://93.184.216.34/", "HTTPS://93.184.216.34:443/"]
    assert (await create(client, headers, target=given)).json()["target"] == given
    for target in (given, *spellings):
        assert (await create(client, headers, target=target)).status_code == 409, target
    assert (await create(client, headers, target=f"{given}/x")).status_code == 201
    assert [row["target"] for row in await listed(client, headers)] == [given, f"{given}/x"]
    for target in (given, *spellings):
        query = {"target": target, "notification_type": TYPE}
        assert (await client.delete(PATH, params=query, headers=headers)).status_code == 204, target
        assert (await create(client, headers, target=given)).status_code == 201


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


async def test_a_wrong_choice_is_told_the_right_ones_and_never_itself(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    answer = await create(client, await tenant.headers(), kind="n" * 400_000, payload_version="2" * 400_000)
    assert answer.status_code == 400
    assert len(answer.content) < 2000
    message = answer.json()["details"][0]["message"]
    assert message.startswith("must be one of: ")
    assert TYPE in message


async def test_twenty_at_once_make_one(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    answers = await asyncio.gather(*(create(client, headers) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    assert len(await rows(tenant)) == 1


async def test_whether_the_key_may_read_what_the_events_carry(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    for number, (permissions, full) in enumerate(
        (
            (ALL, True),
            (("order:read", "patient:read"), True),
            (("order:read",), False),
            (("patient:read",), False),
            (("prescription:read", "waiting_room:read"), False),
        )
    ):
        headers = {"X-API-Key": await tenant.key(*permissions)}
        uid = (await create(client, headers, target=f"{TARGET}{number}")).json()["uid"]
        assert {row["uid"]: row["full_data"] for row in await rows(tenant)}[uid] is full


@pytest.mark.parametrize(
    ("kind", "permission"),
    [
        ("prescription_updated", "prescription:read"),
        ("order_created", "order:read"),
        ("pharmacy_sku_stock_updated", "product:read"),
        ("waiting_room_updated", "waiting_room:read"),
    ],
)
async def test_each_type_wants_the_permission_for_what_it_carries(
    client: httpx.AsyncClient, tenant: Tenant, kind: str, permission: str
) -> None:
    for number, (permissions, full) in enumerate(
        (((permission,), True), ([one for one in ALL if one != permission], False))
    ):
        headers = {"X-API-Key": await tenant.key(*permissions)}
        uid = (await create(client, headers, kind=kind, target=f"{TARGET}{number}")).json()["uid"]
        assert {row["uid"]: row["full_data"] for row in await rows(tenant)}[uid] is full


async def test_faulty_members_are_named(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    good = {"notification_type": TYPE, "target": TARGET}
    for body, fields in (
        ({}, ["notification_type", "target"]),
        ({"target": TARGET}, ["notification_type"]),
        ({"notification_type": TYPE}, ["target"]),
        ({**good, "notification_type": "order_deleted"}, ["notification_type"]),
        ({**good, "notification_type": "Order_Created"}, ["notification_type"]),
        ({**good, "notification_type": "*"}, ["notification_type"]),
        ({**good, "notification_type": None}, ["notification_type"]),
        ({**good, "target": 5}, ["target"]),
        ({**good, "target": ""}, ["target"]),
        ({**good, "meta_data": []}, ["meta_data"]),
        ({**good, "meta_data": "x"}, ["meta_data"]),
        ({**good, "payload_version": "2"}, ["payload_version"]),
        ({**good, "payload_version": 1}, ["payload_version"]),
        ({**good, "options": "WEBHOOK"}, ["options"]),
        ({**good, "signing_secret": "whsec_x"}, ["signing_secret"]),
        ({"notification_type": 1, "target": None, "extra": 1}, ["notification_type", "target", "extra"]),
        ([], [""]),
    ):
        assert fields_of(await client.post(PATH, json=body, headers=headers)) == fields, body
    assert await rows(tenant) == []


async def test_optional_members_may_be_null(client: httpx.AsyncClient, tenant: Tenant) -> None:
    nothing: dict[str, Any] = dict.fromkeys(("meta_data", "payload_version", "header_key", "header_value"))
    answer = await create(client, await tenant.headers(), **nothing)
    assert (answer.status_code, answer.json()["payload_version"]) == (201, "1")
    [row] = await rows(tenant)
    assert (row["meta_data"], row["header_key"], row["sealed_header_value"]) == ("{}", None, None)


FORBIDDEN = (
    "https://127.0.0.1/",
    "https://127.0.0.1:8443/x",
    "https://127.1.2.3/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://169.254.0.1/",
    "https://100.64.0.1/",
    "https://192.0.0.1/",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.0.1./",
    "https://0/",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://a.b.localhost/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://[fd12:3456::1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:0a00:0001::1]/",
    "https://[fe80::5efe:10.0.0.1]/",
    "https://[2001:db8::1]/",
    "https://[ff02::1]/",
    "HTTPS://127.0.0.1/",
)


@pytest.mark.parametrize("target", FORBIDDEN)
async def test_forbidden_targets(inside: InProcess, tenant: Tenant, target: str) -> None:
    headers = await tenant.headers()
    answer = await create(inside.client, headers, target)
    assert (answer.status_code, answer.json()) == (
        422,
        {"error": "The target is, or resolves to, an address that is not allowed", "field": "target"},
    )
    assert await rows(tenant) == []


INVALID = (
    "http://93.184.216.34/",
    "http://127.0.0.1/",
    "HTTP://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "//example.com/",
    "example.com",
    "/hooks",
    "https://",
    "https:///x",
    "https:example.com",
    "https://user:pw@93.184.216.34/",
    "https://93.184.216.34@10.0.0.1/",
    "https://93.184.216.34/#part",
    "https://93.184.216.34:0/",
    "https://93.184.216.34:65536/",
    "https://93.184.216.34:x/",
    "https://93.184.216.34 /",
    "https://93.184.216.34\\@10.0.0.1/",
    "https://93.184.216.34/\r\nHost: x",
    "https://93.184.216.34/ä",
    "https://[93.184.216.34]/",
    "https://[::1/",
    "https://-a.example/",
    "https://a..example/",
    "https://1.2.3.4.5/",
    "https://999.1.1.1/",
    "https://" + "a" * 64 + ".example/",
    "https://93.184.216.34/" + "x" * 2048,
)


@pytest.mark.parametrize("target", INVALID)
async def test_targets_that_are_no_https_url(inside: InProcess, tenant: Tenant, target: str) -> None:
    assert fields_of(await create(inside.client, await tenant.headers(), target)) == ["target"]
    assert await rows(tenant) == []


async def test_a_target_of_many_bytes(client: httpx.AsyncClient, tenant: Tenant) -> None:
    """2,048 characters that are far more bytes: more than an entry of an index can hold."""
    chance = random.Random(7)
    # Characters that internationalised names leave out, so that the host stays a good one.
    ignored = "".join(chr(0xFE00 + chance.randrange(16)) for _ in range(2000))
    answer = await create(client, await tenant.headers(), f"https://a{ignored}.example/")
    assert answer.status_code in {201, 400}, answer.text
    plain = "".join(
        chance.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") for _ in range(2026)
    )
    answer = await create(client, await tenant.headers(), f"https://93.184.216.34/{plain}")
    assert answer.status_code == 201


ADDRESSES: dict[str, list[str]] = {
    "good.example": ["93.184.216.34"],
    "bad.example": ["10.0.0.1"],
    "mixed.example": ["93.184.216.34", "127.0.0.1"],
    "six.example": ["2606:2800:220:1::1", "::1"],
    "empty.example": [],
}


async def resolve(name: str, _port: int) -> list[str]:
    if name not in ADDRESSES:
        raise OSError("unknown")
    return ADDRESSES[name]


async def test_names_are_resolved_and_judged(cluster: embedded.Address, tenant: Tenant) -> None:
    """A name with one forbidden address is forbidden; one that does not resolve now is judged when called."""
    headers = await tenant.headers()
    async with in_process(cluster, resolver=resolve) as running:
        for name, status in (
            ("good.example", 201),
            ("bad.example", 422),
            ("mixed.example", 422),
            ("six.example", 422),
            ("empty.example", 201),
            ("nowhere.example", 201),
        ):
            answer = await create(running.client, headers, f"https://{name}/hook")
            assert answer.status_code == status, name
    assert len(await rows(tenant)) == 3


RESERVED = (
    "Host",
    "host",
    "HOST",
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "content-anything",
    "Transfer-Encoding",
    "Connection",
    "webhook-id",
    "Webhook-Signature",
    "webhook-timestamp",
    "webhook-x",
    "X-Webhook-Event",
    "X-Webhook-Signature",
    "x-webhook-test",
    "X_Webhook_Signature",
    "Content_Length",
)


@pytest.mark.parametrize(
    "name",
    [*RESERVED, "", "A B", "A:", "A\r\nB", "A\n", "Ä", "a" * 101, "(x)", "a/b", "\tA", "A\x7f"],
)
async def test_header_names_that_are_not_accepted(
    client: httpx.AsyncClient, tenant: Tenant, name: str
) -> None:
    headers = await tenant.headers()
    answer = await create(client, headers, header_key=name, header_value="x")
    assert fields_of(answer) == ["header_key"]
    body = {"target_url": TARGET, "header_key": name, "header_value": "x"}
    assert fields_of(await client.post(PATH + "/test", json=body, headers=headers)) == ["header_key"]
    assert await rows(tenant) == []


@pytest.mark.parametrize(
    "value", ["", "a\r\nb", "a\nb", "a\rb", "a\r\n", "ä", " a", "a ", "\t", "a\x7f", "x" * 1025]
)
async def test_header_values_that_are_not_accepted(
    client: httpx.AsyncClient, tenant: Tenant, value: str
) -> None:
    answer = await create(client, await tenant.headers(), header_key="X-Team", header_value=value)
    assert fields_of(answer) == ["header_value"]
    assert await rows(tenant) == []


async def test_a_headers_name_and_value_go_together(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    assert fields_of(await create(client, headers, header_key="X-Team")) == ["header_value"]
    assert fields_of(await create(client, headers, header_value="x")) == ["header_key"]
    answer = await create(client, headers, header_key="X-Team", header_value="x" * 1024)
    assert answer.status_code == 201


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
