"""Estimated waits through HTTP: what they follow, how often they are made, and that shops are not mixed."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.api.waiting_room.room import Room
from tests.conftest import FixedClock, InProcess, in_process
from tests.factories import Tenant
from tests.webhooks.engine import command

from rxdesk.db import embedded
from rxdesk.waiting_room import consultations, forecasts
from rxdesk.waiting_room.estimates.forward import SIMULATED
from rxdesk.waiting_room.estimates.lengths import Lengths
from rxdesk.waiting_room.snapshots import SNAPSHOT

NOBODY = "no_doctor_on_duty"


def made(inside: InProcess) -> int:
    """How many forecasts have been made: each reads its room once."""
    return sum(SNAPSHOT.query in statement for statement in inside.statements)


async def waits(room: Room, uid: str) -> int:
    """The estimate of a visit by now, when what was known a moment ago no longer serves."""
    room.later(seconds=1)
    body = await room.status(uid)
    low, high = body["estimated_wait_range"]
    assert 0 <= low <= body["estimated_wait_minutes"] <= high
    return int(body["estimated_wait_minutes"])


async def queue_of(room: Room, shop: str, count: int = 6, doctor: str | None = None) -> list[str]:
    return [await room.patient(shop, doctor) for _ in range(count)]


async def seen(room: Room, shop: str, doctor: str, minutes: float) -> None:
    """A patient comes and is seen for so long."""
    uid = await room.patient(shop)
    assert await room.call(doctor) == uid
    room.later(minutes=minutes)
    await room.done(f"/visits/{uid}/complete", {"doctor_uid": doctor, "outcome": "treated"})


async def test_doctors_come_and_pause_and_patients_go(room: Room) -> None:
    shop = await room.shop()
    queue = await queue_of(room, shop)
    last = queue[-1]
    assert (await room.status(last))["estimate_reason"] == NOBODY
    assumed = await waits(room, last)
    assert assumed > 20
    first = await room.doctor(shop)
    alone = await waits(room, last)
    assert (await room.status(last))["estimate_reason"] is None
    second = await room.doctor(shop)
    both = await waits(room, last)
    assert both < 0.75 * alone
    await room.done(f"/doctors/{second}/pause", {"minutes": 60})
    assert both < await waits(room, last) <= alone + 8  # as the one who is left may go
    await room.done(f"/doctors/{second}/resume")
    assert abs(await waits(room, last) - both) <= 1
    for uid in queue[1:4]:
        await room.inside.client.delete(f"/waiting-room/{uid}", headers=room.headers)
    assert await waits(room, last) < 0.7 * both
    for doctor in (first, second):
        await room.done(f"/doctors/{doctor}/off-duty")
    await waits(room, last)
    assert (await room.status(last))["estimate_reason"] == NOBODY


async def test_a_consultation_that_goes_on(room: Room) -> None:
    """The next one's estimate falls with time, though nothing changes, once what is kept is no longer fresh."""
    shop = await room.shop()
    doctor = await room.doctor(shop)
    _, following = await queue_of(room, shop, 2)
    await room.call(doctor)
    begun = await waits(room, following)
    room.inside.statements.clear()
    room.later(seconds=9)
    await room.status(following)
    assert made(room.inside) == 0
    room.later(minutes=5)
    await room.done(f"/doctors/{doctor}/heartbeat")
    assert await waits(room, following) < begun
    assert made(room.inside) == 1


async def test_a_doctor_who_is_away_is_not_counted(room: Room) -> None:
    shop = await room.shop()
    await room.doctor(shop)
    uid = await room.patient(shop)
    assert (await room.status(uid))["estimate_reason"] is None
    room.later(minutes=10)
    assert (await room.status(uid))["estimate_reason"] == NOBODY


async def test_a_preferred_doctor_who_never_comes(room: Room) -> None:
    """Is waited for by nobody: the estimate is that of a patient without a wish."""
    shop, other = await room.shop(), await room.shop()
    absent = await room.doctor()
    for one in (shop, other):
        await room.doctor(one)
    wanting = await queue_of(room, shop, 3, absent)
    plain = await queue_of(room, other, 3)
    for with_wish, without in zip(wanting, plain, strict=True):
        assert await waits(room, with_wish) == await waits(room, without)


async def test_a_wish_counts_from_the_first_poll_on(room: Room) -> None:
    """Though a forecast of a moment ago serves all others in that second."""
    shop = await room.shop()
    wanted, _ = await room.doctor(shop), await room.doctor(shop)
    busy = await room.patient(shop)
    assert await room.call(wanted) == busy
    room.later(seconds=1)
    plain = await room.patient(shop)
    without = (await room.status(plain))["estimated_wait_minutes"]
    wanting = await room.patient(shop, wanted)
    room.inside.statements.clear()
    first = await room.status(wanting)
    assert made(room.inside) == 1
    assert (await room.status(wanting)) == first
    assert made(room.inside) == 1
    assert first["estimated_wait_minutes"] > without
    assert await waits(room, wanting) == first["estimated_wait_minutes"]
    # Behind those who are walked through the position says it all.
    for _ in range(SIMULATED):
        await room.patient(shop)
    room.later(seconds=1)
    await room.status(plain)
    far = await room.patient(shop, wanted)
    room.inside.statements.clear()
    await room.status(far)
    assert made(room.inside) == 0


class Running(FixedClock):
    """A clock on which what was made is old whenever it is asked for again."""

    def __call__(self) -> datetime:
        self.moment += timedelta(seconds=20)
        return self.moment


async def test_opening_a_stream_asks_for_its_forecast_once(cluster: embedded.Address, tenant: Tenant) -> None:
    async with in_process(cluster, Running(), forecast_seconds=10) as inside:
        room = Room(inside, tenant, await tenant.headers())
        uid = await room.patient(await room.shop())
        inside.statements.clear()
        path = f"/v1/management/waiting-room/{uid}/events"
        assert (await inside.beginning(path, room.headers)).status_code == 200
        assert made(inside) == 1


async def test_a_preferred_doctor_on_duty_is_waited_for(room: Room) -> None:
    shop = await room.shop()
    wanted, _ = await room.doctor(shop), await room.doctor(shop)
    busy = await room.patient(shop)
    assert await room.call(wanted) == busy
    wanting, plain = await room.patient(shop, wanted), await room.patient(shop)
    assert await waits(room, wanting) > await waits(room, plain)


async def test_what_a_shop_says_counts_until_it_is_known_better(room: Room) -> None:
    short, long = await room.shop(consultation_minutes=5), await room.shop(consultation_minutes=30)
    many = await room.shop(consultation_minutes=30, doctors_on_duty=3)
    strange = await room.shop(consultation_minutes=2_147_483_647, doctors_on_duty=0)
    found = {}
    for shop in (short, long, many, strange):
        last = (await queue_of(room, shop))[-1]
        found[shop] = await waits(room, last)
        assert (await room.status(last))["estimate_reason"] == NOBODY
    assert found[long] > 3 * found[short]
    assert found[many] < 0.6 * found[long]
    # Once a doctor has been on duty, it is known who is: with nobody there one is assumed.
    last = await room.patient(many)
    doctor = await room.doctor(many)
    with_one = await waits(room, last)
    await room.done(f"/doctors/{doctor}/off-duty")
    assert abs(await waits(room, last) - with_one) < 0.2 * with_one


async def test_a_registration_is_told_what_its_status_says(room: Room) -> None:
    shop = await room.shop()
    await room.doctor(shop)
    for _ in range(3):
        await room.patient(shop)
        room.later(seconds=1)
    body = {"shop_uid": shop, "patient_profile_uid": await room.tenant.insert("patients")}
    answer = await room.inside.client.post("/waiting-room/register", json=body, headers=room.headers)
    place = answer.json()
    assert set(place) == {"queue_uid", "position", "estimated_wait_minutes"}
    assert place["position"] == 4
    assert abs(await waits(room, place["queue_uid"]) - place["estimated_wait_minutes"]) <= 1
    [row] = await room.tenant.rows(
        "SELECT estimated_minutes, estimated_low, estimated_high FROM waiting_room_visits "
        "WHERE organisation_id = $1 AND uid = $2",
        place["queue_uid"],
    )
    assert row["estimated_minutes"] == place["estimated_wait_minutes"]
    assert row["estimated_low"] <= row["estimated_minutes"] <= row["estimated_high"]


async def test_a_room_that_changes_all_the_time(room: Room) -> None:
    """Is estimated once a second; who is not in what was made is answered by position."""
    shop = await room.shop()
    await room.doctor(shop)
    await room.patient(shop)
    room.inside.statements.clear()
    found = [(await room.status(uid))["estimated_wait_minutes"] for uid in await queue_of(room, shop, 10)]
    assert made(room.inside) == 0
    assert found == sorted(found)
    assert found[-1] > found[0]
    room.later(seconds=1)
    await queue_of(room, shop, 5)
    assert made(room.inside) == 1


async def test_ten_thousand_wait_and_ask(room: Room) -> None:
    shop = await room.shop()
    await room.doctor(shop)
    await room.tenant.enter()
    connection, moment = room.tenant.connection, room.inside.clock.moment
    await connection.execute(
        "INSERT INTO patients (organisation_id, uid, created_at, updated_at, actor_kind, actor_uid) "
        "SELECT $1, 'p-' || n, $2, $2, 'system', 'test' FROM generate_series(1, 10000) n",
        room.tenant.id,
        moment,
    )
    await connection.execute(
        "INSERT INTO waiting_room_visits (organisation_id, uid, shop_uid, patient_uid, status, turn, created_at, "
        "updated_at, actor_kind, actor_uid) "
        "SELECT $1, 'w-' || n, $3, 'p-' || n, 'waiting', n, $2, $2, 'system', 'test' FROM generate_series(1, 10000) n",
        room.tenant.id,
        moment,
        shop,
    )
    room.inside.statements.clear()
    found = [await room.status(f"w-{number}") for number in range(1, 10_001, 50)]
    minutes = [body["estimated_wait_minutes"] for body in found]
    assert [body["position"] for body in found] == list(range(1, 10_001, 50))
    assert minutes == sorted(minutes)
    assert made(room.inside) == 1
    assert len(room.inside.statements) == len(found) + 1
    room.later(seconds=9)
    await room.status("w-10000")
    assert made(room.inside) == 1
    room.later(seconds=1)
    await room.status("w-10000")
    assert made(room.inside) == 2


async def test_all_who_ask_at_once_share_one(room: Room) -> None:
    shop = await room.shop()
    uids = await queue_of(room, shop)
    room.later(minutes=1)
    room.inside.statements.clear()
    await asyncio.gather(*(room.status(uid) for uid in uids * 5))
    assert made(room.inside) == 1


async def test_two_processes_agree(cluster: embedded.Address, room: Room) -> None:
    """As far as what each keeps is fresh: the same room at the same instant has the same estimate."""
    shop = await room.shop()
    await room.doctor(shop)
    queue = await queue_of(room, shop)
    async with in_process(cluster, room.inside.clock) as second:
        there = Room(second, room.tenant, room.headers)
        for room_or_there in (room, there):
            await room_or_there.status(queue[-1])
        await room.doctor(shop)  # the other process hears of it by the revision
        room.later(seconds=1)
        for uid in queue:
            assert await there.status(uid) == await room.status(uid)


async def test_shops_of_organisations_are_not_mixed(room: Room, other: Tenant) -> None:
    """Two shops of one uid, in one process."""
    uid = await room.shop(uid="same")
    theirs = Room(room.inside, other, await other.headers())
    await theirs.shop(uid="same")
    for _ in range(3):
        await theirs.doctor("same")
    mine, others = (await queue_of(room, uid))[-1], (await queue_of(theirs, "same"))[-1]
    room.later(seconds=1)
    alone, shared = await room.status(mine), await theirs.status(others)
    assert (alone["estimate_reason"], shared["estimate_reason"]) == (NOBODY, None)
    assert shared["estimated_wait_minutes"] < alone["estimated_wait_minutes"]
    foreign = {"shop_uid": "same", "patient_profile_uid": await room.tenant.insert("patients")}
    third = await room.shop()
    for headers, body, field in (
        (theirs.headers, {**foreign, "shop_uid": third}, "shop_uid"),
        (theirs.headers, foreign, "patient_profile_uid"),
    ):
        answer = await room.inside.client.post("/waiting-room/register", json=body, headers=headers)
        assert (answer.status_code, answer.json()["field"]) == (404, field)


async def test_few_rooms_are_remembered(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that nobody asks about are forgotten first."""
    monkeypatch.setattr(forecasts, "MOST_ROOMS", 2)
    uids = [await room.patient(await room.shop()) for _ in range(3)]
    room.inside.statements.clear()
    for uid in (uids[1], uids[2], uids[1], uids[0], uids[1]):
        await room.status(uid)
    assert made(room.inside) == 1  # of the first one's shop, which was forgotten as the third one came
    await room.status(uids[2])
    assert made(room.inside) == 2


# Lengths ----------------------------------------------------------------------------------------------------------


async def test_lengths_are_learned_and_kept(cluster: embedded.Address, room: Room) -> None:
    """Also by a process that begins later; one slow doctor makes the shop slow, and the doctor slower."""
    shop, usual = await room.shop(), await room.shop()
    slow = await room.doctor(shop)
    for _ in range(12):
        await seen(room, shop, slow, 40)
    await room.done(f"/doctors/{slow}/off-duty")
    doctor = await room.doctor(shop)
    await room.doctor(usual)
    here, there = (await queue_of(room, shop, 4))[-1], (await queue_of(room, usual, 4))[-1]
    assert await waits(room, here) > 1.5 * await waits(room, there)
    room.later(seconds=30)
    async with in_process(cluster, room.inside.clock) as restarted:
        again = Room(restarted, room.tenant, room.headers)
        by_anybody = (await again.status(here))["estimated_wait_minutes"]
        assert by_anybody > 1.5 * (await again.status(there))["estimated_wait_minutes"]
    await room.done(f"/doctors/{doctor}/off-duty")
    await room.done(f"/doctors/{slow}/on-duty", {"shop_uids": [shop]})
    assert await waits(room, here) > by_anybody


async def lengths(room: Room) -> list[dict[str, Any]]:
    return await room.tenant.rows(
        "SELECT shop_uid, doctor_uid, weight, total, square_total, updated_at FROM consultation_lengths "
        "WHERE organisation_id = $1 ORDER BY shop_uid, doctor_uid"
    )


async def test_what_is_learned_is_what_the_estimates_mean(room: Room) -> None:
    """Row by row as `Lengths` adds, and the same when it is learned anew from the visits; nothing of no-shows."""
    shop = await room.shop()
    doctor = await room.doctor(shop)
    expected = Lengths()
    for minutes in (0.1, 7, 200, 12.5, 3):
        await seen(room, shop, doctor, minutes)
        expected.add(minutes, room.inside.clock.moment.timestamp())
        room.later(days=4)
        await room.done(f"/doctors/{doctor}/heartbeat")
    uid = await room.patient(shop)
    await room.call(doctor)
    await room.done(f"/visits/{uid}/no-show", {"doctor_uid": doctor})
    [row] = await lengths(room)
    assert (row["shop_uid"], row["doctor_uid"]) == (shop, doctor)
    assert row["updated_at"].timestamp() == expected.updated_at
    for name in ("weight", "total", "square_total"):
        assert row[name] == pytest.approx(getattr(expected, name)), name
    await command(
        room.tenant, lambda tx: tx.connection.execute(consultations.RELEARN, tx.organisation_id, [shop])
    )
    [again] = await lengths(room)
    for name in ("weight", "total", "square_total"):
        assert again[name] == pytest.approx(row[name]), name


async def test_what_is_long_ago_fades_and_is_no_fault(room: Room) -> None:
    shop = await room.shop()
    doctor = await room.doctor(shop)
    await seen(room, shop, doctor, 60)
    room.inside.clock.moment += timedelta(days=365 * 70)
    await room.done(f"/doctors/{doctor}/heartbeat")
    await seen(room, shop, doctor, 5)
    [row] = await lengths(room)
    assert row["weight"] == pytest.approx(1.0)
