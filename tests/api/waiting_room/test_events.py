"""What the waiting room tells of: in the transaction of the change, thin, and for one more statement."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import InProcess
from tests.factories import Tenant

from rxdesk.kit.clock import unix


async def told(tenant: Tenant) -> list[dict[str, Any]]:
    rows = await tenant.rows(
        "SELECT event_type, body FROM events WHERE organisation_id = $1 ORDER BY position"
    )
    assert {row["event_type"] for row in rows} <= {"waiting_room_updated"}
    return [json.loads(row["body"])["data"] for row in rows]


async def test_registered_and_cancelled(inside: InProcess, tenant: Tenant) -> None:
    headers = await tenant.headers()
    body = {"shop_uid": await tenant.insert("shops"), "patient_profile_uid": await tenant.insert("patients")}
    body["visit_reason"] = "a secret of the patient's"
    begun = unix(inside.clock.moment)
    answer = await inside.client.post("/waiting-room/register", json=body, headers=headers)
    uid = answer.json()["queue_uid"]
    again = await inside.client.post("/waiting-room/register", json=body, headers=headers)
    assert (answer.status_code, again.status_code) == (201, 409)
    inside.clock.moment = inside.clock.moment.replace(minute=30)
    for _ in range(2):  # the second time nothing changes
        assert (await inside.client.delete(f"/waiting-room/{uid}", headers=headers)).status_code == 204
    assert await told(tenant) == [
        {"uid": uid, "status": "waiting", "created_at": begun, "updated_at": begun},
        {"uid": uid, "status": "cancelled", "created_at": begun, "updated_at": begun + 1800},
    ]


async def test_a_step_and_its_event_are_one_statement(inside: InProcess, tenant: Tenant) -> None:
    headers = await tenant.headers()
    shop = await tenant.insert("shops")

    async def register() -> str:
        body = {"shop_uid": shop, "patient_profile_uid": await tenant.insert("patients")}
        answer = await inside.client.post("/waiting-room/register", json=body, headers=headers)
        return str(answer.json()["queue_uid"])

    await register()
    inside.statements.clear()
    uid = await register()
    assert len(inside.statements) == 1, inside.statements  # which says as well who asks
    inside.statements.clear()
    await inside.client.delete(f"/waiting-room/{uid}", headers=headers)
    assert len(inside.statements) == 1, inside.statements
