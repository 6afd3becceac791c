"""What a waiting room is used to, learned by the worker from what was done over HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.api.waiting_room.room import Room
from tests.conftest import ENCRYPTION_KEYS, settings_for

from rxdesk import working
from rxdesk.db import embedded
from rxdesk.waiting_room import habits

MORNING = datetime(2026, 3, 4, 8, 0, tzinfo=UTC)  # nine o'clock in Berlin


async def learn(cluster: embedded.Address, room: Room) -> int:
    """Let the worker learn; gives of how many rooms."""
    connect = cluster.connect_args(embedded.APP)
    composed = working.compose(settings_for(), connect, ENCRYPTION_KEYS, clock=room.inside.clock)
    try:
        return await habits.learn(composed.access, room.tenant.id)
    finally:
        await composed.pool.close()


async def learned(room: Room, shop: str) -> Any:
    [row] = await room.tenant.rows(
        "SELECT learned FROM waiting_room_habits WHERE organisation_id = $1 AND uid = $2", shop
    )
    return json.loads(row["learned"])


async def waits(room: Room, uid: str) -> int:
    room.later(seconds=10)
    return int((await room.status(uid))["estimated_wait_minutes"])


async def test_who_usually_comes_is_expected(cluster: embedded.Address, room: Room) -> None:
    shop = await room.shop()
    first, second = await room.doctor(), await room.doctor()
    on = {"shop_uids": [shop]}
    for day in range(5):
        room.inside.clock.moment = MORNING + timedelta(days=day)
        await room.done(f"/doctors/{first}/on-duty", on)
        room.later(hours=3)
        await room.done(f"/doctors/{second}/on-duty", on)
        room.later(hours=5)
        for doctor in (first, second):
            await room.done(f"/doctors/{doctor}/off-duty")
    room.inside.clock.moment = MORNING + timedelta(days=5, hours=2, minutes=50)
    await room.done(f"/doctors/{first}/on-duty", on)
    last = [await room.patient(shop) for _ in range(8)][-1]
    alone = await waits(room, last)
    assert await learn(cluster, room) == 1
    assert await learn(cluster, room) == 0  # nothing has changed since
    hours = (await learned(room, shop))["hours"]
    assert set(hours) == {first, second}
    assert round(hours[second]["comes"]["total"] / hours[second]["comes"]["weight"]) == 12 * 60
    assert round(hours[second]["goes"]["total"] / hours[second]["goes"]["weight"]) == 17 * 60
    assert await waits(room, last) < 0.8 * alone
    # One who has come today and gone again is not expected any more.
    await room.done(f"/doctors/{second}/on-duty", on)
    await room.done(f"/doctors/{second}/off-duty")
    assert await waits(room, last) > 0.9 * alone


async def test_what_patients_do(cluster: embedded.Address, room: Room) -> None:
    shop = await room.shop()
    doctor = await room.doctor(shop)
    absent = await room.patient(shop)
    for _ in range(3):
        assert await room.call(doctor) == absent
        room.later(minutes=2)
        await room.done(f"/visits/{absent}/no-show", {"doctor_uid": doctor})
    assert (await room.status(absent))["status"] == "cancelled"
    assert await learn(cluster, room) == 1
    found = await learned(room, shop)
    assert [round(rate["events"], 3) for rate in found["no_show"]] == [1, 2]
    assert sum(rate["events"] for rate in found["give_up"]) == 0
    impatient = await room.patient(shop)
    room.later(minutes=15)
    await room.inside.client.delete(f"/waiting-room/{impatient}", headers=room.headers)
    assert await learn(cluster, room) == 1
    assert [round(rate["events"], 3) for rate in (await learned(room, shop))["give_up"]] == [0, 1, 0, 0, 0]


async def test_what_a_plain_room_has_not(cluster: embedded.Address, room: Room) -> None:
    """Several patients at once, colleagues, shops that change, a doctor who vanishes: no fault, and no nonsense."""
    shop, other = await room.shop(), await room.shop()
    doctor, colleague = await room.doctor(shop), await room.doctor(shop, other)
    had = [await room.patient(shop) for _ in range(4)]
    for _ in had[:3]:
        await room.call(doctor)
    await room.done(f"/visits/{had[0]}/hand-over", {"doctor_uid": doctor, "to_doctor_uid": colleague})
    room.later(minutes=8)
    await room.done(f"/visits/{had[0]}/complete", {"doctor_uid": colleague, "outcome": "treated"})
    await room.done(f"/visits/{had[1]}/complete", {"doctor_uid": doctor, "outcome": "treated"})
    await room.done(f"/doctors/{colleague}/pause", {"minutes": 5})
    room.later(minutes=6)
    await room.done(f"/doctors/{colleague}/on-duty", {"shop_uids": [other]})
    room.later(days=1)  # the doctor closed the lid and went home
    await room.done(f"/doctors/{doctor}/on-duty", {"shop_uids": [shop]})
    await room.done(f"/doctors/{colleague}/on-duty", {"shop_uids": [shop]})
    assert await room.call(colleague) is not None
    assert await learn(cluster, room) == 2
    found = await learned(room, shop)
    assert (found["shop"]["weight"], found["doctors"]) == (0, {})
    assert {uid: round(of["comes"]["weight"], 1) for uid, of in found["hours"].items()} == {
        doctor: 2.0,
        colleague: 2.0,
    }
    assert found["hours"][doctor]["goes"]["weight"] == 0
    assert round(found["pause"]["events"], 1) == 1
    assert (await room.status(await room.patient(shop)))["estimate_reason"] is None
