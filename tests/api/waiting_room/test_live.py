"""Live streams of a visit and of a board, over HTTP: what they say, and how they are resumed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.waiting_room.streams import Desk, steps
from tests.factories import LONG_AGO

# Of a room that changes, an estimate may be that of a second ago; then a snapshot with that of now follows.
_ESTIMATE = ("estimated_wait_minutes", "estimated_wait_range", "estimate_reason")


def but_for_the_estimate(status: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in status.items() if name not in _ESTIMATE}


async def test_a_visit_from_its_registration_to_its_end(desk: Desk) -> None:
    shop = await desk.shop()
    doctor = await desk.doctor(shop)
    first, uid = await desk.patient(shop), await desk.patient(shop)
    stream = await desk.follow(desk.path(uid))
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["cache-control"] == "no-store"
    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers["x-request-id"]
    [snapshot] = await stream.until("snapshot")
    assert but_for_the_estimate(snapshot.data) == but_for_the_estimate(await desk.status(uid))
    while snapshot.data != await desk.status(uid):
        [snapshot] = await stream.until("snapshot")
    assert stream.retry is not None
    assert 1000 <= stream.retry < 5000
    # Somebody in front leaves: the position is another one, and no step of this visit.
    await desk.leave(first)
    while snapshot.data["position"] != 1:
        [snapshot] = await stream.until("snapshot")
    # Called, and seen.
    await desk.duty(doctor, "call-next")
    *changes, snapshot = await stream.until("snapshot")
    while snapshot.data["status"] == "waiting":
        *more, snapshot = await stream.until("snapshot")
        changes += more
    assert steps(changes) == (await desk.told(uid=uid))[1:2]
    assert snapshot.data == await desk.status(uid)
    assert snapshot.data["video_room_id"]
    await desk.visit(uid, "complete", {"doctor_uid": doctor, "outcome": "treated"})
    step, snapshot, end = await stream.rest()
    assert steps([step]) == (await desk.told(uid=uid))[2:]
    assert snapshot.data == await desk.status(uid)
    assert (end.name, end.data) == ("end", {"reason": "completed"})
    # Who has seen the end has nothing to come back for; who has not sees it once more.
    assert (await desk.follow(desk.path(uid), end.id)).status == 204
    again = await desk.follow(desk.path(uid))
    assert [event.name for event in await again.rest()] == ["snapshot", "end"]
    missed = await desk.follow(desk.path(uid), changes[0].id)
    assert [event.name for event in await missed.rest()] == ["step", "snapshot", "end"]


async def test_an_end_of_which_no_event_tells_is_seen_by_who_comes_back(desk: Desk) -> None:
    """As an import without events ends a visit."""
    shop = await desk.shop()
    uid = await desk.patient(shop)
    stream = await desk.follow(desk.path(uid))
    [snapshot] = await stream.until("snapshot")
    stream.cut()
    await desk.tenant.update("waiting_room_visits", uid, status="completed", ended_at=LONG_AGO)
    stream = await desk.follow(desk.path(uid), snapshot.id)
    assert stream.status == 200
    last, end = await stream.rest()
    assert (last.name, last.data["status"]) == ("snapshot", "completed")
    assert (end.name, end.data) == ("end", {"reason": "completed"})
    assert (await desk.follow(desk.path(uid), end.id)).status == 204
    # Others' events do not bring it back.
    await desk.patient(shop)
    assert (await desk.follow(desk.path(uid), end.id)).status == 204
    # One that is no longer over goes on.
    await desk.tenant.update("waiting_room_visits", uid, status="waiting", ended_at=None)
    stream = await desk.follow(desk.path(uid), end.id)
    [snapshot] = await stream.until("snapshot")
    assert snapshot.data["status"] == "waiting"
    stream.cut()


async def test_a_board_and_its_doctors(desk: Desk) -> None:
    shop, elsewhere = await desk.shop(), await desk.shop()
    stream = await desk.follow(desk.board_path(shop))
    [snapshot] = await stream.until("snapshot")
    assert snapshot.data == await desk.board(shop)
    doctor = await desk.doctor(shop)
    [snapshot] = await stream.until("snapshot")
    assert snapshot.data == await desk.board(shop)
    await desk.patient(elsewhere)
    uid = await desk.patient(shop)
    step, snapshot = await stream.until("snapshot")
    assert steps([step]) == (await desk.told(uid=uid))
    assert snapshot.data == await desk.board(shop)
    await desk.duty(doctor, "pause", {"minutes": 5})
    [snapshot] = await stream.until("snapshot")
    assert snapshot.data["doctors"][0]["status"] == "paused"
    await desk.leave(uid)
    step, snapshot = await stream.until("snapshot")
    assert (step.data["status"], snapshot.data["data"]) == ("cancelled", [])
    # What was missed comes in order, then the state.
    await desk.patient(elsewhere)
    last = snapshot.id
    stream.cut()
    uids = [await desk.patient(shop) for _ in range(3)]
    await desk.leave(uids[1])
    stream = await desk.follow(desk.board_path(shop), last)
    *changes, snapshot = await stream.until("snapshot")
    told = [one for one in await desk.told(int(last)) if one[1] in uids]
    assert steps(changes) == told
    assert len(told) == 4
    assert snapshot.data == await desk.board(shop)
    stream.cut()


async def test_a_change_reaches_every_stream(desk: Desk) -> None:
    """More than are filled before others have their turn, of a board and of visits: none is forgotten."""
    shop = await desk.shop()
    doctor = await desk.doctor(shop)
    called, *others = [await desk.patient(shop) for _ in range(20)]
    boards = [await desk.follow(desk.board_path(shop)) for _ in range(40)]
    of_called = [await desk.follow(desk.path(called)) for _ in range(20)]
    of_others = [await desk.follow(desk.path(uid)) for uid in others for _ in range(2)]
    for stream in (*boards, *of_called, *of_others):
        await stream.until("snapshot")
    before = len(await desk.told())
    await desk.duty(doctor, "call-next")
    told = (await desk.told(before), await desk.told(before, called))
    for streams, ledger in ((boards, told[0]), (of_called, told[1])):
        for stream in streams:
            events = await stream.until("step")
            while events[-1].name != "snapshot" or not steps(events):
                events += await stream.until("snapshot")
            assert steps(events) == ledger
    for position, stream in enumerate(of_others, 2):
        [snapshot] = await stream.until("snapshot")
        while snapshot.data["position"] != position // 2:
            [snapshot] = await stream.until("snapshot")
    for stream in (*boards, *of_called, *of_others):
        stream.cut()


async def test_a_visit_that_is_deleted(hasty_desk: Desk) -> None:
    shop = await hasty_desk.shop()
    uid = await hasty_desk.patient(shop)
    stream = await hasty_desk.follow(hasty_desk.path(uid))
    board = await hasty_desk.follow(hasty_desk.board_path(shop))
    await stream.until("snapshot")
    await hasty_desk.tenant.update("waiting_room_visits", uid, deleted_at=LONG_AGO)
    [end] = await stream.rest()
    assert (end.name, end.data) == ("end", {"reason": "deleted"})
    assert (await hasty_desk.follow(hasty_desk.path(uid), end.id)).status == 404
    await hasty_desk.tenant.update("shops", shop, deleted_at=LONG_AGO)
    *_, end = await board.rest()
    assert (end.name, end.data) == ("end", {"reason": "deleted"})


async def test_resumed_at_any_event_nothing_is_missing(desk: Desk) -> None:
    shop = await desk.shop()
    doctor = await desk.doctor(shop)
    uid = await desk.patient(shop)
    for _ in range(2):
        assert (await desk.duty(doctor, "call-next"))["queue_uid"] == uid
        await desk.visit(uid, "no-show", {"doctor_uid": doctor})
    told = await desk.told(uid=uid)
    assert len(told) == 5
    for number, (position, _, _) in enumerate(told, 1):
        stream = await desk.follow(desk.path(uid), position)
        *changes, snapshot = await stream.until("snapshot")
        assert steps(changes) == told[number:]
        assert but_for_the_estimate(snapshot.data) == but_for_the_estimate(await desk.status(uid))
        assert int(snapshot.id) >= int(told[-1][0])
        stream.cut()


@pytest.mark.parametrize(
    "last",
    ["", "x", "-1", "1.0", "1e3", " ", "0x1", "9" * 18, "9" * 19, "9" * 5000, "٣", "1,2", "snapshot", "-end"],
)
async def test_an_id_that_was_never_given(desk: Desk, last: str) -> None:
    shop = await desk.shop()
    uid = await desk.patient(shop)
    for path in (desk.path(uid), desk.board_path(shop)):
        stream = await desk.follow(path, last.encode().decode("latin-1"))
        assert stream.status == 200
        [event] = await stream.until("snapshot")
        assert event.id == str(len(await desk.told()))
        stream.cut()


async def test_two_ids(desk: Desk) -> None:
    uid = await desk.patient(await desk.shop())
    stream = await desk.follow(desk.path(uid), headers={**desk.headers, "last-event-id": "0"}, last="0")
    assert [event.name for event in await stream.until("snapshot")] == ["snapshot"]
    stream.cut()


@pytest.mark.parametrize("age", [timedelta(days=7), timedelta(hours=7)])
async def test_an_id_from_long_ago(desk: Desk, age: timedelta) -> None:
    shop = await desk.shop()
    uids = [await desk.patient(shop) for _ in range(3)]
    [position, *_] = await desk.told()
    await desk.tenant.enter()
    await desk.tenant.connection.execute(
        "UPDATE events SET occurred_at = $2 WHERE organisation_id = $1",
        desk.tenant.id,
        datetime.now(UTC) - age,
    )
    await desk.leave(uids[1])
    stream = await desk.follow(desk.board_path(shop), position[0])
    [event] = await stream.until("snapshot")
    assert event.data == await desk.board(shop)
    stream.cut()


async def test_an_id_whose_next_event_was_pruned(desk: Desk) -> None:
    shop = await desk.shop()
    for _ in range(3):
        await desk.patient(shop)
    await desk.tenant.enter()
    await desk.tenant.connection.execute(
        "DELETE FROM events WHERE organisation_id = $1 AND position = 2", desk.tenant.id
    )
    stream = await desk.follow(desk.board_path(shop), 1)
    assert [event.name for event in await stream.until("snapshot")] == ["snapshot"]
    stream.cut()


async def test_more_missed_than_is_repeated(desk: Desk) -> None:
    shop = await desk.shop()
    uid = await desk.patient(shop)
    await desk.tenant.enter()
    for count, kept in ((1000, True), (1001, False)):
        await desk.tenant.connection.execute(
            "INSERT INTO events (organisation_id, uid, position, event_type, subject_uid, occurred_at, body, "
            "actor_kind, actor_uid) "
            "SELECT $1, 'evt-' || $4::int || '-' || g, k.last_position + g, 'waiting_room_updated', $2, $3, "
            'convert_to(\'{"data":{"uid":"x","status":"waiting"}}\', \'UTF8\'), \'key\', \'x\' '
            "FROM generate_series(1, $4::int) g, event_streams k WHERE k.organisation_id = $1",
            desk.tenant.id,
            uid,
            datetime.now(UTC),
            count,
        )
        last = await desk.tenant.rows(
            "UPDATE event_streams SET last_position = last_position + $2::int WHERE organisation_id = $1 "
            "RETURNING last_position - $2::int AS before",
            count,
        )
        for path in (desk.path(uid), desk.board_path(shop)):
            stream = await desk.follow(path, last[0]["before"])
            events = await stream.until("snapshot")
            assert len(events) == (count + 1 if kept else 1)
            stream.cut()
