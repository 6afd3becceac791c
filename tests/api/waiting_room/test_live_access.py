"""Live streams over HTTP: who may have them, how many, and for how long."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from tests.api.waiting_room.streams import MANAGEMENT, OPERATIONS, Desk, Follower, desk_at
from tests.conftest import Live, start_live, stop_live
from tests.factories import LONG_AGO, Tenant

from rxdesk.db import embedded
from rxdesk.kit.keys import new_key


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
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        answer = await client.head(desk.url + desk.path(uid), headers=desk.headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")


@pytest.fixture
def brief(cluster: embedded.Address) -> Iterator[Live]:
    """A server that lets a request last for a second."""
    server = start_live(cluster, stream_comment_seconds=0.1, request_timeout_seconds=1)
    yield server
    stop_live(server)


async def test_a_stream_outlives_a_request_and_says_that_it_lives(desk: Desk, brief: Live) -> None:
    uid = await desk.patient(await desk.shop())
    begun = time.monotonic()
    stream = await desk.follow(desk.path(uid), url=brief.url)
    while stream.status == 503:  # on a machine that stood still for that second
        begun = time.monotonic()
        stream = await desk.follow(desk.path(uid), url=brief.url)
    await stream.until("snapshot")
    # Each comment is on its way for a tenth of a second; nothing else comes.
    while stream.comments < 20:
        with pytest.raises(TimeoutError):
            await stream.next(0.2)
    assert time.monotonic() - begun > 1.5
    await desk.leave(uid)
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
