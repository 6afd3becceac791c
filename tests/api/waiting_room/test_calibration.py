"""GET /v1/operations/waiting-room/calibration: what patients were told against what came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from tests.api.waiting_room.room import BASE, Room
from tests.factories import LONG_AGO, Tenant

NOTHING = {
    "count": 0,
    "mean_absolute_error_minutes": None,
    "bias_minutes": None,
    "coverage": None,
    "no_shows": 0,
    "cancelled": 0,
    "no_doctor_on_duty": 0,
}


@dataclass(frozen=True)
class Wait:
    """A registration: what was told, and how many minutes later a doctor first called."""

    told: tuple[int, int, int]
    came: float


async def register(room: Room, shop: str) -> tuple[str, tuple[int, int, int]]:
    uid = await room.patient(shop)
    [row] = await room.tenant.rows(
        "SELECT estimated_low, estimated_minutes, estimated_high FROM waiting_room_visits "
        "WHERE organisation_id = $1 AND uid = $2",
        uid,
    )
    return uid, (row["estimated_low"], row["estimated_minutes"], row["estimated_high"])


async def waited(room: Room, shop: str, doctor: str, minutes: float) -> Wait:
    await room.done(f"/doctors/{doctor}/heartbeat")
    uid, told = await register(room, shop)
    room.later(minutes=minutes)
    assert await room.call(doctor) == uid
    await room.done(f"/visits/{uid}/complete", {"doctor_uid": doctor, "outcome": "treated"})
    return Wait(told, minutes)


def measured(
    *waits: Wait, no_shows: int = 0, cancelled: int = 0, no_doctor_on_duty: int = 0
) -> dict[str, Any]:
    """The same by hand."""
    off = [wait.told[1] - wait.came for wait in waits]
    inside = [wait.told[0] <= wait.came <= wait.told[2] for wait in waits]
    return {
        "count": len(waits),
        "mean_absolute_error_minutes": pytest.approx(sum(map(abs, off)) / len(off), abs=0.006),
        "bias_minutes": pytest.approx(sum(off) / len(off), abs=0.006),
        "coverage": pytest.approx(sum(inside) / len(inside), abs=0.00006),
        "no_shows": no_shows,
        "cancelled": cancelled,
        "no_doctor_on_duty": no_doctor_on_duty,
    }


async def test_of_each_shop_and_of_all(room: Room, other: Tenant) -> None:
    assert await room.get("/calibration") == {"days": 30, "overall": NOTHING, "shops": []}
    one, two = sorted([await room.shop(), await room.shop()])
    doctor, colleague = await room.doctor(one), await room.doctor(two)
    here = [await waited(room, one, doctor, minutes) for minutes in (0, 1, 25.4)]
    there = [await waited(room, two, colleague, 90)]
    # Whoever has not been called yet is nowhere.
    gone, _ = await register(room, one)
    await room.inside.client.delete(f"/waiting-room/{gone}", headers=room.headers)
    await room.patient(one)
    answer = await room.get("/calibration")
    assert answer == {
        "days": 30,
        "overall": measured(*here, *there, cancelled=1),
        "shops": [
            {"shop_uid": one, **measured(*here, cancelled=1)},
            {"shop_uid": two, **measured(*there)},
        ],
    }
    theirs = Room(room.inside, other, await other.headers())
    assert (await theirs.get("/calibration"))["overall"] == NOTHING
    room.later(days=29)
    assert (await room.get("/calibration"))["overall"]["count"] == 4
    room.later(days=2)
    assert await room.get("/calibration") == {"days": 30, "overall": NOTHING, "shops": []}


async def test_the_first_call_ends_the_wait(room: Room) -> None:
    """What comes after it does not: a doctor who vanishes gives the patient back. Who was not there is not counted."""
    shop = await room.shop()
    doctor = await room.doctor(shop)
    uid, told = await register(room, shop)
    room.later(minutes=5)
    assert await room.call(doctor) == uid
    room.later(hours=1)
    colleague = await room.doctor(shop)
    assert await room.call(colleague) == uid
    assert (await room.get("/calibration"))["overall"] == measured(Wait(told, 5))
    await room.done(f"/visits/{uid}/no-show", {"doctor_uid": colleague})
    assert (await room.get("/calibration"))["overall"] == {**NOTHING, "no_shows": 1}


async def test_who_registers_before_a_doctor_is_there_is_counted_beside_it(room: Room) -> None:
    """No range holds that wait: one registration in the evening would drown what a month says of the estimates."""
    shop = await room.shop()
    early = await room.patient(shop)
    room.later(hours=10)
    doctor = await room.doctor(shop)
    assert await room.call(doctor) == early
    await room.done(f"/visits/{early}/complete", {"doctor_uid": doctor, "outcome": "treated"})
    assert (await room.get("/calibration"))["overall"] == {**NOTHING, "no_doctor_on_duty": 1}
    wait = await waited(room, shop, doctor, 1)
    assert (await room.get("/calibration"))["overall"] == measured(wait, no_doctor_on_duty=1)


async def test_visits_without_an_estimate_are_left_out(room: Room) -> None:
    """Imported ones, and those of before there were estimates."""
    shop, patient = await room.shop(), await room.tenant.insert("patients")
    await room.tenant.insert(
        "waiting_room_visits",
        shop_uid=shop,
        patient_uid=patient,
        turn=1,
        status="completed",
        created_at=room.inside.clock.moment,
        first_allocated_at=room.inside.clock.moment,
        allocated_at=LONG_AGO,
    )
    assert (await room.get("/calibration"))["overall"] == NOTHING


async def test_reading_is_what_it_takes(room: Room) -> None:
    for permission, status in (("waiting_room:read", 200), ("waiting_room:operate", 403)):
        headers = await room.tenant.headers(permission)
        answer = await room.inside.client.get(BASE + "/calibration", headers=headers)
        assert answer.status_code == status
