"""`Idempotency-Key` (contract, section 1): one effect, and its answer is kept for 24 hours."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from tests.conftest import InProcess, in_process
from tests.factories import Tenant
from tests.locking import until_waiting

from rxdesk.db import embedded
from rxdesk.db.pool import Connection

REGISTER = "/waiting-room/register"
SUBSCRIBE = "/notification-subscriptions"
PUSH = "/wallet-passes/push-notifications"
TARGET = "https://93.184.216.34/hook"


async def arrange(tenant: Tenant) -> tuple[dict[str, str], dict[str, str]]:
    """Headers with a key for idempotency, and a registration."""
    headers = {**await tenant.headers(), "Idempotency-Key": "try-1"}
    return headers, {
        "shop_uid": await tenant.insert("shops"),
        "patient_profile_uid": await tenant.insert("patients"),
    }


async def count(tenant: Tenant, table: str) -> int:
    [row] = await tenant.rows(f"SELECT count(*) AS n FROM {table} WHERE organisation_id = $1")
    return int(row["n"])


@pytest.fixture
async def second(cluster: embedded.Address, tenant: Tenant) -> AsyncIterator[Connection]:
    """A connection of its own, set to the tenant."""
    connection = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    await connection.execute(f"SET rxdesk.organisation_id = '{tenant.id}'")
    yield connection
    await connection.close()


async def test_every_route_with_a_body_but_the_test(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers, registration = await arrange(tenant)
    template = await tenant.insert("wallet_pass_templates", shop_uid=registration["shop_uid"])
    uid = await tenant.insert("wallet_passes", wallet_pass_template_uid=template, shop_customer_id="c")
    for path, body, table in (
        (REGISTER, registration, "waiting_room_visits"),
        (SUBSCRIBE, {"notification_type": "order_created", "target": TARGET}, "notification_subscriptions"),
        (PUSH, [{"wallet_pass_uid": uid, "message": "x"}], "push_notifications"),
    ):
        first = await client.post(path, json=body, headers=headers)
        assert first.status_code in {200, 201}
        for slash in ("", "/"):
            again = await client.post(path + slash, json=body, headers=headers)
            assert (again.status_code, again.content) == (first.status_code, first.content)
            assert again.headers["content-type"] == "application/json"
            assert again.headers["x-request-id"] != first.headers["x-request-id"]
        assert await count(tenant, table) == 1


async def test_without_the_header_nothing_is_kept(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers, body = await arrange(tenant)
    del headers["Idempotency-Key"]
    assert (await client.post(REGISTER, json=body, headers=headers)).status_code == 201
    assert (await client.post(REGISTER, json=body, headers=headers)).status_code == 409
    assert await count(tenant, "idempotency_keys") == 0


async def test_bodies_are_compared_decoded(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = {**await tenant.headers(), "Idempotency-Key": "k"}
    body: dict[str, Any] = {
        "notification_type": "order_created",
        "target": TARGET,
        "meta_data": {"a": "ä", "b": [1, {"c": None, "d": True}], "e": 1.5},
    }
    first = await client.post(SUBSCRIBE, content=json.dumps(body), headers=headers)
    assert first.status_code == 201
    turned = json.dumps(
        {
            "target": TARGET,
            "meta_data": {"e": 1.5, "b": [1, {"d": True, "c": None}], "a": "ä"},
            "notification_type": "order_created",
        },
        ensure_ascii=False,
        indent=4,
    )
    for same in (turned, turned.replace("1.5", "15e-1"), turned.replace("order", "\\u006frder")):
        again = await client.post(SUBSCRIBE, content=same.encode(), headers=headers)
        assert (again.status_code, again.content) == (201, first.content)
    changes: tuple[dict[str, Any], ...] = (
        {"target": TARGET + "2"},
        {"meta_data": {}},
        {"meta_data": {**body["meta_data"], "b": [{"c": None, "d": True}, 1]}},
        {"payload_version": "1"},
        {"meta_data": {**body["meta_data"], "e": "1.5"}},
    )
    for change in changes:
        another = await client.post(SUBSCRIBE, json={**body, **change}, headers=headers)
        assert (another.status_code, another.json()) == (
            422,
            {"error": "This Idempotency-Key was used with another body"},
        )
    assert await count(tenant, "notification_subscriptions") == 1


async def test_keys_of_other_routes_and_organisations_are_other_keys(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    answers = []
    for owner in (tenant, other):
        headers, body = await arrange(owner)
        answers.append(await client.post(REGISTER, json=body, headers=headers))
        answers.append(
            await client.post(
                SUBSCRIBE, json={"notification_type": "order_created", "target": TARGET}, headers=headers
            )
        )
        answers.append(
            await client.post(REGISTER, json=body, headers={**headers, "Idempotency-Key": "try-2"})
        )
        answers.append(
            await client.post(REGISTER, json=body, headers={**headers, "Idempotency-Key": "TRY-1"})
        )
    assert [answer.status_code for answer in answers] == [201, 201, 409, 409] * 2
    assert len({answer.content for answer in answers}) == 6


async def test_another_key_of_the_organisation_gets_the_kept_answer(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    headers, body = await arrange(tenant)
    first = await client.post(REGISTER, json=body, headers=headers)
    for permissions, status in ((("waiting_room:write",), 201), (("waiting_room:read",), 403)):
        more = {"X-API-Key": await tenant.key(*permissions)}
        answer = await client.post(REGISTER, json=body, headers={**headers, **more})
        assert answer.status_code == status
        assert (answer.content == first.content) is (status == 201)


async def test_a_refusal_is_not_kept(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers, body = await arrange(tenant)
    # 404, once the patient is there: 201.
    missing = {**body, "patient_profile_uid": "pp-comes-later"}
    answer = await client.post(REGISTER, json=missing, headers={**headers, "Idempotency-Key": "later"})
    assert answer.status_code == 404
    await tenant.insert("patients", uid="pp-comes-later")
    answer = await client.post(REGISTER, json=missing, headers={**headers, "Idempotency-Key": "later"})
    assert answer.status_code == 201
    # 409, once the visit is cancelled: 201.
    visit = (await client.post(REGISTER, json=body, headers=headers)).json()["queue_uid"]
    again = {**headers, "Idempotency-Key": "again"}
    assert (await client.post(REGISTER, json=body, headers=again)).status_code == 409
    assert await count(tenant, "idempotency_keys") == 2
    await client.delete(f"/waiting-room/{visit}", headers=headers)
    answer = await client.post(REGISTER, json=body, headers=again)
    assert answer.status_code == 201
    # 400, and then another body under the same key.
    fresh = {**headers, "Idempotency-Key": "fresh"}
    assert (await client.post(REGISTER, json={}, headers=fresh)).status_code == 400
    body["patient_profile_uid"] = await tenant.insert("patients")
    assert (await client.post(REGISTER, json=body, headers=fresh)).status_code == 201


async def test_the_kept_answer_lives_a_day(inside: InProcess, tenant: Tenant) -> None:
    headers, body = await arrange(tenant)
    start = inside.clock.moment
    first = await inside.client.post(REGISTER, json=body, headers=headers)
    await inside.client.delete(f"/waiting-room/{first.json()['queue_uid']}", headers=headers)
    inside.clock.moment = start + timedelta(hours=24, seconds=-1)
    kept = await inside.client.post(REGISTER, json=body, headers=headers)
    assert kept.content == first.content
    assert (
        await inside.client.post(REGISTER, json={**body, "visit_reason": "x"}, headers=headers)
    ).status_code == 422
    inside.clock.moment = start + timedelta(hours=24)
    anew = await inside.client.post(REGISTER, json={**body, "visit_reason": "x"}, headers=headers)
    assert anew.status_code == 201
    assert anew.json()["queue_uid"] != first.json()["queue_uid"]
    # The day begins anew, with the new body.
    inside.clock.moment = start + timedelta(hours=47)
    kept = await inside.client.post(REGISTER, json={**body, "visit_reason": "x"}, headers=headers)
    assert kept.content == anew.content
    assert await count(tenant, "waiting_room_visits") == 2


async def test_expired_answers_are_swept_away(inside: InProcess, tenant: Tenant) -> None:
    headers = await tenant.headers()
    start = inside.clock.moment
    for number in range(25):
        body = {"notification_type": "order_created", "target": f"{TARGET}{number}"}
        await inside.client.post(SUBSCRIBE, json=body, headers={**headers, "Idempotency-Key": f"k{number}"})
    assert await count(tenant, "idempotency_keys") == 25
    inside.clock.moment = start + timedelta(hours=25)
    for left, number in ((6, 100), (2, 101)):
        body = {"notification_type": "order_created", "target": f"{TARGET}{number}"}
        await inside.client.post(SUBSCRIBE, json=body, headers={**headers, "Idempotency-Key": f"k{number}"})
        assert await count(tenant, "idempotency_keys") == left


async def test_what_is_kept_is_sealed(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = {**await tenant.headers(), "Idempotency-Key": "in-the-clear?"}
    body = {"notification_type": "order_created", "target": TARGET}
    secret = (await client.post(SUBSCRIBE, json=body, headers=headers)).json()["signing_secret"]
    [row] = await tenant.rows("SELECT * FROM idempotency_keys WHERE organisation_id = $1")
    assert row["status"] == 201
    whole = row["sealed_answer"] + repr(row).encode()
    for plain in (secret, secret[6:], TARGET, "order_created", "in-the-clear?", headers["X-API-Key"]):
        assert plain.encode() not in whole


@pytest.mark.parametrize(
    "values",
    [[b""], [b"x" * 256], [b"\xc3\xa4"], [b"a b"], [b"a\tb"], [b"a", b"a"], [b"a", b"b"], [b"\xff"]],
)
@pytest.mark.parametrize("path", [REGISTER, SUBSCRIBE, PUSH])
async def test_forms_of_the_header_that_are_refused(
    client: httpx.AsyncClient, tenant: Tenant, path: str, values: list[bytes]
) -> None:
    # Each body would be refused too, but later: 404 or 422.
    body: Any = {
        REGISTER: {"shop_uid": "none", "patient_profile_uid": "none"},
        SUBSCRIBE: {"notification_type": "order_created", "target": "https://10.0.0.1/"},
        PUSH: [{"wallet_pass_uid": "none", "message": "x"}],
    }[path]
    headers = [
        (
            b"x-api-key",
            (await tenant.key("waiting_room:write", "wallet_pass_push_notification:write")).encode(),
        )
    ]
    headers += [(b"idempotency-key", value) for value in values]
    answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "Validation failed",
        "details": [
            {
                "field": "Idempotency-Key",
                "location": "header",
                "message": "must be 1 to 255 visible ASCII characters",
            }
        ],
    }
    assert await count(tenant, "idempotency_keys") == 0


@pytest.mark.parametrize("value", ["x" * 255, "!", "~", '"quoted, and, more"'.replace(" ", ""), "a/b?c=d%00"])
async def test_forms_of_the_header_that_are_accepted(
    client: httpx.AsyncClient, tenant: Tenant, value: str
) -> None:
    headers, body = await arrange(tenant)
    answers = [
        await client.post(REGISTER, json=body, headers={**headers, "Idempotency-Key": value})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content


async def test_methods_without_a_body_ignore_the_header(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = {**await tenant.headers(), "Idempotency-Key": "x" * 300}
    assert (await client.get(SUBSCRIBE, headers=headers)).status_code == 200
    assert (await client.delete("/waiting-room/q-none", headers=headers)).status_code == 404


async def test_twenty_at_once_have_one_effect(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers, body = await arrange(tenant)
    answers = await asyncio.gather(*(client.post(REGISTER, json=body, headers=headers) for _ in range(20)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert await count(tenant, "waiting_room_visits") == 1
    assert await count(tenant, "idempotency_keys") == 1


async def test_a_twin_in_flight_is_waited_for(
    client: httpx.AsyncClient, tenant: Tenant, second: Connection
) -> None:
    """Both hang on the room's lock, the first by itself, the twin behind it; both get one answer."""
    headers, body = await arrange(tenant)
    patient = {**body, "patient_profile_uid": await tenant.insert("patients")}
    await client.post(REGISTER, json=patient, headers={**headers, "Idempotency-Key": "opens-the-room"})
    async with second.transaction():
        await second.execute(
            "SELECT FROM waiting_rooms WHERE organisation_id = $1 AND uid = $2 FOR UPDATE",
            tenant.id,
            body["shop_uid"],
        )
        sent = [asyncio.create_task(client.post(REGISTER, json=body, headers=headers)) for _ in range(2)]
        await until_waiting(second, 2)
        assert not any(task.done() for task in sent)
    answers = await asyncio.gather(*sent)
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    assert await count(tenant, "waiting_room_visits") == 2


async def test_a_twin_that_takes_too_long_is_a_409(
    client: httpx.AsyncClient, tenant: Tenant, second: Connection
) -> None:
    headers, body = await arrange(tenant)
    async with second.transaction():
        await second.execute(
            "INSERT INTO idempotency_keys (organisation_id, uid, body_digest, created_at) "
            "VALUES ($1, $2, '\\x00', now())",
            tenant.id,
            hashlib.sha256(b"register_visit\ntry-1").hexdigest(),
        )
        began = time.monotonic()
        answer = await client.post(REGISTER, json=body, headers=headers)
        seconds = time.monotonic() - began
        assert (answer.status_code, answer.json()) == (
            409,
            {"error": "A request with this Idempotency-Key is still in progress"},
        )
        assert 1.9 < seconds < 4.9, "the lock's two seconds, and not the statement's five"
        assert answer.headers["ratelimit"]
        # Other keys go on meanwhile.
        more = {**headers, "Idempotency-Key": "try-2"}
        assert (await client.post(REGISTER, json=body, headers=more)).status_code == 201
        await second.execute(
            "DELETE FROM idempotency_keys WHERE organisation_id = $1 AND body_digest = '\\x00'", tenant.id
        )
    # It was not kept: once the twin is gone, the request is looked at anew.
    assert (await client.post(REGISTER, json=body, headers=headers)).status_code == 409


async def test_a_twin_that_fails_leaves_the_way_free(
    client: httpx.AsyncClient, tenant: Tenant, second: Connection
) -> None:
    headers, body = await arrange(tenant)
    transaction = second.transaction()
    await transaction.start()
    await second.execute(
        "INSERT INTO idempotency_keys (organisation_id, uid, body_digest, created_at) "
        "VALUES ($1, $2, '\\x00', now())",
        tenant.id,
        hashlib.sha256(b"register_visit\ntry-1").hexdigest(),
    )
    sent = asyncio.create_task(client.post(REGISTER, json=body, headers=headers))
    await until_waiting(second, 1)
    await transaction.rollback()
    assert (await sent).status_code == 201


async def test_a_twin_with_another_body_in_flight(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers, body = await arrange(tenant)
    bodies = [body, {**body, "visit_reason": "other"}]
    answers = await asyncio.gather(*(client.post(REGISTER, json=one, headers=headers) for one in bodies * 5))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [422] * 5
    assert len({answer.content for answer in answers}) == 2
    assert await count(tenant, "waiting_room_visits") == 1


async def test_the_kept_answer_outlives_what_the_outside_says(
    cluster: embedded.Address, tenant: Tenant
) -> None:
    """A name that leads elsewhere by now changes nothing of what was answered before."""
    addresses = ["93.184.216.34"]

    async def resolve(_name: str, _port: int) -> list[str]:
        return addresses

    async with in_process(cluster, resolver=resolve) as running:
        headers = {**await tenant.headers(), "Idempotency-Key": "k"}
        body = {"notification_type": "order_created", "target": "https://hooks.example/"}
        first = await running.client.post(SUBSCRIBE, json=body, headers=headers)
        assert first.status_code == 201
        addresses[:] = ["10.0.0.1"]
        again = await running.client.post(SUBSCRIBE, json=body, headers=headers)
        assert (again.status_code, again.content) == (201, first.content)
        other = await running.client.post(SUBSCRIBE, json={**body, "meta_data": {}}, headers=headers)
        assert other.json() == {"error": "This Idempotency-Key was used with another body"}
        anew = await running.client.post(SUBSCRIBE, json=body, headers={**headers, "Idempotency-Key": "l"})
        assert (anew.status_code, anew.json()["field"]) == (422, "target")
