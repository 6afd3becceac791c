"""GET and POST /notification-subscriptions (contract, section 2, routes 15 and 16)."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from datetime import timedelta
from typing import Any, get_args

import httpx
import pytest
from tests.api.webhooks.subscribing import PATH, TARGET, TYPE, create, fields_of, listed, rows
from tests.conftest import ENCRYPTION_KEYS, InProcess
from tests.factories import Tenant

from rxdesk.kit.sealing import Place, Sealer, SealError, read_keys
from rxdesk.permissions import ALL
from rxdesk.webhooks.events import EVENT_TYPES
from rxdesk.webhooks.schemas import EventTypeName


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
        "deactivated_reason": None,
        "failing_since": None,
        "pharmacy_uid": None,
        "sealed_previous_secret": None,
        "previous_secret_until": None,
        "switched": False,
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


NEEDS = {
    "pharmacy_order_created": {"order:read", "patient:read"},
    "pharmacy_order_updated": {"order:read", "patient:read"},
    "pharmacy_sku_stock_updated": {"product:read"},
    "patient_doctor_meeting_updated": {"waiting_room:read"},
    "appointment_reminder_due": set(),
    "order_created": {"order:read"},
    "order_updated": {"order:read"},
    "prescription_created": {"prescription:read"},
    "prescription_updated": {"prescription:read"},
    "waiting_room_updated": {"waiting_room:read"},
    "notification_subscription_disabled": set(),
}


async def test_each_type_has_its_own_permissions(client: httpx.AsyncClient, tenant: Tenant) -> None:
    assert set(NEEDS) == set(EVENT_TYPES)
    for kind, needs in NEEDS.items():
        assert set(EVENT_TYPES[kind].needs) == needs
        just = {"X-API-Key": await tenant.key(*needs)}
        uid = (await create(client, just, kind=kind)).json()["uid"]
        assert {row["uid"]: row["full_data"] for row in await rows(tenant)}[uid] is True, kind
        for missing in needs:
            less = {"X-API-Key": await tenant.key(*(set(ALL) - {missing}))}
            uid = (await create(client, less, target=f"{TARGET}{missing}", kind=kind)).json()["uid"]
            assert {row["uid"]: row["full_data"] for row in await rows(tenant)}[uid] is False, (kind, missing)


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
