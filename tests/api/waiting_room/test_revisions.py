"""The changes of a room come one after the other, and each raises its revision."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import asyncpg
import httpx
import pytest
from tests.api.waiting_room.room import Room
from tests.conftest import ENCRYPTION_KEYS, settings_for
from tests.factories import LONG_AGO
from tests.webhooks.engine import command

from rxdesk.access import Transaction
from rxdesk.db import embedded
from rxdesk.kit.sealing import Sealer, read_keys
from rxdesk.waiting_room import calling, commands, visits
from rxdesk.waiting_room.desk_schemas import Absence
from rxdesk.waiting_room.forecasts import NOTHING
from rxdesk.waiting_room.lifecycle import Rules
from rxdesk.waiting_room.schemas import Registration

T = TypeVar("T")

_BLOCKED = (
    "SELECT 1 FROM pg_stat_activity WHERE $1 > 0 AND pid = $2 AND cardinality(pg_blocking_pids(pid)) > 0"
)

RULES = Rules.of(settings_for())


@dataclass
class Shop:
    """A shop whose two doctors are on duty in another one too: one has a patient, and another patient waits."""

    room: Room
    uid: str
    other: str
    doctor: str
    colleague: str
    had: str
    waiting: str

    async def revisions(self) -> dict[str, int]:
        rows = await self.room.tenant.rows(
            "SELECT uid, revision FROM waiting_rooms WHERE organisation_id = $1"
        )
        return {row["uid"]: row["revision"] for row in rows}

    async def cancel(self, uid: str) -> httpx.Response:
        return await self.room.inside.client.delete(f"/waiting-room/{uid}", headers=self.room.headers)


@pytest.fixture
async def shop(room: Room) -> Shop:
    uid, other = await room.shop(), await room.shop()
    doctor, colleague = await room.doctor(uid, other), await room.doctor(uid, other)
    had = await room.patient(uid)
    assert await room.call(doctor) == had
    await room.patient(await room.shop())  # a third one, which nothing concerns
    return Shop(room, uid, other, doctor, colleague, had, await room.patient(uid))


Change = Callable[[Shop], Awaitable[httpx.Response]]
# What concerns the shop alone, and what a doctor does, which concerns all shops of the duty.
IN_THE_QUEUE: dict[str, Change] = {
    "register": lambda s: s.room.inside.client.post(
        "/waiting-room/register",
        json={"shop_uid": s.uid, "patient_profile_uid": "pp-new"},
        headers=s.room.headers,
    ),
    "the patient cancels": lambda s: s.cancel(s.waiting),
    "the desk cancels": lambda s: s.room.post(f"/visits/{s.waiting}/cancel"),
}
BY_DOCTORS: dict[str, Change] = {
    "a patient with a doctor cancels": lambda s: s.cancel(s.had),
    "the doctor cancels": lambda s: s.room.post(f"/visits/{s.had}/cancel", {"doctor_uid": s.doctor}),
    "call next": lambda s: s.room.post(f"/doctors/{s.colleague}/call-next"),
    "complete": lambda s: s.room.post(
        f"/visits/{s.had}/complete", {"doctor_uid": s.doctor, "outcome": "treated"}
    ),
    "no-show": lambda s: s.room.post(f"/visits/{s.had}/no-show", {"doctor_uid": s.doctor}),
    "hand over": lambda s: s.room.post(
        f"/visits/{s.had}/hand-over", {"doctor_uid": s.doctor, "to_doctor_uid": s.colleague}
    ),
    "on duty": lambda s: s.room.post(f"/doctors/{s.colleague}/on-duty", {"shop_uids": [s.uid]}),
    "pause": lambda s: s.room.post(f"/doctors/{s.colleague}/pause"),
    "resume": lambda s: s.room.post(f"/doctors/{s.colleague}/resume"),
    "off duty": lambda s: s.room.post(f"/doctors/{s.colleague}/off-duty"),
}
CHANGES = IN_THE_QUEUE | BY_DOCTORS


@pytest.mark.parametrize("name", CHANGES)
async def test_each_change_raises_the_rooms_that_it_concerns(shop: Shop, name: str) -> None:
    await shop.room.tenant.insert("patients", uid="pp-new")
    before = await shop.revisions()
    assert (await CHANGES[name](shop)).is_success
    raised = {uid: revision - before[uid] for uid, revision in (await shop.revisions()).items()}
    assert raised == {**dict.fromkeys(before, 0), shop.uid: 1, shop.other: int(name in BY_DOCTORS)}


async def test_what_changes_nothing_raises_nothing(shop: Shop) -> None:
    room = shop.room
    [row] = await room.tenant.rows(
        "SELECT patient_uid FROM waiting_room_visits WHERE organisation_id = $1 AND uid = $2", shop.waiting
    )
    assert (await shop.cancel(shop.waiting)).status_code == 204
    before = await shop.revisions()
    assert (await shop.cancel(shop.waiting)).status_code == 204
    assert await room.call(shop.colleague) is None
    await room.done(f"/doctors/{shop.doctor}/heartbeat")
    await room.refused(f"/visits/{shop.waiting}/cancel")
    await room.refused(f"/visits/{shop.had}/no-show", {"doctor_uid": shop.colleague})
    await room.refused(f"/doctors/{shop.doctor}/off-duty")
    assert await shop.revisions() == before
    assert await room.patient(shop.uid, patient=row["patient_uid"])
    again = {"shop_uid": shop.uid, "patient_profile_uid": row["patient_uid"]}
    answer = await room.inside.client.post("/waiting-room/register", json=again, headers=room.headers)
    assert answer.status_code == 409
    assert await shop.revisions() == {**before, shop.uid: before[shop.uid] + 1}


async def test_a_patient_who_comes_back_to_the_queue_raises_it(shop: Shop) -> None:
    room = shop.room
    before = await shop.revisions()
    room.later(hours=1)
    moment = room.inside.clock.moment
    assert (
        await command(room.tenant, lambda tx: calling.return_vanished(tx, RULES, LONG_AGO), now=moment) == 1
    )
    assert await shop.revisions() == {**before, shop.uid: before[shop.uid] + 1}
    assert (
        await command(room.tenant, lambda tx: calling.return_vanished(tx, RULES, LONG_AGO), now=moment) == 0
    )
    assert await shop.revisions() == {**before, shop.uid: before[shop.uid] + 1}


@asynccontextmanager
async def held(
    cluster: embedded.Address, room: Room, act: Callable[[Transaction], Awaitable[T]]
) -> AsyncIterator[tuple[T, int]]:
    """A command that has its answer; gives that and its connection's process.

    At the end it tells its events, by which all commands of an organisation wait for each other, and is committed.
    """
    connection = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    try:
        await connection.execute(f"SET rxdesk.organisation_id = '{room.tenant.id}'")
        async with connection.transaction():
            tx = Transaction(
                connection=connection,
                organisation_id=room.tenant.id,
                actor_kind="key",
                actor_uid="key-test",
                now=room.inside.clock.moment,
                sealer=Sealer(read_keys(ENCRYPTION_KEYS)),
            )
            yield await act(tx), connection.get_server_pid()
            for last in tx.before_commit:
                await last()
    finally:
        await connection.close()


async def waits_for(room: Room, process: int, change: asyncio.Task[httpx.Response]) -> bool:
    """Whether a change comes to wait for a lock of that process; else it is answered."""
    query = "SELECT pid FROM pg_stat_activity WHERE $1 > 0 AND $2 = ANY (pg_blocking_pids(pid))"
    while not change.done():
        if await room.tenant.rows(query, process):
            return True
    return False


@pytest.mark.parametrize("name", CHANGES)
async def test_no_change_overtakes_a_place_that_was_read(
    cluster: embedded.Address, shop: Shop, name: str
) -> None:
    """A position is answered after its commit: were one ahead gone by then, no order of the two would be right."""
    room = shop.room
    await room.tenant.insert("patients", uid="pp-new")
    body = Registration(shop_uid=shop.uid, patient_profile_uid=await room.tenant.insert("patients"))
    async with held(cluster, room, lambda tx: commands.register(tx, body, NOTHING.next_ones)) as (
        place,
        process,
    ):
        assert place.position == 2
        change = asyncio.create_task(_sent(CHANGES[name], shop))
        assert await waits_for(room, process, change)
    assert (await change).is_success
    ahead = 1 if name in {"the patient cancels", "the desk cancels", "call next"} else 2
    assert (await room.status(place.queue_uid))["position"] == ahead


async def _sent(change: Change, shop: Shop) -> httpx.Response:
    return await change(shop)


@pytest.mark.parametrize("name", ["the patient cancels", "the desk cancels"])
async def test_a_patient_who_is_called_as_the_visit_is_cancelled(
    cluster: embedded.Address, shop: Shop, name: str
) -> None:
    """All shops of the doctor's duty are concerned, also if the doctor was not known before the lock."""
    room = shop.room
    before = await shop.revisions()
    async with held(cluster, room, lambda tx: calling.call_next(tx, shop.colleague, RULES, LONG_AGO)) as (
        visit,
        process,
    ):
        assert visit is not None
        assert visit.queue_uid == shop.waiting
        change = asyncio.create_task(_sent(CHANGES[name], shop))
        assert await waits_for(room, process, change)
    assert (await change).is_success
    assert (await room.status(shop.waiting))["status"] == "cancelled"
    after = await shop.revisions()
    assert after[shop.other] == before[shop.other] + 2
    assert after[shop.uid] >= before[shop.uid] + 2


async def test_such_a_visit_is_not_cancelled_before_all_rooms_are_locked(
    cluster: embedded.Address, shop: Shop
) -> None:
    """A crash in between would leave the doctor's other shops with what was true before."""
    room = shop.room
    before = await shop.revisions()
    other = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    try:
        await other.execute(f"SET rxdesk.organisation_id = '{room.tenant.id}'")
        await other.execute("BEGIN")
        async with held(cluster, room, lambda tx: calling.call_next(tx, shop.colleague, RULES, LONG_AGO)) as (
            _,
            first,
        ):
            change = asyncio.create_task(_sent(CHANGES["the patient cancels"], shop))
            assert await waits_for(room, first, change)
            # Is next to have the lock of the other room.
            lock = "SELECT uid FROM waiting_rooms WHERE organisation_id = $1 AND uid = $2 FOR UPDATE"
            locking = asyncio.create_task(other.fetch(lock, room.tenant.id, shop.other))
            while not await room.tenant.rows(_BLOCKED, other.get_server_pid()):
                pass
        await locking
        assert await waits_for(room, other.get_server_pid(), change)
        assert (await room.status(shop.waiting))["status"] == "allocated"
        assert (await shop.revisions())[shop.other] == before[shop.other] + 1
        await other.execute("COMMIT")
        assert (await change).status_code == 204
    finally:
        await other.close()
    assert (await room.status(shop.waiting))["status"] == "cancelled"
    assert (await shop.revisions())[shop.other] == before[shop.other] + 2
    assert await room.told(shop.waiting) == ["waiting", "allocated", "cancelled"]


async def test_a_patient_who_was_not_there_cancels_meanwhile(cluster: embedded.Address, shop: Shop) -> None:
    """The history has the no-show first, although the cancellation was asked for before it."""
    room = shop.room
    absent = Absence(doctor_uid=shop.doctor)
    room.later(minutes=1)
    async with held(cluster, room, lambda tx: visits.no_show(tx, shop.had, absent)) as (_, process):
        room.later(milliseconds=-5)
        change = asyncio.create_task(_sent(lambda s: s.cancel(s.had), shop))
        assert await waits_for(room, process, change)
    assert (await change).is_success
    steps = [(old, new) for _, old, new, _ in await room.history(shop.had)]
    assert steps == [("waiting", "allocated"), ("allocated", "waiting"), ("waiting", "cancelled")]
