"""The steps of a prescription: who may, what is refused, its times, and thirty who decide at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest
from tests.api.operations.conftest import Desk
from tests.conftest import InProcess
from tests.factories import Tenant

from rxdesk.access import Transaction, run_command
from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.kit.clock import utc_now
from rxdesk.kit.sealing import Sealer, new_keys, read_keys
from rxdesk.organisations.commands import enter
from rxdesk.prescriptions import commands
from rxdesk.prescriptions.schemas import Signature

VERBS = ("assign", "approve", "decline", "hold", "resume", "sign", "cancel")


async def prescription(desk: Desk, *, assigned: bool = True) -> str:
    return str((await desk.order(1, assigned=assigned))["prescription_uids"][0])


async def test_held_and_resumed_where_it_was(desk: Desk) -> None:
    uid = await prescription(desk)
    path = f"/prescriptions/{uid}"
    for approved, back in ((False, "waiting_for_doctor"), (True, "approved")):
        if approved:
            await desk.done(f"{path}/approve")
        assert (await desk.done(f"{path}/hold", {"reason": "a value"}))["status"] == "on_hold"
        told = await desk.refused(f"{path}/sign")
        assert told["allowed"] == [back, "declined", "cancelled"]
        assert (await desk.done(f"{path}/resume"))["status"] == back
    assert (await desk.refused(f"{path}/resume"))["error"] == "A prescription that is approved is not on hold"


async def test_only_an_active_doctor_who_may_sign_signs(desk: Desk) -> None:
    uid = await prescription(desk, assigned=False)
    path, doctor = f"/prescriptions/{uid}", desk.uids["doctor"]
    told = await desk.refused(f"{path}/approve")
    assert told == {"error": "No doctor has this prescription: assign one first"}
    idle = await desk.tenant.insert("doctors", active=False)
    assert await desk.refused(f"{path}/assign", {"doctor_uid": idle}) == {"error": "The doctor is not active"}
    await desk.done(f"{path}/assign", {"doctor_uid": doctor})
    await desk.done(f"{path}/approve")
    await desk.tenant.update("doctors", doctor, can_sign_prescriptions=False)
    told = await desk.refused(f"{path}/sign")
    assert told == {"error": "The doctor of this prescription may not sign prescriptions"}
    await desk.tenant.update("doctors", doctor, can_sign_prescriptions=True, active=False)
    told = await desk.refused(f"{path}/sign")
    assert told == {"error": "The doctor of this prescription is not active"}
    await desk.tenant.update("doctors", doctor, active=True)
    assert (await desk.done(f"{path}/sign"))["status"] == "signed"


async def test_a_doctor_who_is_not_ours(desk: Desk, other: Tenant) -> None:
    uid = await prescription(desk)
    for doctor in ("none", await other.insert("doctors")):
        answer = await desk.post(f"/prescriptions/{uid}/assign", {"doctor_uid": doctor})
        assert answer.status_code == 404
        assert answer.json() == {"error": "Resource not found", "field": "doctor_uid"}


async def test_another_doctor_begins_anew(inside: InProcess, desk: Desk) -> None:
    """Assignment and decision are timed for the statistics: the first decision since the present assignment."""
    doctor, second = desk.uids["doctor"], await desk.tenant.insert("doctors")
    order = await desk.tenant.insert("orders")
    uid = await desk.tenant.insert("prescriptions", order_uid=order)
    headers = {"X-API-Key": await desk.tenant.key("prescription:write")}

    async def at(hour: int, verb: str, body: object = None) -> tuple[datetime | None, datetime | None]:
        inside.clock.moment = datetime(2026, 3, 4, hour, tzinfo=UTC)
        path = f"http://test/v1/operations/prescriptions/{uid}/{verb}"
        answer = await inside.client.post(path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        [row] = await desk.tenant.rows(
            "SELECT assigned_at, decided_at FROM prescriptions WHERE organisation_id = $1 AND uid = $2", uid
        )
        return row["assigned_at"], row["decided_at"]

    def hour(number: int) -> datetime:
        return datetime(2026, 3, 4, number, tzinfo=UTC)

    assert await at(1, "assign", {"doctor_uid": doctor}) == (hour(1), None)
    assert await at(2, "assign", {"doctor_uid": doctor}) == (hour(1), None)  # he had it already
    assert await at(3, "approve") == (hour(1), hour(3))
    assert await at(4, "hold", {"reason": "x"}) == (hour(1), hour(3))
    assert await at(5, "resume") == (hour(1), hour(3))
    assert await at(6, "hold", {"reason": "x"}) == (hour(1), hour(3))
    assert await at(7, "assign", {"doctor_uid": second}) == (hour(7), None)
    assert await at(8, "resume") == (hour(7), None)
    assert await desk.status("prescriptions", uid) == "waiting_for_doctor"
    assert await at(6, "approve") == (hour(7), hour(7))  # a clock that was put back
    assert await at(9, "sign") == (hour(7), hour(7))


async def test_in_an_order_that_has_ended(desk: Desk) -> None:
    order = await desk.tenant.insert("orders", status="completed")
    uid = await desk.tenant.insert("prescriptions", order_uid=order, doctor_uid=desk.uids["doctor"])
    told = await desk.refused(f"/prescriptions/{uid}/approve")
    assert told == {"error": "The order is completed", "allowed": []}
    assert (await desk.done(f"/prescriptions/{uid}/cancel"))["status"] == "cancelled"
    assert await desk.status("orders", order) == "completed"


async def test_all_cancelled(desk: Desk) -> None:
    made = await desk.order(2)
    first, second = made["prescription_uids"]
    await desk.done(f"/prescriptions/{first}/cancel", {"reason": "not wanted"})
    assert await desk.status("orders", made["uid"]) == "init"
    await desk.done(f"/prescriptions/{second}/cancel")
    assert await desk.status("orders", made["uid"]) == "prescription not found"


@pytest.mark.parametrize("verb", ["decline", "hold"])
async def test_a_reason_must_be_said(desk: Desk, verb: str) -> None:
    uid = await prescription(desk)
    refused: list[Any] = [
        None,
        {},
        *({"reason": reason} for reason in ("", "x" * 501, " \t", "\u200b\u00a0")),
    ]
    for body in refused:
        assert (await desk.post(f"/prescriptions/{uid}/{verb}", body)).status_code == 400
    await desk.done(f"/prescriptions/{uid}/{verb}", {"reason": "said"})
    page = (await desk.client.get(f"/prescriptions/{uid}/history", headers=desk.headers)).json()
    assert [one["reason"] for one in page["data"]] == [None, None, "said"]


async def test_the_same_404_for_all_that_is_not_ours(desk: Desk, other: Tenant) -> None:
    theirs = await other.insert("prescriptions", order_uid=await other.insert("orders"))
    bodies = {
        "assign": {"doctor_uid": desk.uids["doctor"]},
        "decline": {"reason": "x"},
        "hold": {"reason": "x"},
    }
    answers = [
        await desk.post(f"/prescriptions/{uid}/{verb}", bodies.get(verb))
        for uid in ("none", theirs)
        for verb in VERBS
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {
        (404, '{"error":"Resource not found"}')
    }
    assert await other.rows("SELECT 1 FROM changes WHERE organisation_id = $1") == []


async def test_thirty_decide_at_once(desk: Desk) -> None:
    uid = await prescription(desk)
    before = len(await desk.events(uid))

    async def decide(number: int) -> httpx.Response:
        verb, body = ("decline", {"reason": "x"}) if number % 2 else ("approve", None)
        return await desk.post(f"/prescriptions/{uid}/{verb}", body)

    answers = await asyncio.gather(*map(decide, range(30)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 29}
    [won] = [answer.json()["status"] for answer in answers if answer.is_success]
    for answer in answers:
        if not answer.is_success:
            assert f"that is {won} cannot become" in answer.json()["error"]
    assert await desk.status("prescriptions", uid) == won
    assert len(await desk.events(uid)) == before + 1


async def test_two_of_one_order_are_signed_at_once(cluster: embedded.Address, desk: Desk) -> None:
    """The order's lock: the second signature waits for the first, or neither would see that all is signed."""
    await desk.offer()
    # By two doctors: the statistics of one would keep his signatures apart.
    doctors = [desk.uids["doctor"], await desk.tenant.insert("doctors")]
    made = await desk.order(2, assigned=False)
    for uid, doctor in zip(made["prescription_uids"], doctors, strict=True):
        await desk.done(f"/prescriptions/{uid}/assign", {"doctor_uid": doctor})
        await desk.done(f"/prescriptions/{uid}/approve")
    first, second = [await asyncpg.connect(**cluster.connect_args(embedded.APP)) for _ in range(2)]

    async def sign(connection: Connection, uid: str) -> None:
        await enter(connection, desk.tenant.id)
        tx = Transaction(connection, desk.tenant.id, "key", "key-1", utc_now(), Sealer(read_keys(new_keys())))
        await run_command(tx, lambda tx: commands.sign(tx, uid, Signature()))

    async def sign_and_commit() -> None:
        async with second.transaction():
            await sign(second, made["prescription_uids"][1])

    async def waits_for_a_lock() -> bool:
        found = await first.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", second.get_server_pid())
        return bool(found)

    try:
        async with first.transaction():
            await sign(first, made["prescription_uids"][0])
            other = asyncio.create_task(sign_and_commit())
            while not other.done() and not await waits_for_a_lock():
                pass
        await other
    finally:
        await first.close()
        await second.close()
    assert await desk.status("orders", made["uid"]) == "waiting for pharmacy"
    assert len(await desk.pharmacy_orders(made["uid"])) == 1
