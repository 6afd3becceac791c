"""The waiting room under many clients at once, against real server processes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from tests.conftest import BASE, Live, start_live, stop_live
from tests.factories import Tenant

from rxdesk.db import embedded
from rxdesk.db.pool import Connection

POSITIONS = """
SELECT uid, count(*) OVER (PARTITION BY shop_uid ORDER BY turn) AS position FROM waiting_room_visits
WHERE organisation_id = $1 AND status = 'waiting'"""


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def crowd_server(request: pytest.FixtureRequest, cluster: embedded.Address) -> Iterator[Live]:
    server = start_live(cluster, workers=request.param)
    yield server
    stop_live(server)


@pytest.fixture
async def crowd(crowd_server: Live) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(
        base_url=crowd_server.url + BASE, trust_env=False, timeout=15, limits=limits
    ) as session:
        yield session


async def send(
    client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str], body: object = None
) -> httpx.Response:
    """Send until it is served: a server that is asked for more than it can do says so, and to come again."""
    until = time.monotonic() + 30
    while True:
        answer = await client.request(method, path, json=body, headers=headers)
        if answer.status_code != 503 or time.monotonic() > until:
            return answer
        assert answer.headers["retry-after"] == "1"


async def test_a_hundred_patients_at_once(crowd: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    shop = await tenant.insert("shops")
    patients = [await tenant.insert("patients") for _ in range(100)]

    async def register(patient: str) -> httpx.Response:
        body = {"shop_uid": shop, "patient_profile_uid": patient}
        return await send(crowd, "POST", "/waiting-room/register", headers, body)

    answers = await asyncio.gather(*map(register, patients))
    assert {answer.status_code for answer in answers} == {201}
    places = {answer.json()["queue_uid"]: answer.json() for answer in answers}
    assert sorted(place["position"] for place in places.values()) == list(range(1, 101))
    for uid, place in places.items():
        status = (await send(crowd, "GET", f"/waiting-room/{uid}/status", headers)).json()
        assert status["position"] == place["position"]
    rows = await tenant.rows(POSITIONS)
    assert {row["uid"]: row["position"] for row in rows} == {
        uid: place["position"] for uid, place in places.items()
    }


async def test_one_patient_twenty_times_at_once(crowd: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    body = {"shop_uid": await tenant.insert("shops"), "patient_profile_uid": await tenant.insert("patients")}
    answers = await asyncio.gather(
        *(send(crowd, "POST", "/waiting-room/register", headers, body) for _ in range(20))
    )
    [made] = [answer for answer in answers if answer.status_code == 201]
    uid = made.json()["queue_uid"]
    assert made.json()["position"] == 1
    others = [(answer.status_code, answer.json()) for answer in answers if answer is not made]
    assert others == [(409, {"error": "Patient is already waiting", "queue_uid": uid})] * 19
    assert len(await tenant.rows("SELECT uid FROM waiting_room_visits WHERE organisation_id = $1")) == 1


async def test_who_was_answered_before_another_came_is_ahead_of_it(
    crowd: httpx.AsyncClient, tenant: Tenant
) -> None:
    headers = await tenant.headers()
    shop = await tenant.insert("shops")
    patients = [await tenant.insert("patients") for _ in range(60)]
    spans: list[tuple[float, float, int]] = []

    async def clerk(mine: list[str]) -> None:
        for patient in mine:
            body = {"shop_uid": shop, "patient_profile_uid": patient}
            began = time.monotonic()
            answer = await send(crowd, "POST", "/waiting-room/register", headers, body)
            spans.append((began, time.monotonic(), answer.json()["position"]))

    await asyncio.gather(*(clerk(patients[start::6]) for start in range(6)))
    assert sorted(position for _, _, position in spans) == list(range(1, 61))
    for _, ended, ahead in spans:
        assert all(position > ahead for began, _, position in spans if began > ended)


async def test_coming_and_going(crowd: httpx.AsyncClient, tenant: Tenant, app_connection: Connection) -> None:
    """Registrations and cancellations of several clients; at no time have two patients one position."""
    headers = await tenant.headers()
    shop = await tenant.insert("shops")
    patients = [await tenant.insert("patients") for _ in range(40)]
    chance = random.Random(919)
    gone: set[str] = set()
    standing: dict[str, str] = {}
    done = asyncio.Event()

    async def patient(uid: str, rounds: int) -> None:
        body = {"shop_uid": shop, "patient_profile_uid": uid}
        for _ in range(rounds):
            answer = await send(crowd, "POST", "/waiting-room/register", headers, body)
            assert answer.status_code == 201, answer.text
            standing[uid] = answer.json()["queue_uid"]
            if chance.random() < 0.7:
                queue_uid = standing.pop(uid)
                twice = [send(crowd, "DELETE", f"/waiting-room/{queue_uid}", headers) for _ in range(2)]
                assert {a.status_code for a in await asyncio.gather(*twice)} == {204}
                gone.add(queue_uid)
            else:
                break

    async def watch() -> int:
        looks = 0
        while not done.is_set():
            positions = [row["position"] for row in await tenant.rows(POSITIONS)]
            assert sorted(positions) == list(range(1, len(positions) + 1))
            looks += 1
            await asyncio.sleep(0.01)
        return looks

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(patient(uid, 4) for uid in patients))
    done.set()
    assert await watching > 3
    rows = {row["uid"]: row["position"] for row in await tenant.rows(POSITIONS)}
    assert set(rows) == set(standing.values())
    assert sorted(rows.values()) == list(range(1, len(standing) + 1))
    for uid, position in rows.items():
        status = (await send(crowd, "GET", f"/waiting-room/{uid}/status", headers)).json()
        assert (status["status"], status["position"]) == ("waiting", position)
    for uid in gone:
        status = (await send(crowd, "GET", f"/waiting-room/{uid}/status", headers)).json()
        assert (status["status"], status["position"]) == ("cancelled", None)


async def test_registering_and_cancelling_the_same_patient_at_once(
    crowd: httpx.AsyncClient, tenant: Tenant
) -> None:
    """Whoever wins, a refusal names the visit that stood in the way, and one visit at most is left."""
    headers = await tenant.headers()
    body = {"shop_uid": await tenant.insert("shops"), "patient_profile_uid": await tenant.insert("patients")}
    for _ in range(10):
        first = (await send(crowd, "POST", "/waiting-room/register", headers, body)).json()["queue_uid"]
        answers = await asyncio.gather(
            send(crowd, "DELETE", f"/waiting-room/{first}", headers),
            *(send(crowd, "POST", "/waiting-room/register", headers, body) for _ in range(4)),
        )
        assert answers[0].status_code == 204
        made = {a.json()["queue_uid"] for a in answers[1:] if a.status_code == 201}
        refused = [a.json() for a in answers[1:] if a.status_code == 409]
        assert len(made) <= 1
        assert len(made) + len(refused) == 4
        assert {body["queue_uid"] for body in refused} <= {first, *made}
        left = {row["uid"] for row in await tenant.rows(POSITIONS)}
        assert left == made
        for uid in left:
            assert (await send(crowd, "DELETE", f"/waiting-room/{uid}", headers)).status_code == 204
