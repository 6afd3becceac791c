"""What doctors do with visits: call next, complete, no-show, hand over, cancel (docs/waiting-room.md)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.api.waiting_room.room import BASE, Room
from tests.factories import LONG_AGO, Tenant

from rxdesk.kit.clock import unix

NOT_FOUND = {"error": "Resource not found"}


async def test_called_and_completed(room: Room) -> None:
    shop = await room.shop()
    doctor = await room.doctor(shop)
    first, second = await room.patient(shop), await room.patient(shop)
    begun = unix(room.inside.clock.moment)
    room.later(minutes=3)
    visit = await room.done(f"/doctors/{doctor}/call-next")
    assert re.fullmatch(r"vr-[A-Za-z0-9_-]{32}", visit["video_room_id"])
    [row] = await room.tenant.rows(
        "SELECT patient_uid FROM waiting_room_visits WHERE organisation_id = $1 AND uid = $2", first
    )
    assert visit == {
        "queue_uid": first,
        "shop_uid": shop,
        "status": "allocated",
        "patient_profile_uid": row["patient_uid"],
        "preferred_doctor_uid": None,
        "visit_reason": None,
        "doctor_uid": doctor,
        "video_room_id": visit["video_room_id"],
        "no_shows": 0,
        "created_at": begun,
        "allocated_at": begun + 180,
        "ended_at": None,
        "outcome": None,
        "end_reason": None,
    }
    assert await room.status(first) == {
        "queue_uid": first,
        "status": "allocated",
        "position": None,
        "estimated_wait_minutes": None,
        "video_room_id": visit["video_room_id"],
        "allocated_at": begun + 180,
        "estimated_wait_range": None,
        "estimate_reason": None,
    }
    assert (await room.status(second))["position"] == 1
    room.later(minutes=7)
    done = await room.done(f"/visits/{first}/complete", {"doctor_uid": doctor, "outcome": "referred"})
    assert done == {**visit, "status": "completed", "outcome": "referred", "ended_at": begun + 600}
    assert await room.told(first) == ["waiting", "allocated", "completed"]
    assert await room.history(first) == [
        ("status", "waiting", "allocated", doctor),
        ("status", "allocated", "completed", "referred"),
    ]
    later = await room.done(f"/doctors/{doctor}/call-next")
    assert later["queue_uid"] == second
    assert later["video_room_id"] != visit["video_room_id"]
    answer = await room.post(f"/doctors/{doctor}/call-next")
    assert (answer.status_code, answer.content) == (204, b"")


async def test_no_show_twice_and_a_third_time(room: Room) -> None:
    """Twice to the end of the queue, behind who came meanwhile; then cancelled, and it says why."""
    shop = await room.shop()
    doctor = await room.doctor(shop)
    absent = await room.patient(shop)
    rooms = set()
    for times in (1, 2):
        other = await room.patient(shop)
        visit = await room.done(f"/doctors/{doctor}/call-next")
        assert (visit["queue_uid"], visit["no_shows"]) == (absent, times - 1)
        rooms.add(visit["video_room_id"])
        room.later(minutes=2)
        visit = await room.done(f"/visits/{absent}/no-show", {"doctor_uid": doctor})
        assert (visit["status"], visit["no_shows"], visit["end_reason"]) == ("waiting", times, None)
        assert (visit["doctor_uid"], visit["video_room_id"], visit["allocated_at"]) == (None, None, None)
        status = await room.status(absent)
        assert (status["status"], status["position"], status["video_room_id"]) == ("waiting", 2, None)
        assert await room.call(doctor) == other
    assert (await room.done(f"/doctors/{doctor}/call-next"))["video_room_id"] not in rooms
    visit = await room.done(f"/visits/{absent}/no-show", {"doctor_uid": doctor})
    assert (visit["status"], visit["no_shows"], visit["end_reason"]) == ("cancelled", 3, "no_show")
    assert visit["ended_at"] == unix(room.inside.clock.moment)
    assert (await room.status(absent))["status"] == "cancelled"
    assert await room.call(doctor) is None
    assert await room.told(absent) == [*["waiting", "allocated"] * 3, "cancelled"]
    assert (await room.history(absent))[-1] == ("status", "allocated", "cancelled", "no-show")


async def test_handed_over(room: Room) -> None:
    shop, elsewhere = await room.shop(), await room.shop()
    one, two = await room.doctor(shop), await room.doctor(shop)
    absent, paused = await room.doctor(elsewhere), await room.doctor(shop)
    await room.done(f"/doctors/{paused}/pause")
    uid = await room.patient(shop)
    path = f"/visits/{uid}/hand-over"
    assert (await room.refused(path, {"doctor_uid": one, "to_doctor_uid": two}))["allowed"] == [
        "allocated",
        "cancelled",
    ]
    visit = await room.done(f"/doctors/{one}/call-next")
    for to in (absent, paused, await room.doctor()):
        body = await room.refused(path, {"doctor_uid": one, "to_doctor_uid": to})
        assert body == {"error": "The other doctor takes no patients in this shop now"}
    assert "already" in (await room.refused(path, {"doctor_uid": one, "to_doctor_uid": one}))["error"]
    assert "Another" in (await room.refused(path, {"doctor_uid": two, "to_doctor_uid": one}))["error"]
    body = {"doctor_uid": one, "to_doctor_uid": two, "reason": "knows the patient"}
    assert await room.done(path, body) == {**visit, "doctor_uid": two}
    assert (await room.status(uid))["video_room_id"] == visit["video_room_id"]
    assert (await room.history(uid))[-1] == ("doctor_uid", one, two, "knows the patient")
    assert await room.told(uid) == ["waiting", "allocated", "allocated"]
    assert (await room.get(f"/doctors/{one}"))["visits"] == []
    assert [v["queue_uid"] for v in (await room.get(f"/doctors/{two}"))["visits"]] == [uid]
    completed = {"outcome": "treated"}
    await room.refused(f"/visits/{uid}/complete", {**completed, "doctor_uid": one})
    await room.done(f"/visits/{uid}/complete", {**completed, "doctor_uid": two})


async def test_to_a_colleague_who_is_away(room: Room) -> None:
    shop = await room.shop()
    one, two = await room.doctor(shop), await room.doctor(shop)
    uid = await room.patient(shop)
    room.later(seconds=121)
    await room.call(one)
    body = {"doctor_uid": one, "to_doctor_uid": two}
    await room.refused(f"/visits/{uid}/hand-over", body)
    await room.done(f"/doctors/{two}/heartbeat")
    await room.done(f"/visits/{uid}/hand-over", body)


async def test_cancelled_from_the_doctor_s_side(room: Room) -> None:
    shop = await room.shop()
    doctor, other = await room.doctor(shop), await room.doctor(shop)
    allocated, waiting = await room.patient(shop), await room.patient(shop)
    await room.call(doctor)
    body = await room.refused(f"/visits/{allocated}/cancel", {"doctor_uid": other})
    assert body == {"error": "Another doctor has this patient"}
    for uid, given in (
        (allocated, {"doctor_uid": doctor, "reason": "wrong shop"}),
        (waiting, None),
    ):
        visit = await room.done(f"/visits/{uid}/cancel", given)
        assert (visit["status"], visit["end_reason"]) == ("cancelled", "doctor")
        again = await room.refused(f"/visits/{uid}/cancel")
        assert again == {"error": "A visit that is cancelled cannot become cancelled", "allowed": []}
    assert (await room.history(allocated))[-1] == ("status", "allocated", "cancelled", "wrong shop")
    assert (await room.told(waiting)) == ["waiting", "cancelled"]


async def test_what_is_not_allocated_is_not_ended(room: Room) -> None:
    shop = await room.shop()
    doctor = await room.doctor(shop)
    completion, absence = {"doctor_uid": doctor, "outcome": "treated"}, {"doctor_uid": doctor}
    for status, allowed in (
        ("waiting", ["allocated", "cancelled"]),
        ("completed", []),
        ("cancelled", []),
    ):
        uid = await room.patient(shop)
        await room.tenant.update("waiting_room_visits", uid, status=status)
        for verb, body in (("complete", completion), ("no-show", absence)):
            assert (await room.refused(f"/visits/{uid}/{verb}", body))["allowed"] == allowed
        assert await room.told(uid) == ["waiting"]
        assert await room.history(uid) == []


async def test_two_doctors_complete_one_visit(room: Room) -> None:
    shop = await room.shop()
    one, two = await room.doctor(shop), await room.doctor(shop)
    uid = await room.patient(shop)
    await room.call(one)
    path, body = f"/visits/{uid}/complete", {"outcome": "treated"}
    refused = await room.refused(path, {**body, "doctor_uid": two})
    assert refused == {"error": "Another doctor has this patient"}
    await room.done(path, {**body, "doctor_uid": one})
    await room.refused(path, {**body, "doctor_uid": one})
    await room.refused(path, {**body, "doctor_uid": two})
    assert await room.told(uid) == ["waiting", "allocated", "completed"]


async def test_the_patient_cancels_while_allocated(room: Room) -> None:
    shop = await room.shop()
    doctor = await room.doctor(shop)
    uid = await room.patient(shop)
    await room.call(doctor)
    answer = await room.inside.client.delete(f"/waiting-room/{uid}", headers=room.headers)
    assert answer.status_code == 204
    assert (await room.get(f"/doctors/{doctor}"))["visits"] == []
    body = {"doctor_uid": doctor, "outcome": "treated"}
    assert (await room.refused(f"/visits/{uid}/complete", body))["allowed"] == []
    await room.done(f"/doctors/{doctor}/off-duty")


async def test_an_imported_visit_of_no_doctor(room: Room) -> None:
    """Nobody knows who has it: whoever ends it had it."""
    shop = await room.shop()
    doctor = await room.doctor(shop)
    uid = await room.patient(shop)
    await room.tenant.update("waiting_room_visits", uid, status="allocated")
    visit = await room.done(f"/visits/{uid}/complete", {"doctor_uid": doctor, "outcome": "other"})
    assert (visit["status"], visit["doctor_uid"]) == ("completed", doctor)


async def test_a_lost_answer_is_given_again(room: Room) -> None:
    """With an Idempotency-Key: the patient whose name was lost is not lost, and nobody else is taken."""
    shop = await room.shop()
    doctor = await room.doctor(shop)
    first, second = await room.patient(shop), await room.patient(shop)
    path, key = f"/doctors/{doctor}/call-next", {"Idempotency-Key": "call-1"}
    answers = [await room.post(path, **key) for _ in range(3)]
    assert [answer.json()["queue_uid"] for answer in answers] == [first] * 3
    assert (await room.post(path, **{"Idempotency-Key": "call-2"})).json()["queue_uid"] == second
    for _ in range(2):
        assert (await room.post(path, **{"Idempotency-Key": "call-3"})).status_code == 204


async def test_an_answer_is_given_again_to_whom_it_was_given(room: Room) -> None:
    """One Idempotency-Key at two doctors or two visits names two requests: no patient twice, none left undone."""
    shop = await room.shop()
    doctors = [await room.doctor(shop) for _ in range(2)]
    visits = [await room.patient(shop) for _ in range(2)]
    key = {"Idempotency-Key": "1"}
    for _ in range(2):
        called = [(await room.post(f"/doctors/{doctor}/call-next", **key)).json() for doctor in doctors]
        assert [visit["queue_uid"] for visit in called] == visits
        assert [visit["doctor_uid"] for visit in called] == doctors
    for visit in visits:
        await room.done(f"/visits/{visit}/cancel")
    paths = [f"/visits/{await room.patient(shop)}/cancel" for _ in range(2)]
    for _ in range(2):
        for path in paths:
            answer = await room.post(path, {"reason": "Power cut"}, **key)
            assert answer.is_success, answer.text
            assert answer.json()["queue_uid"] == path.split("/")[2]
            assert await room.told(answer.json()["queue_uid"]) == ["waiting", "cancelled"]


@pytest.mark.parametrize("verb", ["complete", "no-show", "hand-over", "cancel"])
async def test_visits_that_are_not_ours(room: Room, other: Tenant, verb: str) -> None:
    doctor = await room.doctor(await room.shop())
    body: dict[str, Any] = {"doctor_uid": doctor}
    body |= {"complete": {"outcome": "treated"}, "hand-over": {"to_doctor_uid": doctor}}.get(verb, {})
    columns = {"turn": 1, "status": "allocated"}
    deleted = await room.tenant.insert(
        "waiting_room_visits",
        shop_uid=await room.shop(),
        patient_uid=await room.tenant.insert("patients"),
        deleted_at=LONG_AGO,
        **columns,
    )
    foreign = await other.insert(
        "waiting_room_visits",
        shop_uid=await other.insert("shops"),
        patient_uid=await other.insert("patients"),
        **columns,
    )
    for uid in (deleted, foreign, "q-none", "%00", "a" * 2000, "%F0%9F%92%8A"):
        assert await room.refused(f"/visits/{uid}/{verb}", body, 404) == NOT_FOUND


async def test_doctors_that_are_not_ours(room: Room, other: Tenant) -> None:
    shop = await room.shop()
    doctor = await room.doctor(shop)
    uid = await room.patient(shop)
    await room.call(doctor)
    foreign, deleted = await other.insert("doctors"), await room.doctor(deleted_at=LONG_AGO)
    for wrong in (foreign, deleted, "doc-none", "", "💊", "x" * 2000):
        missing = {**NOT_FOUND, "field": "doctor_uid"}
        for verb, more in (
            ("complete", {"outcome": "treated"}),
            ("no-show", {}),
            ("hand-over", {"to_doctor_uid": doctor}),
            ("cancel", {}),
        ):
            assert await room.refused(f"/visits/{uid}/{verb}", {"doctor_uid": wrong, **more}, 404) == missing
        body = {"doctor_uid": doctor, "to_doctor_uid": wrong}
        assert await room.refused(f"/visits/{uid}/hand-over", body, 404) == {
            **NOT_FOUND,
            "field": "to_doctor_uid",
        }
    for wrong in (foreign, deleted, "doc-none", "%00"):
        for verb in ("call-next", "pause", "resume", "off-duty", "heartbeat"):
            assert await room.refused(f"/doctors/{wrong}/{verb}", None, 404) == NOT_FOUND
        assert await room.refused(f"/doctors/{wrong}/on-duty", {"shop_uids": [shop]}, 404) == NOT_FOUND
    assert (await room.status(uid))["status"] == "allocated"


async def test_reads_of_what_is_not_ours(room: Room, other: Tenant) -> None:
    uids: dict[str, list[str]] = {"shops": [], "doctors": [], "visits": []}
    for tenant, more in ((other, {}), (room.tenant, {"deleted_at": LONG_AGO})):
        shop, patient = await tenant.insert("shops", **more), await tenant.insert("patients")
        uids["shops"].append(shop)
        uids["doctors"].append(await tenant.insert("doctors", **more))
        uids["visits"].append(
            await tenant.insert("waiting_room_visits", shop_uid=shop, patient_uid=patient, turn=1, **more)
        )
    for kind, part in (
        ("shops", ""),
        ("doctors", ""),
        ("doctors", "/history"),
        ("visits", "/history"),
    ):
        for wrong in (*uids[kind], "none", "%00", "a" * 2000, "%F0%9F%92%8A"):
            answer = await room.inside.client.get(f"{BASE}/{kind}/{wrong}{part}", headers=room.headers)
            assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


async def test_faulty_bodies(room: Room) -> None:
    shop = await room.shop()
    doctor = await room.doctor(shop)
    uid = await room.patient(shop)
    for path, body, field in (
        (f"/doctors/{doctor}/on-duty", {}, "shop_uids"),
        (f"/doctors/{doctor}/on-duty", {"shop_uids": []}, "shop_uids"),
        (f"/doctors/{doctor}/on-duty", {"shop_uids": shop}, "shop_uids"),
        (f"/doctors/{doctor}/on-duty", {"shop_uids": [shop] * 101}, "shop_uids"),
        (f"/doctors/{doctor}/pause", {"minutes": 0}, "minutes"),
        (f"/doctors/{doctor}/pause", {"minutes": 1441}, "minutes"),
        (f"/visits/{uid}/complete", {"doctor_uid": doctor}, "outcome"),
        (f"/visits/{uid}/complete", {"doctor_uid": doctor, "outcome": "cured"}, "outcome"),
        (f"/visits/{uid}/complete", {"outcome": "treated"}, "doctor_uid"),
        (f"/visits/{uid}/no-show", {}, "doctor_uid"),
        (f"/visits/{uid}/hand-over", {"doctor_uid": doctor}, "to_doctor_uid"),
        (f"/visits/{uid}/cancel", {"reason": ""}, "reason"),
        (f"/visits/{uid}/cancel", {"extra": 1}, "extra"),
    ):
        answer = await room.refused(path, body, 400)
        assert [detail["field"] for detail in answer["details"]] == [field], (path, body)


async def test_the_permission(room: Room) -> None:
    shop = await room.shop()
    doctor = await room.doctor(shop)
    room.headers = await room.tenant.headers("waiting_room:read", "waiting_room:write")
    await room.get(f"/shops/{shop}")
    assert (await room.refused(f"/doctors/{doctor}/call-next", None, 403))["code"] == "permission_denied"
    room.headers = await room.tenant.headers("waiting_room:operate")
    assert await room.call(doctor) is None
    answer = await room.inside.client.get(
        f"http://test/v1/operations/waiting-room/shops/{shop}", headers=room.headers
    )
    assert answer.status_code == 403
