"""A history is in the order in which things happened: a request that began before another may be done after it."""

from __future__ import annotations

from tests.api.waiting_room.room import Room


async def test_a_visit_s_steps_by_requests_that_began_the_other_way_round(room: Room) -> None:
    shop = await room.shop()
    doctor, colleague = await room.doctor(shop), await room.doctor(shop)
    uid = await room.patient(shop)
    absent = {"doctor_uid": doctor}
    steps: list[tuple[str, object]] = [
        (f"/doctors/{doctor}/call-next", None),
        (f"/visits/{uid}/no-show", absent),
        (f"/doctors/{doctor}/call-next", None),
        (f"/visits/{uid}/hand-over", {**absent, "to_doctor_uid": colleague}),
    ]
    for path, body in steps:
        await room.done(path, body)
        room.later(milliseconds=-5)
    await room.inside.client.delete(f"/waiting-room/{uid}", headers=room.headers)
    page = await room.get(f"/visits/{uid}/history")
    assert [(row["old"], row["new"]) for row in page["data"]] == [
        ("waiting", "allocated"),
        ("allocated", "waiting"),
        ("waiting", "allocated"),
        (doctor, colleague),
        ("allocated", "cancelled"),
    ]


async def test_a_duty_s_steps_by_a_server_whose_clock_is_behind(room: Room) -> None:
    shop = await room.shop()
    doctor = await room.doctor(shop)
    for verb in ("pause", "resume", "off-duty"):
        room.later(seconds=-2)
        await room.done(f"/doctors/{doctor}/{verb}")
    page = await room.get(f"/doctors/{doctor}/history")
    assert [row["new"] for row in page["data"]] == ["on", "paused", "on", "off"]
