"""The rollup behind doctor statistics against a live aggregate of random histories, in several calendars."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.api.doctors.live_aggregate import STATUSES, Work, rollup, same, statistics
from tests.factories import Tenant, make_tenant

from rxdesk.db.pool import Connection
from rxdesk.doctors import queries
from rxdesk.kit.keys import digest_of

# The zone, and a year in which its clock does something worth looking at. In Havana the doubled hour begins
# at midnight, in Beirut and Cairo midnight itself is missing or doubled, in St. John's (until 2011) and at
# Casey the clock goes back over midnight, so that a day begins, ends and begins again; Apia skipped a whole
# day.
CALENDARS = (
    ("Europe/Berlin", 2024),
    ("America/New_York", 2024),
    ("Asia/Kathmandu", 2025),
    ("Pacific/Auckland", 2025),
    ("America/Havana", 2024),
    ("Asia/Beirut", 2024),
    ("Africa/Cairo", 2024),
    ("America/St_Johns", 2010),
    ("Antarctica/Casey", 2010),
    ("Pacific/Apia", 2011),
    ("UTC", 2024),
)
STEPS = 14
RANGES = 7


def turns_of_the_clock(zone: ZoneInfo, year: int) -> list[datetime]:
    """The instants at which the zone's clock changes, from the year before to the year after."""
    found = []
    moment = datetime(year - 1, 7, 1, tzinfo=UTC)
    while moment.year < year + 2:
        step = timedelta(hours=6)
        if moment.astimezone(zone).utcoffset() != (moment + step).astimezone(zone).utcoffset():
            low, high = moment, moment + step
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
                same_offset = middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset()
                low, high = (middle, high) if same_offset else (low, middle)
            found.append(high)
        moment += step
    return found


class Instants:
    """Draws instants, most of them where a calendar may go wrong."""

    def __init__(self, zone: ZoneInfo, year: int, dice: random.Random) -> None:
        self._zone, self._year, self._dice = zone, year, dice
        self._turns = turns_of_the_clock(zone, year)

    def draw(self) -> datetime:
        dice = self._dice
        kind = dice.random()
        if self._turns and kind < 0.45:
            base = dice.choice(self._turns)
            shift = dice.choice(
                (0, -1, 1, -60, 60, -61, 59, -3600, 3600, 7200, -7200, 30, dice.randint(-200_000, 200_000))
            )
            return base + timedelta(seconds=shift)
        day = date(self._year, 1, 1) + timedelta(days=dice.randint(-200, 565))
        if kind < 0.6:
            day = day.replace(day=1)
        if self._turns and kind > 0.9:
            day = dice.choice(self._turns).astimezone(self._zone).date() + timedelta(days=dice.randint(-1, 1))
        midnight = datetime(
            day.year, day.month, day.day, tzinfo=self._zone, fold=dice.randint(0, 1)
        ).astimezone(UTC)
        if kind < 0.8:
            return midnight + timedelta(seconds=dice.choice((0, 0, 0, 1, -1)))
        return midnight + timedelta(
            seconds=dice.randint(0, 86_399), microseconds=dice.choice((0, 1, 999_999))
        )

    def bound(self) -> int | None:
        if self._dice.random() < 0.15:
            return None
        return int(self.draw().timestamp())

    def took(self) -> timedelta:
        dice = self._dice
        span = dice.choice((0, 1, 99, 100, 101, 3600, 86_400, 40 * 86_400))
        return timedelta(seconds=dice.randint(0, span), microseconds=dice.choice((0, 0, 1, 999_999)))


Ask = Callable[[str, int | None, int | None, datetime], Awaitable[dict[str, Any]]]


async def asking(tenant: Tenant) -> Ask:
    """A function that runs the statement of the statistics, as the server does."""
    digest = digest_of(await tenant.key("doctor_statistics:read"))

    async def ask(doctor: str, start: int | None, end: int | None, now: datetime) -> dict[str, Any]:
        row = await tenant.connection.fetchrow(
            queries.STATISTICS.statement,
            tenant.id,
            digest,
            "doctor_statistics:read",
            doctor,
            start,
            end,
            now,
        )
        assert row is not None
        answer: dict[str, Any] = json.loads(row["body"], parse_float=Decimal)
        return answer

    return ask


async def work_of(tenant: Tenant) -> list[Work]:
    return [
        Work(**row)
        for row in await tenant.rows(
            "SELECT doctor_uid, status, assigned_at, decided_at FROM prescriptions "
            "WHERE organisation_id = $1 AND doctor_uid IS NOT NULL AND deleted_at IS NULL"
        )
    ]


async def kept_of(tenant: Tenant) -> dict[tuple[str, str, date | None], tuple[int, ...]]:
    rows = await tenant.rows(
        "SELECT doctor_uid, span, CASE WHEN isfinite(starts_on) THEN starts_on END AS starts_on, "
        f"ARRAY[{', '.join(STATUSES)}, decided, decision_seconds] AS counts "
        "FROM doctor_statistics WHERE organisation_id = $1"
    )
    return {
        (row["doctor_uid"], row["span"], row["starts_on"]): tuple(row["counts"])
        for row in rows
        if any(row["counts"])
    }


async def blocks_of(tenant: Tenant) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The histogram's blocks as they are kept, and as its buckets add up."""
    kept = await tenant.rows(
        "SELECT doctor_uid, span, starts_on, block, decided FROM doctor_decision_blocks "
        "WHERE organisation_id = $1 AND decided <> 0 ORDER BY 1, 2, 3, 4"
    )
    counted = await tenant.rows(
        "SELECT doctor_uid, span, starts_on, bucket / 32 AS block, sum(decided)::bigint AS decided "
        "FROM doctor_decision_times WHERE organisation_id = $1 GROUP BY 1, 2, 3, 4 HAVING sum(decided) <> 0 "
        "ORDER BY 1, 2, 3, 4"
    )
    return kept, counted


async def change(
    tenant: Tenant, order: str, doctors: list[str], instants: Instants, dice: random.Random
) -> None:
    """One statement that inserts, updates, reassigns, deletes or revives some prescriptions."""

    def some() -> dict[str, Any]:
        doctor = dice.choice([*doctors, None]) if dice.random() < 0.3 else doctors[0]
        assigned = instants.draw() if doctor else None
        decided = assigned + instants.took() if assigned and dice.random() < 0.7 else None
        return {
            "status": dice.choice(STATUSES),
            "doctor_uid": doctor,
            "assigned_at": assigned,
            "decided_at": decided,
        }

    uids = [
        row["uid"]
        for row in await tenant.rows("SELECT uid FROM prescriptions WHERE organisation_id = $1 ORDER BY uid")
    ]
    kind = dice.random()
    if not uids or kind < 0.4:
        rows = [some() for _ in range(dice.randint(1, 12))]
        await tenant.connection.execute(
            "INSERT INTO prescriptions (organisation_id, uid, order_uid, position, status, doctor_uid, "
            "assigned_at, decided_at, rendered, created_at, updated_at, actor_kind, actor_uid)"
            " SELECT $1, 'px-' || gen_random_uuid(), $2, 0, s, d, a, t, false, now(), now(), 'system', 'test'"
            " FROM unnest($3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[]) AS u (s, d, a, t)",
            tenant.id,
            order,
            [row["status"] for row in rows],
            [row["doctor_uid"] for row in rows],
            [row["assigned_at"] for row in rows],
            [row["decided_at"] for row in rows],
        )
    elif kind < 0.7:
        await tenant.update("prescriptions", dice.choice(uids), **some())
    elif kind < 0.8:
        await tenant.update(
            "prescriptions",
            dice.choice(uids),
            deleted_at=dice.choice((None, datetime(2025, 1, 1, tzinfo=UTC))),
        )
    elif kind < 0.9:
        await tenant.connection.execute(
            "UPDATE prescriptions SET status = $3, decided_at = assigned_at + $4::interval "
            "WHERE organisation_id = $1 AND uid = ANY ($2)",
            tenant.id,
            dice.sample(uids, min(len(uids), 5)),
            dice.choice(STATUSES),
            instants.took(),
        )
    else:
        await tenant.connection.execute(
            "DELETE FROM prescriptions WHERE organisation_id = $1 AND uid = ANY ($2)",
            tenant.id,
            dice.sample(uids, min(len(uids), 3)),
        )


async def live_through(connection: Connection, name: str, year: int, *, seed: int, steps: int) -> None:
    """Change prescriptions at random; after each step compare rollup and answers with the live aggregate."""
    zone, dice = ZoneInfo(name), random.Random(f"{name} {year} {seed}")
    tenant = await make_tenant(connection, time_zone=name)
    doctors = [await tenant.insert("doctors") for _ in range(3)]
    order = await tenant.insert("orders")
    instants = Instants(zone, year, dice)
    ask = await asking(tenant)
    for _ in range(steps):
        for _ in range(dice.randint(1, 6)):
            await change(tenant, order, doctors, instants, dice)
        work = await work_of(tenant)
        assert await kept_of(tenant) == rollup(work, zone)
        blocks, counted = await blocks_of(tenant)
        assert blocks == counted
        for _ in range(RANGES):
            doctor = dice.choice([doctors[0], *doctors])
            now = instants.draw()
            start, end = instants.bound(), instants.bound()
            if start is not None and end is not None and start >= end:
                start, end = (end, start) if start > end else (start, start + dice.choice((1, 60, 86_400)))
            expected = statistics(work, doctor, zone, start, end, now)
            given = await ask(doctor, start, end, now)
            assert same(given, expected), (given, expected)


@pytest.mark.parametrize(("name", "year"), CALENDARS, ids=[name for name, _ in CALENDARS])
async def test_random_histories(app_connection: Connection, name: str, year: int) -> None:
    await live_through(app_connection, name, year, seed=0, steps=STEPS)


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(1, 21))
@pytest.mark.parametrize(("name", "year"), CALENDARS, ids=[name for name, _ in CALENDARS])
async def test_many_random_histories(app_connection: Connection, name: str, year: int, seed: int) -> None:
    await live_through(app_connection, name, year, seed=seed, steps=5 * STEPS)
