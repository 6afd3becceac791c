"""What doctors do with visits: call next, complete, no-show, hand over, cancel (docs/waiting-room.md)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.api.waiting_room.room import Room
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
