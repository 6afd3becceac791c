"""Many doctors call many patients while some cancel: each exactly once, none both, against real server processes."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from tests.conftest import Live, start_live, stop_live
from tests.factories import Tenant

from rxdesk.db import embedded

_PATIENTS = """
INSERT INTO patients (organisation_id, uid, created_at, updated_at, actor_kind, actor_uid)
SELECT $1, 'pp-' || n, now(), now(), 'operator', 'test' FROM generate_series(1, $2::int) n"""
_VISITS = """
INSERT INTO waiting_room_visits (organisation_id, uid, shop_uid, patient_uid, status, turn, created_at, updated_at,
  actor_kind, actor_uid)
SELECT $1, 'q-' || n, $2, 'pp-' || n, 'waiting', n, now(), now(), 'operator', 'test'
FROM generate_series(1, $3::int) n"""


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    body: Any


async def ask(
    client: aiohttp.ClientSession, method: str, path: str, headers: dict[str, str], body: Any = None
) -> Answer:
    """Ask until it is served: a server that is asked for more than it can do says so, and to come again."""
    until = time.monotonic() + 60
    while True:
        async with client.request(method, path, json=body, headers=headers) as answer:
            if answer.status != 503 or time.monotonic() > until:
                return Answer(answer.status, None if answer.status == 204 else await answer.json())


async def rush(live: Live, tenant: Tenant, *, doctors: int, patients: int, cancelling: int) -> float:
    """Let the doctors call until nobody waits, while patients at random places cancel; gives the seconds."""
    shop, headers = await tenant.insert("shops"), await tenant.headers()
    uids = [await tenant.insert("doctors") for _ in range(doctors)]
    await tenant.connection.execute(_PATIENTS, tenant.id, patients)
    await tenant.connection.execute(_VISITS, tenant.id, shop, patients)
    leaving = random.Random(7).sample([f"q-{n}" for n in range(1, patients + 1)], cancelling)
    desk = "/v1/operations/waiting-room"
    called: list[tuple[str, str]] = []
    rooms: set[str] = set()
    # A light client: what is measured is the server, and all share the machine.
    connector = aiohttp.TCPConnector(limit=doctors + 20)
    async with aiohttp.ClientSession(live.url, connector=connector) as client:
        for uid in uids:
            body = {"shop_uids": [shop]}
            assert (await ask(client, "POST", f"{desk}/doctors/{uid}/on-duty", headers, body)).status == 200

        async def work(doctor: str) -> None:
            while True:
                answer = await ask(client, "POST", f"{desk}/doctors/{doctor}/call-next", headers)
                if answer.status == 204:
                    return
                assert answer.status == 200, answer.body
                visit = answer.body
                called.append((visit["queue_uid"], doctor))
                rooms.add(visit["video_room_id"])

        async def leave(uid: str) -> None:
            path = f"/v1/management/waiting-room/{uid}"
            assert (await ask(client, "DELETE", path, headers)).status == 204

        begun = time.monotonic()
        await asyncio.gather(*map(work, uids), *map(leave, leaving))
        seconds = time.monotonic() - begun
    rows = await tenant.rows(
        "SELECT uid, status, doctor_uid, allocated_at FROM waiting_room_visits WHERE organisation_id = $1"
    )
    by_uid = {row["uid"]: row for row in rows}
    assert set(Counter(uid for uid, _ in called).values()) == {1}, "called once"
    assert len(rooms) == len(called)
    given = dict(called)
    left = set(leaving)
    for uid, row in by_uid.items():
        assert row["status"] == ("cancelled" if uid in left else "allocated"), uid
        # One who cancelled may have been called before, and by the doctor who was told so.
        assert row["doctor_uid"] == given.get(uid), uid
        assert (row["allocated_at"] is None) == (uid not in given), uid
    assert set(given) >= set(by_uid) - left
    told = await tenant.rows(
        "SELECT subject_uid, convert_from(body, 'UTF8')::jsonb #>> '{data,status}' AS status FROM events "
        "WHERE organisation_id = $1"
    )
    expected = Counter({(uid, "allocated"): 1 for uid in given} | {(uid, "cancelled"): 1 for uid in leaving})
    assert Counter((row["subject_uid"], row["status"]) for row in told) == expected
    return seconds


async def test_some_at_once(live: Live, tenant: Tenant) -> None:
    await rush(live, tenant, doctors=8, patients=60, cancelling=15)


@pytest.mark.proof
@pytest.mark.parametrize("workers", [1, 2])
async def test_fifty_doctors_a_thousand_patients_and_a_hundred_who_leave(
    cluster: embedded.Address,
    tenant: Tenant,
    share: Callable[[int], int],
    workers: int,
    record_property: Callable[[str, object], None],
) -> None:
    server = start_live(cluster, workers=workers)
    try:
        seconds = await rush(server, tenant, doctors=share(50), patients=share(1000), cancelling=share(100))
    finally:
        stop_live(server)
    record_property("seconds_of_calls", round(seconds, 2))
    assert seconds < 10


async def test_two_doctors_end_one_visit_at_once(live: Live, tenant: Tenant) -> None:
    """Once handed over and once ended: of many who end it one does."""
    shop, headers = await tenant.insert("shops"), await tenant.headers()
    doctor = await tenant.insert("doctors")
    await tenant.connection.execute(_PATIENTS, tenant.id, 1)
    await tenant.connection.execute(_VISITS, tenant.id, shop, 1)
    desk = "/v1/operations/waiting-room"
    async with aiohttp.ClientSession(live.url) as client:
        body: Any = {"shop_uids": [shop]}
        await ask(client, "POST", f"{desk}/doctors/{doctor}/on-duty", headers, body)
        await ask(client, "POST", f"{desk}/doctors/{doctor}/call-next", headers)
        body = {"doctor_uid": doctor, "outcome": "treated"}
        ends = [
            ask(client, "POST", f"{desk}/visits/q-1/complete", headers, body),
            ask(client, "POST", f"{desk}/visits/q-1/no-show", headers, {"doctor_uid": doctor}),
            ask(client, "POST", f"{desk}/visits/q-1/cancel", headers, {"doctor_uid": doctor}),
            ask(client, "POST", f"{desk}/visits/q-1/complete", headers, body),
        ]
        answers = await asyncio.gather(*ends)
    assert sorted(answer.status for answer in answers) in ([200, 409, 409, 409], [200, 200, 409, 409])
    rows = await tenant.rows(
        "SELECT new_value FROM changes WHERE organisation_id = $1 AND subject_uid = 'q-1' AND subject_kind = 'visit' "
        "ORDER BY changed_at, uid"
    )
    steps = [row["new_value"] for row in rows]
    # One ended it; or it went back to the queue, and was cancelled there.
    assert steps in (
        ["allocated", "completed"],
        ["allocated", "cancelled"],
        ["allocated", "waiting"],
        ["allocated", "waiting", "cancelled"],
    )


@pytest.mark.parametrize("had", ["by one of them", "by nobody known"])
async def test_two_doctors_complete_one_visit_at_once(live: Live, tenant: Tenant, had: str) -> None:
    """One does, the other is refused, and it is told and noted once.

    Nobody knows who has an imported visit: whoever is first had it.
    """
    shop, headers = await tenant.insert("shops"), await tenant.headers()
    doctors = [await tenant.insert("doctors") for _ in range(2)]
    visits = 10
    await tenant.connection.execute(_PATIENTS, tenant.id, visits)
    await tenant.connection.execute(_VISITS, tenant.id, shop, visits)
    desk = "/v1/operations/waiting-room"
    async with aiohttp.ClientSession(live.url) as client:

        async def act(path: str, body: Any = None) -> Answer:
            return await ask(client, "POST", desk + path, headers, body)

        for doctor in doctors:
            await act(f"/doctors/{doctor}/on-duty", {"shop_uids": [shop]})
        for number in range(1, visits + 1):
            uid = f"q-{number}"
            if had == "by one of them":
                await act(f"/doctors/{doctors[number % 2]}/call-next")
            else:
                await tenant.update("waiting_room_visits", uid, status="allocated")
            ends = [
                act(f"/visits/{uid}/complete", {"doctor_uid": doctor, "outcome": outcome})
                for doctor, outcome in zip(doctors, ("treated", "referred"), strict=True)
            ]
            answers = await asyncio.gather(*ends)
            assert sorted(answer.status for answer in answers) == [200, 409]
            [done] = [answer.body for answer in answers if answer.status == 200]
            if had == "by one of them":
                assert done["doctor_uid"] == doctors[number % 2]
            [row] = await tenant.rows(
                "SELECT status, doctor_uid, outcome FROM waiting_room_visits WHERE organisation_id = $1 AND uid = $2",
                uid,
            )
            assert row == {name: done[name] for name in ("status", "doctor_uid", "outcome")}
    told = await tenant.rows(
        "SELECT subject_uid FROM events WHERE organisation_id = $1 "
        "AND convert_from(body, 'UTF8')::jsonb #>> '{data,status}' = 'completed'"
    )
    noted = await tenant.rows(
        "SELECT subject_uid FROM changes WHERE organisation_id = $1 AND new_value = 'completed'"
    )
    assert len(told) == len(noted) == visits
