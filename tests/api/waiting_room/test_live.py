"""Live streams of a visit and of a board, over HTTP: what they say, how they are resumed, who may have them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from tests.api.waiting_room.streams import MANAGEMENT, OPERATIONS, Desk, Follower, desk_at, steps
from tests.conftest import Live, start_live, stop_live
from tests.factories import LONG_AGO, Tenant

from rxdesk.db import embedded
from rxdesk.kit.keys import new_key


@pytest.fixture
async def desk(live: Live, tenant: Tenant) -> AsyncIterator[Desk]:
    async with desk_at(live.url, tenant) as made:
        yield made


@pytest.fixture(scope="module")
def hasty(cluster: embedded.Address) -> Iterator[Live]:
    """A server that comments often and lets a request last for a second."""
    server = start_live(cluster, stream_comment_seconds=0.1, request_timeout_seconds=1)
    yield server
    stop_live(server)


@pytest.fixture
async def hasty_desk(hasty: Live, tenant: Tenant) -> AsyncIterator[Desk]:
    async with desk_at(hasty.url, tenant) as made:
        yield made


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
    assert snapshot.data == await desk.status(uid)
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
        assert snapshot.data == await desk.status(uid)
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


async def test_what_is_refused_is_refused_before_it_begins(desk: Desk, other: Tenant) -> None:
    shop = await desk.shop()
    uid = await desk.patient(shop)
    foreign_shop = await other.insert("shops")
    foreign = await other.insert(
        "waiting_room_visits", shop_uid=foreign_shop, patient_uid=await other.insert("patients"), turn=1
    )
    for path in (desk.path(uid), desk.board_path(shop)):
        refused = await desk.follow(path, headers={})
        assert (refused.status, (await refused.body())["code"]) == (401, "authorization_header_missing")
        refused = await desk.follow(path, headers={"X-API-Key": new_key(desk.tenant.id)})
        assert (refused.status, (await refused.body())["code"]) == (401, "invalid_api_key")
        refused = await desk.follow(path, headers=await desk.tenant.headers("waiting_room:operate"))
        assert (refused.status, (await refused.body())["code"]) == (403, "permission_denied")
    for path in (
        desk.path(foreign),
        desk.path("q-none"),
        desk.path("%00"),
        desk.board_path(foreign_shop),
        desk.board_path("none"),
        desk.board_path("%20"),
    ):
        refused = await desk.follow(path)
        assert (refused.status, await refused.body()) == (404, {"error": "Resource not found"})
    for query in ("", "?shop_uid=a&shop_uid=b"):
        refused = await desk.follow(f"{OPERATIONS}/events{query}")
        assert (refused.status, (await refused.body())["error"]) == (400, "Validation failed")
    refused = await desk.follow(f"{MANAGEMENT}/{uid}/events", method="POST")
    assert refused.status == 405


async def test_head_has_the_headers_only(desk: Desk) -> None:
    uid = await desk.patient(await desk.shop())
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.head(desk.url + desk.path(uid), headers=desk.headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")


async def test_a_stream_outlives_a_request_and_says_that_it_lives(hasty_desk: Desk) -> None:
    uid = await hasty_desk.patient(await hasty_desk.shop())
    stream = await hasty_desk.follow(hasty_desk.path(uid))
    await stream.until("snapshot")
    begun = datetime.now(UTC)
    # Each comment is on its way for a tenth of a second; nothing else comes.
    while stream.comments < 20:
        with pytest.raises(TimeoutError):
            await stream.next(0.2)
    assert datetime.now(UTC) - begun > timedelta(seconds=1.5)
    await hasty_desk.leave(uid)
    assert [event.name for event in await stream.rest()] == ["step", "snapshot", "end"]


@pytest.mark.parametrize(
    "change", [{"revoked_at": LONG_AGO}, {"expires_at": LONG_AGO}, {"permissions": ["waiting_room:operate"]}]
)
async def test_a_key_that_is_no_longer_good(hasty_desk: Desk, change: dict[str, object]) -> None:
    shop = await hasty_desk.shop()
    uid = await hasty_desk.patient(shop)
    key = await hasty_desk.tenant.new_key("waiting_room:read")
    headers = {"X-API-Key": key.key}
    mine = [
        await hasty_desk.follow(path, headers=headers)
        for path in (hasty_desk.path(uid), hasty_desk.board_path(shop))
    ]
    others = await hasty_desk.follow(hasty_desk.path(uid))
    for stream in (*mine, others):
        await stream.until("snapshot")
    await hasty_desk.tenant.update("api_keys", key.uid, **change)
    for stream in mine:
        [end] = await stream.rest()
        assert (end.name, end.data) == ("end", {"reason": "key"})
    await hasty_desk.leave(uid)
    assert [event.name for event in await others.rest()] == ["step", "snapshot", "end"]


async def test_nothing_is_told_by_a_key_that_was_revoked_before(desk: Desk) -> None:
    """What is told is read together with the keys: not even the change that comes at once."""
    shop = await desk.shop()
    key = await desk.tenant.new_key("waiting_room:read")
    stream = await desk.follow(desk.board_path(shop), headers={"X-API-Key": key.key})
    await stream.until("snapshot")
    await desk.tenant.update("api_keys", key.uid, revoked_at=LONG_AGO)
    await desk.patient(shop)
    assert [event.name for event in await stream.rest()] == ["end"]


async def test_the_rate_limit_counts_the_opening_alone(hasty_desk: Desk) -> None:
    desk = hasty_desk
    uid = await desk.patient(await desk.shop())
    key = {"X-API-Key": await desk.tenant.key("waiting_room:read", per_minute=2)}
    streams = [await desk.follow(desk.path(uid), headers=key) for _ in range(2)]
    refused = await desk.follow(desk.path(uid), headers=key)
    assert (refused.status, await refused.body()) == (429, {"error": "Rate limit exceeded"})
    for stream in streams:
        await stream.until("snapshot")
        while stream.comments < 3:
            with pytest.raises(TimeoutError):
                await stream.next(0.2)
    await desk.leave(uid)
    for stream in streams:
        assert [event.name for event in await stream.rest()] == ["step", "snapshot", "end"]


@pytest.fixture
async def narrow_desk(cluster: embedded.Address, tenant: Tenant) -> AsyncIterator[Desk]:
    """At a server that has few streams, and none but those of the test."""
    server = start_live(
        cluster,
        stream_comment_seconds=0.1,
        streams_per_process=6,
        streams_per_organisation=4,
        streams_per_key=2,
    )
    async with desk_at(server.url, tenant) as made:
        yield made
    stop_live(server)


async def test_limits_and_that_ends_give_places_back(narrow_desk: Desk, other: Tenant) -> None:
    desk = narrow_desk
    uid = await desk.patient(await desk.shop())
    keys = [await desk.tenant.headers("waiting_room:read") for _ in range(3)]
    open_ = [await desk.follow(desk.path(uid), headers=keys[n // 2]) for n in range(4)]
    assert [stream.status for stream in open_] == [200] * 4
    for headers in (keys[0], keys[2]):  # the key has two, and the organisation four
        refused = await desk.follow(desk.path(uid), headers=headers)
        assert (refused.status, await refused.body()) == (429, {"error": "Too many open streams"})
        assert int(refused.headers["retry-after"]) > 0
    async with desk_at(desk.url, other) as theirs:
        there = await theirs.patient(await theirs.shop())
        third = await other.headers("waiting_room:read")
        more = [await theirs.follow(theirs.path(there)) for _ in range(2)]
        assert [stream.status for stream in more] == [200, 200]
        refused = await theirs.follow(theirs.path(there), headers=third)
        assert (refused.status, await refused.body()) == (503, {"error": "Service unavailable"})
        for stream in (*open_, *more):
            stream.cut()
        again: Follower | None = None
        while again is None or again.status != 200:  # the server hears of a cut in its own time
            again = await theirs.follow(theirs.path(there), headers=third)
