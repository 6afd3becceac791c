"""Duty: on, paused, away, off; and what becomes of the patients of a doctor who vanishes."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
from tests.api.waiting_room.room import Room
from tests.conftest import ENCRYPTION_KEYS, in_process, settings_for
from tests.factories import LONG_AGO, Tenant

from rxdesk import working
from rxdesk.db import embedded
from rxdesk.kit.clock import unix

NOT_FOUND = {"error": "Resource not found"}
OFF = {"error": "The doctor is off duty", "allowed": ["on"]}


async def test_on_paused_and_off(room: Room) -> None:
    one, two = sorted([await room.shop(), await room.shop()])
    doctor = await room.doctor()
    path = f"/doctors/{doctor}"
    off: dict[str, object] = {
        "doctor_uid": doctor,
        "status": "off",
        "shop_uids": [],
        "seen_at": None,
        "paused_until": None,
        "visits": [],
    }
    assert await room.get(path) == off
    now = unix(room.inside.clock.moment)
    on = {**off, "status": "on", "shop_uids": [one, two], "seen_at": now}
    assert await room.done(path + "/on-duty", {"shop_uids": [two, one, two]}) == on
    assert await room.get(path) == on
    assert await room.done(path + "/pause") == {**on, "status": "paused"}
    paused = {**on, "status": "paused", "paused_until": now + 900}
    assert await room.done(path + "/pause", {"minutes": 15}) == paused
    refused = await room.refused(path + "/call-next")
    assert refused == {"error": "The doctor pauses", "allowed": ["on"]}
    assert await room.done(path + "/resume") == on
    assert await room.done(path + "/on-duty", {"shop_uids": [two]}) == {**on, "shop_uids": [two]}
    assert await room.done(path + "/off-duty") == {**off, "seen_at": now}
    assert await room.history(doctor) == [
        ("status", "off", "on", f"{one},{two}"),
        ("status", "on", "paused", None),
        ("status", "paused", "paused", None),
        ("status", "paused", "on", None),
        ("status", "on", "on", two),
        ("status", "on", "off", None),
    ]
    page = await room.get(path + "/history", limit=2)
    assert page["totalRegistries"] == 6
    assert [change["new"] for change in page["data"]] == ["on", "paused"]


async def test_off_duty(room: Room) -> None:
    shop = await room.shop()
    gone, never = await room.doctor(shop), await room.doctor()
    await room.done(f"/doctors/{gone}/off-duty")
    await room.patient(shop)
    for doctor in (gone, never):
        for verb in ("call-next", "resume", "heartbeat"):
            assert await room.refused(f"/doctors/{doctor}/{verb}") == OFF
        for verb in ("pause", "off-duty"):
            assert (await room.refused(f"/doctors/{doctor}/{verb}"))["allowed"] == ["on"]


async def test_off_duty_with_a_patient(room: Room) -> None:
    shop = await room.shop()
    doctor = await room.doctor(shop)
    uid = await room.patient(shop)
    await room.call(doctor)
    refused = await room.refused(f"/doctors/{doctor}/off-duty")
    assert refused == {"error": "The doctor still has a patient", "queue_uid": uid}
    await room.done(f"/doctors/{doctor}/pause")  # but may call nobody else
    await room.done(f"/visits/{uid}/complete", {"doctor_uid": doctor, "outcome": "treated"})
    await room.done(f"/doctors/{doctor}/off-duty")


async def test_who_is_not_active_takes_nobody(room: Room) -> None:
    shop = await room.shop()
    inactive = await room.doctor(active=False)
    refused = {"error": "The doctor is not active"}
    assert await room.refused(f"/doctors/{inactive}/on-duty", {"shop_uids": [shop]}) == refused
    doctor = await room.doctor(shop)
    await room.patient(shop)
    await room.tenant.update("doctors", doctor, active=False)
    for verb in ("call-next", "resume"):
        assert await room.refused(f"/doctors/{doctor}/{verb}") == refused
    await room.done(f"/doctors/{doctor}/off-duty")


async def test_shops_that_are_not_ours(room: Room, other: Tenant) -> None:
    shop, doctor = await room.shop(), await room.doctor()
    foreign, deleted = await other.insert("shops"), await room.shop(deleted_at=LONG_AGO)
    for wrong in (foreign, deleted, "none", "", "💊", "x" * 2000):
        body = {"shop_uids": [shop, wrong]}
        assert await room.refused(f"/doctors/{doctor}/on-duty", body, 404) == {
            **NOT_FOUND,
            "field": "shop_uids",
        }
    assert (await room.get(f"/doctors/{doctor}"))["status"] == "off"
    for wrong in (foreign, deleted, "none", "%00"):
        answer = await room.inside.client.get(
            f"http://test/v1/operations/waiting-room/shops/{wrong}", headers=room.headers
        )
        assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


async def test_away(room: Room) -> None:
    """Who gives no sign of life counts as away; any ends it."""
    shop = await room.shop()
    doctor = await room.doctor(shop)
    path = f"/doctors/{doctor}"
    for verb in ("heartbeat", "call-next", "pause", "resume"):
        room.later(seconds=120)
        assert (await room.get(path))["status"] in ("on", "paused")
        room.later(seconds=1)
        assert (await room.get(path))["status"] == "away"
        assert [one["status"] for one in (await room.get(f"/shops/{shop}"))["doctors"]] == ["away"]
        await room.done(f"{path}/{verb}")
        duty = await room.get(path)
        assert duty["status"] in ("on", "paused")
        assert duty["seen_at"] == unix(room.inside.clock.moment)


async def vanish(room: Room) -> None:
    """Let the time pass after which a doctor's patients are put back."""
    room.later(seconds=301)


async def test_the_patients_of_a_doctor_who_vanished(room: Room) -> None:
    """They are in front of all who came after them, once a colleague calls."""
    shop = await room.shop()
    vanished, other = await room.doctor(shop), await room.doctor(shop)
    uids = [await room.patient(shop) for _ in range(4)]
    assert [await room.call(vanished) for _ in range(2)] == uids[:2]
    rooms = {(await room.status(uid))["video_room_id"] for uid in uids[:2]}
    room.later(seconds=300)
    assert await room.call(other) == uids[2]
    await vanish(room)
    visit = await room.done(f"/doctors/{other}/call-next")
    assert visit["queue_uid"] == uids[0]
    assert visit["video_room_id"] not in rooms
    status = await room.status(uids[1])
    assert (status["status"], status["position"], status["video_room_id"]) == ("waiting", 1, None)
    assert status["allocated_at"] is None
    assert await room.told(uids[1]) == ["waiting", "allocated", "waiting"]
    assert (await room.history(uids[1]))[-1] == (
        "status",
        "allocated",
        "waiting",
        f"{vanished} is away",
    )
    refused = await room.refused(
        f"/visits/{uids[1]}/complete", {"doctor_uid": vanished, "outcome": "treated"}
    )
    assert refused["allowed"] == ["allocated", "cancelled"]


async def test_a_doctor_who_is_back_in_time_keeps_the_patient(room: Room) -> None:
    shop = await room.shop()
    doctor, other = await room.doctor(shop), await room.doctor(shop)
    uid = await room.patient(shop)
    await room.call(doctor)
    await vanish(room)
    await room.done(f"/doctors/{doctor}/heartbeat")  # nobody has looked yet
    assert await room.call(other) is None
    assert (await room.status(uid))["status"] == "allocated"


async def test_nobody_vanishes_while_no_server_hears_them(cluster: embedded.Address, room: Room) -> None:
    """After an hour without a server doctors still have their patients, whoever of them is the first to be back."""
    shop = await room.shop()
    doctor, other = await room.doctor(shop), await room.doctor(shop)
    uid = await room.patient(shop)
    assert await room.call(doctor) == uid
    room.later(hours=1)
    async with in_process(cluster, room.inside.clock) as again:
        back = Room(again, room.tenant, room.headers)
        assert await back.call(other) is None
        back.later(seconds=300)
        assert await back.call(other) is None
        assert (await back.status(uid))["status"] == "allocated"
        back.later(seconds=1)
        assert await back.call(other) == uid


async def test_a_sign_of_life_that_cannot_be_written_is_no_silence(
    cluster: embedded.Address, room: Room
) -> None:
    """Once the database is back, whoever calls first does not take the patients of those who were refused as well."""
    shop = await room.shop()
    doctor, other = await room.doctor(shop), await room.doctor(shop)
    uid = await room.patient(shop)
    assert await room.call(doctor) == uid
    room.later(minutes=10)
    away = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    try:
        await away.execute(f"SET rxdesk.organisation_id = '{room.tenant.id}'")
        async with away.transaction():  # as good as away, for whoever must write there
            await away.execute(
                "SELECT FROM doctor_duties WHERE organisation_id = $1 FOR UPDATE", room.tenant.id
            )
            await room.refused(f"/doctors/{doctor}/heartbeat", status=503)
    finally:
        await away.close()
    assert await room.call(other) is None
    room.later(seconds=301)
    assert await room.call(other) == uid


async def test_a_clock_that_is_put_back_makes_nobody_vanish(room: Room) -> None:
    shop = await room.shop()
    doctor = await room.doctor(shop)
    room.inside.clock.moment -= timedelta(hours=1)
    await room.done(f"/doctors/{doctor}/heartbeat")
    assert (await room.get(f"/doctors/{doctor}"))["status"] == "on"


async def test_the_board(room: Room) -> None:
    shop, elsewhere = await room.shop(), await room.shop()
    one = await room.doctor(shop, display_name="A", sort_key="a")
    two = await room.doctor(shop, elsewhere, display_name="B", sort_key="b")
    await room.done(f"/doctors/{await room.doctor(shop)}/off-duty")
    away = await room.patient(elsewhere)
    room.later(seconds=1)
    uids = [await room.patient(shop, two if number == 2 else None) for number in range(4)]
    await room.patient(elsewhere)
    assert await room.call(two) == away
    assert await room.call(one) == uids[0]
    now = unix(room.inside.clock.moment)
    board = await room.get(f"/shops/{shop}", limit=2)
    assert board["doctors"] == [
        {
            "uid": one,
            "display_name": "A",
            "status": "on",
            "paused_until": None,
            "queue_uids": [uids[0]],
        },
        {"uid": two, "display_name": "B", "status": "on", "paused_until": None, "queue_uids": [away]},
    ]
    [allocated] = board["allocated"]
    assert (allocated["queue_uid"], allocated["doctor_uid"]) == (uids[0], one)
    assert (allocated["allocated_at"], allocated["position"]) == (now, None)
    assert (board["totalRegistries"], board["totalPages"]) == (3, 2)
    assert [(row["queue_uid"], row["position"]) for row in board["data"]] == [
        (uids[1], 1),
        (uids[2], 2),
    ]
    last = (await room.get(f"/shops/{shop}", limit=2, page=1))["data"]
    assert [(row["queue_uid"], row["position"]) for row in last] == [(uids[3], 3)]
    assert board["data"][1]["preferred_doctor_uid"] == two
    secret = {"visit_reason", "video_room_id"}  # for those who see the patient
    assert not secret & {*allocated, *board["data"][0]}


async def test_the_worker_puts_patients_back(cluster: embedded.Address, room: Room) -> None:
    """Where nobody calls."""
    composed = working.compose(
        settings_for(), cluster.connect_args(embedded.APP), ENCRYPTION_KEYS, clock=room.inside.clock
    )
    shop = await room.shop()
    doctor, late = await room.doctor(shop), await room.doctor(shop)
    uids = [await room.patient(shop) for _ in range(3)]
    assert [await room.call(doctor) for _ in range(2)] == uids[:2]
    try:
        for _ in range(2):
            room.later(seconds=100)
            await working.return_patients(composed)
        assert await room.call(late) == uids[2]
        room.later(seconds=100)
        await working.return_patients(composed)
        assert (await room.status(uids[0]))["status"] == "allocated"
        room.later(seconds=1)
        await working.return_patients(composed)
        await working.return_patients(composed)  # again changes nothing
    finally:
        composed.deliveries.egress.close()
        await composed.pool.close()
    assert [(await room.status(uid))["position"] for uid in uids] == [1, 2, None]
    [row] = await room.tenant.rows(
        "SELECT actor_kind, actor_uid FROM waiting_room_visits WHERE organisation_id = $1 AND uid = $2",
        uids[0],
    )
    assert row == {"actor_kind": "system", "actor_uid": "worker"}
    assert await room.told(uids[0]) == ["waiting", "allocated", "waiting"]
    assert await room.call(late) == uids[0]


async def test_the_worker_puts_nobody_back_who_could_not_be_heard(
    cluster: embedded.Address, room: Room
) -> None:
    """It was not there, or the database was not: the silence of that time says nothing of a doctor."""
    shop = await room.shop()
    uid = await room.patient(shop)
    doctor = await room.doctor(shop)
    assert await room.call(doctor) == uid
    room.later(hours=1)
    composed = working.compose(
        settings_for(), cluster.connect_args(embedded.APP), ENCRYPTION_KEYS, clock=room.inside.clock
    )

    async def looks(times: int) -> str:
        for _ in range(times):
            await composed.hearing.look()
            await working.return_patients(composed)
            room.later(seconds=30)
        return str((await room.status(uid))["status"])

    try:
        assert await looks(10) == "allocated"
        room.later(minutes=10)  # and nothing ran meanwhile
        assert await looks(11) == "allocated"
        assert await looks(1) == "waiting"
    finally:
        composed.deliveries.egress.close()
        await composed.pool.close()
