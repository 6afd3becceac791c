"""POST /waiting-room/register (contract, section 2, route 9)."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from tests.conftest import InProcess
from tests.factories import LONG_AGO, Tenant

PATH = "/waiting-room/register"


async def register(
    client: httpx.AsyncClient, headers: dict[str, str], shop: str, patient: str, **more: object
) -> httpx.Response:
    body = {"shop_uid": shop, "patient_profile_uid": patient, **more}
    return await client.post(PATH, json=body, headers=headers)


async def visits(tenant: Tenant) -> list[dict[str, Any]]:
    return await tenant.rows("SELECT * FROM waiting_room_visits WHERE organisation_id = $1 ORDER BY turn")


async def test_first_come_first_served(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers("waiting_room:write")
    shop = await tenant.insert("shops")
    for position in (1, 2, 3):
        answer = await register(client, headers, shop, await tenant.insert("patients"))
        assert answer.status_code == 201
        assert answer.headers["content-type"] == "application/json"
        body = answer.json()
        assert re.fullmatch(r"q-[0-9A-HJKMNP-TV-Z]{26}", body["queue_uid"])
        assert body == {
            "queue_uid": body["queue_uid"],
            "position": position,
            "estimated_wait_minutes": body["estimated_wait_minutes"],
        }


async def test_what_is_stored(inside: InProcess, tenant: Tenant) -> None:
    made = await tenant.new_key("waiting_room:write")
    shop, patient, doctor = [await tenant.insert(table) for table in ("shops", "patients", "doctors")]
    answer = await register(
        inside.client,
        {"X-API-Key": made.key},
        shop,
        patient,
        preferred_doctor_uid=doctor,
        visit_reason="Nächste Folgeverordnung 💊",
    )
    assert await visits(tenant) == [
        {
            "organisation_id": tenant.id,
            "uid": answer.json()["queue_uid"],
            "shop_uid": shop,
            "patient_uid": patient,
            "preferred_doctor_uid": doctor,
            "visit_reason": "Nächste Folgeverordnung 💊",
            "status": "waiting",
            "turn": 1,
            "doctor_uid": None,
            "video_room_id": None,
            "created_at": inside.clock.moment,
            "updated_at": inside.clock.moment,
            "allocated_at": None,
            "ended_at": None,
            "deleted_at": None,
            "no_shows": 0,
            "requeued_at": None,
            "passed_over_at": None,
            "outcome": None,
            "end_reason": None,
            "estimated_minutes": answer.json()["estimated_wait_minutes"],
            "estimated_low": None,  # no doctor is on duty
            "estimated_high": None,
            "first_allocated_at": None,
            "actor_kind": "key",
            "actor_uid": made.uid,
        }
    ]


async def test_optional_members_may_be_null_or_absent(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers("waiting_room:write")
    shop = await tenant.insert("shops")
    for more in ({}, {"preferred_doctor_uid": None}, {"visit_reason": None}, {"visit_reason": ""}):
        answer = await register(client, headers, shop, await tenant.insert("patients"), **more)
        assert answer.status_code == 201, answer.text
    assert {row["preferred_doctor_uid"] for row in await visits(tenant)} == {None}


@pytest.mark.parametrize("letter", ["x", "ä", "💊", "\u0301"])
async def test_a_reason_has_up_to_500_characters(
    client: httpx.AsyncClient, tenant: Tenant, letter: str
) -> None:
    """A character is a Unicode code point."""
    headers = await tenant.headers("waiting_room:write")
    shop, patient = await tenant.insert("shops"), await tenant.insert("patients")
    answer = await register(client, headers, shop, patient, visit_reason=letter * 501)
    assert (answer.status_code, answer.json()) == (
        400,
        {
            "error": "Validation failed",
            "details": [
                {"field": "visit_reason", "location": "body", "message": "must be a string of length <= 500"}
            ],
        },
    )
    assert await visits(tenant) == []
    assert (await register(client, headers, shop, patient, visit_reason=letter * 500)).status_code == 201


async def test_references_that_are_not_ours(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    headers = await tenant.headers("waiting_room:write")
    good = {
        "shop_uid": await tenant.insert("shops"),
        "patient_profile_uid": await tenant.insert("patients"),
        "preferred_doctor_uid": await tenant.insert("doctors"),
    }
    tables = {"shop_uid": "shops", "patient_profile_uid": "patients", "preferred_doctor_uid": "doctors"}
    for field, table in tables.items():
        deleted = await tenant.insert(table, deleted_at=LONG_AGO)
        foreign = await other.insert(table)
        for uid in (deleted, foreign, "none", "", "a b", "x" * 10_000, "💊", good["shop_uid"] + " ", "%"):
            answer = await client.post(PATH, json={**good, field: uid}, headers=headers)
            assert answer.status_code == 404
            assert answer.content == b'{"error":"Resource not found","field":"%s"}' % field.encode()
    # The first that is missing is named, in the order of the contract.
    for fields in (tuple(tables), tuple(tables)[1:]):
        answer = await client.post(PATH, json={**good, **dict.fromkeys(fields, "none")}, headers=headers)
        assert answer.json() == {"error": "Resource not found", "field": fields[0]}
    assert await visits(tenant) == []
    assert await visits(other) == []


async def test_a_row_of_another_kind_is_no_reference(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers("waiting_room:write")
    shop, patient = await tenant.insert("shops"), await tenant.insert("patients")
    answer = await register(client, headers, patient, shop)
    assert (answer.status_code, answer.json()["field"]) == (404, "shop_uid")


async def test_a_patient_already_there(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers("waiting_room:write")
    shop, patient = await tenant.insert("shops"), await tenant.insert("patients")
    uid = (await register(client, headers, shop, patient)).json()["queue_uid"]
    for status in ("waiting", "allocated"):
        await tenant.update("waiting_room_visits", uid, status=status)
        answer = await register(client, headers, shop, patient)
        assert answer.status_code == 409
        assert answer.content == b'{"error":"Patient is already waiting","queue_uid":"%s"}' % uid.encode()
    for status in ("completed", "cancelled"):
        await tenant.update("waiting_room_visits", uid, status=status)
        answer = await register(client, headers, shop, patient)
        assert (answer.status_code, answer.json()["position"]) == (201, 1)
        uid = answer.json()["queue_uid"]
    assert len(await visits(tenant)) == 3


async def test_a_deleted_visit_is_none(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers("waiting_room:write")
    shop, patient = await tenant.insert("shops"), await tenant.insert("patients")
    await tenant.insert(
        "waiting_room_visits", shop_uid=shop, patient_uid=patient, turn=7_000_000, deleted_at=LONG_AGO
    )
    answer = await register(client, headers, shop, patient)
    assert (answer.status_code, answer.json()["position"]) == (201, 1)


async def test_two_shops_have_two_queues(client: httpx.AsyncClient, tenant: Tenant, other: Tenant) -> None:
    headers = await tenant.headers("waiting_room:write")
    shops = [await tenant.insert("shops") for _ in range(2)]
    patients = [await tenant.insert("patients") for _ in range(2)]
    for position, patient in enumerate(patients, start=1):
        for shop in shops:
            answer = await register(client, headers, shop, patient)
            assert (answer.status_code, answer.json()["position"]) == (201, position)
    foreign = await register(
        client, await other.headers(), await other.insert("shops"), await other.insert("patients")
    )
    assert foreign.json()["position"] == 1


async def test_faulty_bodies_name_each_member(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers("waiting_room:write")
    for body, fields in (
        ({}, ["shop_uid", "patient_profile_uid"]),
        ({"shop_uid": None, "patient_profile_uid": 1}, ["shop_uid", "patient_profile_uid"]),
        (
            {"shop_uid": "s", "preferred_doctor_uid": [], "visit_reason": 5, "extra": 1},
            ["patient_profile_uid", "preferred_doctor_uid", "visit_reason", "extra"],
        ),
        ([], [""]),
        ("text", [""]),
        (None, [""]),
    ):
        answer = await client.post(PATH, content=json.dumps(body), headers=headers)
        assert answer.status_code == 400
        assert answer.json()["error"] == "Validation failed"
        assert [detail["field"] for detail in answer.json()["details"]] == fields
        assert {detail["location"] for detail in answer.json()["details"]} == {"body"}
