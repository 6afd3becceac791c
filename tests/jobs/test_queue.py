"""The queue: who gets what, how many at once, and what becomes of the work of those who die."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.jobs import queue
from rxdesk.jobs.session import Session, open_session

KIND = "test"
NOW = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


@pytest.fixture
async def sessions(cluster: embedded.Address) -> AsyncIterator[list[Session]]:
    async def connect() -> Connection:
        return await asyncpg.connect(**cluster.connect_args(embedded.APP))

    opened = [await open_session(connect, lambda: None) for _ in range(3)]
    yield opened
    for one in opened:
        one.end()


async def put(
    connection: Connection,
    endpoint: int,
    count: int = 1,
    *,
    lane: str = "first",
    due: datetime = NOW,
    organisation: int = 1,
) -> None:
    await connection.execute(
        "INSERT INTO jobs (organisation_id, uid, kind, lane, endpoint, due_at) "
        "SELECT $1::int, $2::bigint || '-' || n || $5, $3, $5, $2, $4 FROM generate_series(1, $6::int) n",
        organisation,
        endpoint,
        KIND,
        due,
        lane,
        count,
    )


async def take(
    session: Session,
    wanted: int,
    *,
    lane: str = "first",
    cursor: tuple[int, int] = queue.BEFORE_ALL,
    now: datetime = NOW,
    begun: tuple[int, int] | None = None,
    limits: queue.Limits = queue.NO_LIMITS,
) -> queue.Claimed:
    return await queue.claim(
        session.connection,
        KIND,
        lane,
        wanted=wanted,
        cursor=cursor,
        begun=begun,
        limits=limits,
        worker=session.number,
        now=now,
        lease_until=LATER,
    )


def places(found: queue.Claimed) -> Counter[str]:
    return Counter(one.uid.partition("-")[0] for one in found.claims)


async def test_a_job_is_claimed_once(owner: Connection, sessions: list[Session]) -> None:
    await put(owner, 1, 2)
    found = await take(sessions[0], 10)
    assert sorted(one.uid for one in found.claims) == ["1-1first", "1-2first"]
    assert {one.worker for one in found.claims} == {sessions[0].number}
    assert (await take(sessions[1], 10)).claims == []


async def test_what_is_not_due_waits(owner: Connection, sessions: list[Session]) -> None:
    await put(owner, 1, due=NOW + timedelta(seconds=1), lane="retry")
    assert (await take(sessions[0], 10, lane="retry")).claims == []
    assert await queue.next_retry(owner, KIND) == NOW + timedelta(seconds=1)
    assert len((await take(sessions[0], 10, lane="retry", now=LATER)).claims) == 1
    assert await queue.next_retry(owner, KIND) is None


async def test_four_of_a_place_at_once_and_each_place_in_turn(
    owner: Connection, sessions: list[Session]
) -> None:
    for endpoint in range(1, 6):
        await put(owner, endpoint, 10)
    first = await take(sessions[0], 6)
    assert places(first) == {"1": 4, "2": 2}
    assert first.more
    second = await take(sessions[1], 6, cursor=first.cursor)
    assert places(second) == {"3": 4, "4": 2}
    third = await take(sessions[2], 100, cursor=second.cursor)
    assert places(third) == {"5": 4}
    assert third.more, "the walk began in the middle"
    fourth = await take(sessions[0], 100, cursor=third.cursor)
    assert places(fourth) == {"2": 2, "4": 2}
    assert not fourth.more


async def test_an_organisation_has_its_share_and_no_more(owner: Connection, sessions: list[Session]) -> None:
    for organisation in (1, 2):
        for endpoint in range(1, 6):
            await put(owner, endpoint + organisation * 10, 10, organisation=organisation)
    limits = queue.Limits(of_one=6, held={2: 3})
    assert places(await take(sessions[0], 100, limits=limits)) == {
        "11": 2,
        "12": 1,
        "13": 1,
        "14": 1,
        "15": 1,
    } | {"21": 1, "22": 1, "23": 1}
    full = queue.Limits(of_one=6, held={1: 7, 2: 6})
    assert places(await take(sessions[0], 100, limits=full)) == {}


async def test_an_organisations_share_goes_round_its_places(
    owner: Connection, sessions: list[Session]
) -> None:
    """Else one place with fresh work would wait until others have nothing left, old or not."""
    for endpoint in range(1, 4):
        await put(owner, endpoint, 10, due=NOW - timedelta(seconds=endpoint))
    first = queue.Limits(of_one=5)
    assert places(await take(sessions[0], 100, limits=first)) == {"1": 1, "2": 2, "3": 2}
    await put(owner, 4, 10)
    later = queue.Limits(of_one=8, held={1: 5})
    assert places(await take(sessions[0], 100, limits=later)) == {"1": 1, "4": 2}


async def test_a_place_that_hangs_has_one_in_flight(owner: Connection, sessions: list[Session]) -> None:
    await put(owner, 1, 10)
    await put(owner, 2, 10)
    limits = queue.Limits(hanging=[(1, 2)])
    assert places(await take(sessions[0], 100, limits=limits)) == {"1": 4, "2": 1}
    assert places(await take(sessions[0], 100, limits=limits)) == {}
    assert places(await take(sessions[0], 100)) == {"2": 3}


async def test_both_lanes_count_against_a_place(owner: Connection, sessions: list[Session]) -> None:
    await put(owner, 1, 3)
    await put(owner, 1, 3, lane="retry")
    assert len((await take(sessions[0], 10, lane="retry")).claims) == 3
    assert len((await take(sessions[0], 10)).claims) == 1


async def test_no_race_gives_a_place_more_than_its_share(owner: Connection, sessions: list[Session]) -> None:
    for endpoint in range(1, 4):
        await put(owner, endpoint, 50)
    found = await asyncio.gather(*(take(one, 100) for one in sessions))
    assert sum((places(one) for one in found), Counter()) == {"1": 4, "2": 4, "3": 4}


async def test_a_claim_that_fails_keeps_nobody_from_claiming(
    owner: Connection, sessions: list[Session]
) -> None:
    await put(owner, 1)
    with pytest.raises(asyncpg.CharacterNotInRepertoireError):
        await take(sessions[0], 1, lane="no\x00lane")
    async with asyncio.timeout(10):
        assert len((await take(sessions[1], 1)).claims) == 1
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND objid = 0"
    assert await owner.fetchval(locks, queue.LOCK_CLASS) == 0


async def test_a_claim_tells_of_the_next_retry(owner: Connection, sessions: list[Session]) -> None:
    assert (await take(sessions[0], 1)).next_retry is None
    await put(owner, 1, lane="retry", due=LATER)
    assert (await take(sessions[0], 1)).next_retry == LATER


async def test_a_long_row_of_places_without_work_is_walked_in_parts(
    owner: Connection, sessions: list[Session]
) -> None:
    for endpoint in range(1, 101):
        await put(owner, endpoint, due=LATER)
    await put(owner, 101)
    cursor, claims, rounds = queue.BEFORE_ALL, 0, 0
    while not claims:
        found = await take(sessions[0], 4, cursor=cursor)
        cursor, claims, rounds = found.cursor, len(found.claims), rounds + 1
        assert found.more or claims
    assert rounds == 6


async def test_a_round_ends_where_it_began(owner: Connection, sessions: list[Session]) -> None:
    """Nothing of a hundred places is due: each is looked at, and then there is no more, wherever the round began."""
    for endpoint in range(1, 101):
        await put(owner, endpoint, due=LATER)
    for begun in (queue.BEFORE_ALL, (1, 50), (1, 100), (2, 0)):
        cursor, statements, more = begun, 0, True
        while more and statements < 50:
            found = await take(sessions[0], 4, cursor=cursor, begun=begun)
            cursor, more, statements = found.cursor, found.more, statements + 1
        assert 6 <= statements <= 8, begun


async def test_the_next_retry_after_those_that_are_due(owner: Connection) -> None:
    await put(owner, 1, lane="retry")
    await put(owner, 2, lane="retry", due=LATER)
    assert await queue.next_retry(owner, KIND) == NOW
    assert await queue.next_retry(owner, KIND, after=NOW) == LATER
    assert await queue.next_retry(owner, KIND, after=LATER) is None


async def test_the_dead_give_up_what_they_hold(owner: Connection, sessions: list[Session]) -> None:
    await put(owner, 1, 4)
    assert len((await take(sessions[0], 2)).claims) == 2
    assert len((await take(sessions[1], 2)).claims) == 2
    assert await queue.free(owner, NOW) == 0
    sessions[0].end()
    freed = 0
    async with asyncio.timeout(20):
        while not freed:
            freed = await queue.free(owner, NOW)
    assert freed == 2
    assert len((await take(sessions[1], 10)).claims) == 2


async def test_a_lease_ends(owner: Connection, sessions: list[Session]) -> None:
    await put(owner, 1)
    await take(sessions[0], 1)
    assert await queue.free(owner, LATER) == 0
    assert await queue.free(owner, LATER + timedelta(seconds=1)) == 1


async def test_given_back_is_anybodys(owner: Connection, sessions: list[Session]) -> None:
    await put(owner, 1)
    found = await take(sessions[0], 1)
    await queue.give_back(sessions[0].connection, KIND, found.claims, not_before=LATER)
    assert (await take(sessions[1], 1)).claims == []
    assert len((await take(sessions[1], 1, now=LATER)).claims) == 1


async def test_who_lost_a_job_cannot_give_it_back(owner: Connection, sessions: list[Session]) -> None:
    await put(owner, 1)
    lost = await take(sessions[0], 1)
    await queue.free(owner, LATER + timedelta(seconds=1))
    await take(sessions[1], 1)
    await queue.give_back(sessions[0].connection, KIND, lost.claims, not_before=NOW)
    assert await owner.fetchval("SELECT worker_id FROM jobs") == sessions[1].number


async def test_a_worker_that_comes_back_keeps_its_number_if_it_is_free(
    cluster: embedded.Address, sessions: list[Session]
) -> None:
    async def connect() -> Connection:
        return await asyncpg.connect(**cluster.connect_args(embedded.APP))

    other = await open_session(connect, lambda: None, number=sessions[0].number)
    assert other.number != sessions[0].number
    other.end()
    async with asyncio.timeout(20):
        while True:
            again = await open_session(connect, lambda: None, number=other.number)
            again.end()
            if again.number == other.number:
                return


async def test_the_backlog_is_counted(owner: Connection, sessions: list[Session]) -> None:
    await put(owner, 1, 3)
    await put(owner, 2, 2, due=NOW - timedelta(seconds=9))
    await put(owner, 2, 1, lane="retry", due=LATER)
    assert await queue.backlog(owner, KIND) == {"first": (5, NOW - timedelta(seconds=9)), "retry": (1, LATER)}


def scanned(plan: dict[str, Any]) -> int:
    """Rows that the plan's scans of the queue gave or threw away."""
    here = 0
    if plan.get("Relation Name") == "jobs" and "Scan" in plan["Node Type"]:
        each = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        here = round(each * plan["Actual Loops"])
    return here + sum(scanned(part) for part in plan.get("Plans", ()))


async def test_a_claim_costs_the_same_whatever_waits(owner: Connection, sessions: list[Session]) -> None:
    """Pages and rows that a claim touches, with 1,000 and with 50,000 jobs behind 20 places."""

    async def cost() -> tuple[int, int]:
        session = sessions[0]
        async with session.connection.transaction():
            limits = queue.Limits(of_one=64).arguments()
            arguments = (KIND, "first", *queue.BEFORE_ALL, 48, 64, NOW, session.number, LATER, *limits)
            [[text]] = await session.connection.fetch(
                "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + queue._CLAIM,  # noqa: SLF001 - its cost is what is tested
                *arguments,
            )
            plan = json.loads(text)[0]["Plan"]
            return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"]), scanned(plan)

    for endpoint in range(20):
        await put(owner, endpoint, 50)
    few_pages, few_rows = await cost()
    await owner.execute("DELETE FROM jobs")
    for endpoint in range(20):
        await put(owner, endpoint, 2500)
    many_pages, many_rows = await cost()
    # A descent of a larger index is a page or two longer; of rows there are none more.
    assert many_pages < few_pages * 2, (few_pages, many_pages)
    assert many_rows <= few_rows, (few_rows, many_rows)
    assert many_rows <= 4 * 64, many_rows
