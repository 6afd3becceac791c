"""Who is due: the rule of docs/waiting-room.md by example. (`test_model.py` has it at random.)"""

from __future__ import annotations

from tests.api.waiting_room.room import Room


async def test_first_come_first_served(room: Room) -> None:
    shop = await room.shop()
    doctors = [await room.doctor(shop) for _ in range(2)]
    uids = [await room.patient(shop) for _ in range(5)]
    await room.inside.client.delete(f"/waiting-room/{uids[1]}", headers=room.headers)
    assert [await room.call(doctors[n % 2]) for n in range(5)] == [uids[0], *uids[2:], None]


async def test_the_order_is_that_of_places_and_not_of_clocks(room: Room) -> None:
    shop = await room.shop()
    doctor = await room.doctor(shop)
    uids = [await room.patient(shop)]
    room.later(hours=-2)
    uids.append(await room.patient(shop))
    room.later(hours=2)
    assert [await room.call(doctor) for _ in range(2)] == uids


async def test_a_patient_waits_for_the_preferred_doctor(room: Room) -> None:
    shop = await room.shop()
    preferred, other = await room.doctor(shop), await room.doctor(shop)
    waits = await room.patient(shop, preferred)
    later = await room.patient(shop)
    assert await room.call(other) == later
    assert await room.call(other) is None
    assert await room.call(preferred) == waits


async def test_patience_ends(room: Room) -> None:
    """The time counts from when somebody else would have had the patient, whatever the preferred doctor does."""
    shop = await room.shop()
    preferred, other = await room.doctor(shop), await room.doctor(shop)
    waits = await room.patient(shop, preferred)
    room.later(minutes=30)
    for doctor in (preferred, other):
        await room.done(f"/doctors/{doctor}/heartbeat")
    assert await room.call(other) is None  # half an hour in which nobody would have had them
    for _ in range(15):
        room.later(minutes=1)
        await room.done(f"/doctors/{preferred}/heartbeat")
        assert (await room.call(other)) is None
    room.later(seconds=1)
    assert await room.call(other) == waits


async def test_the_preferred_doctor_s_consultation_counts(room: Room) -> None:
    """Ten minutes by the setting: so long from its beginning, and one more for each who waits for the same."""
    shop = await room.shop()
    preferred, other = await room.doctor(shop), await room.doctor(shop)
    await room.patient(shop, preferred)
    await room.call(preferred)
    first, second = await room.patient(shop, preferred), await room.patient(shop, preferred)
    assert await room.call(other) == second  # 10 + 10 > 15
    assert await room.call(other) is None  # 10
    assert await room.call(preferred) == first


async def test_a_shop_s_own_consultation(room: Room) -> None:
    shop = await room.shop(consultation_minutes=20)
    preferred, other = await room.doctor(shop), await room.doctor(shop)
    await room.patient(shop, preferred)
    await room.call(preferred)
    uid = await room.patient(shop, preferred)
    room.later(minutes=4)
    await room.done(f"/doctors/{preferred}/heartbeat")
    assert await room.call(other) == uid  # 16 are left


async def test_a_preferred_doctor_who_takes_nobody(room: Room) -> None:
    """Never on duty, off, elsewhere, away, in a pause of unknown length, or no longer active."""
    shop, elsewhere = await room.shop(), await room.shop()
    other = await room.doctor(shop)

    async def off() -> str:
        doctor = await room.doctor(shop)
        await room.done(f"/doctors/{doctor}/off-duty")
        return doctor

    async def away() -> str:
        doctor = await room.doctor(shop)
        room.later(seconds=121)
        return doctor

    async def paused() -> str:
        doctor = await room.doctor(shop)
        await room.done(f"/doctors/{doctor}/pause")
        return doctor

    async def inactive() -> str:
        doctor = await room.doctor(shop)
        await room.tenant.update("doctors", doctor, active=False)
        return doctor

    for doctor in (
        await room.doctor(),
        await off(),
        await room.doctor(elsewhere),
        await away(),
        await paused(),
        await inactive(),
    ):
        uid = await room.patient(shop, doctor)
        assert await room.call(other) == uid


async def test_a_pause_of_known_length(room: Room) -> None:
    shop = await room.shop()
    preferred, other = await room.doctor(shop), await room.doctor(shop)
    await room.done(f"/doctors/{preferred}/pause", {"minutes": 16})
    uid = await room.patient(shop, preferred)
    room.later(seconds=59)
    await room.patient(shop)
    assert await room.call(other) == uid
    await room.done(f"/doctors/{preferred}/pause", {"minutes": 15})
    waits = await room.patient(shop, preferred)
    assert await room.call(other) != waits
    assert await room.call(other) is None


async def test_never_overtaken_by_a_later_one_for_the_same_doctor(room: Room) -> None:
    shop = await room.shop()
    preferred, other = await room.doctor(shop), await room.doctor(shop)
    uids = [await room.patient(shop, preferred) for _ in range(2)]
    anybody = await room.patient(shop)
    last = await room.patient(shop, preferred)
    assert await room.call(other) == anybody
    assert [await room.call(preferred) for _ in range(3)] == [*uids, last]


async def test_the_preferred_doctor_takes_turns(room: Room) -> None:
    """A preference is no way to the front."""
    shop = await room.shop()
    preferred = await room.doctor(shop)
    uids = [await room.patient(shop), await room.patient(shop, preferred)]
    assert [await room.call(preferred) for _ in range(2)] == uids


async def test_of_several_shops_the_one_who_has_waited_longest(room: Room) -> None:
    one, two, three = [await room.shop() for _ in range(3)]
    doctor, colleague = await room.doctor(one, two), await room.doctor(two)
    uids = []
    for shop in (two, one, one, two):
        uids.append(await room.patient(shop))
        room.later(seconds=1)
    await room.patient(three)
    kept = await room.patient(two, colleague)
    assert [await room.call(doctor) for _ in range(4)] == uids
    assert await room.call(doctor) is None
    assert await room.call(colleague) == kept


async def test_a_no_show_has_waited_since_then(room: Room) -> None:
    one, two = await room.shop(), await room.shop()
    doctor = await room.doctor(one, two)
    absent = await room.patient(one)
    room.later(seconds=1)
    other = await room.patient(two)
    room.later(seconds=1)
    assert await room.call(doctor) == absent
    await room.done(f"/visits/{absent}/no-show", {"doctor_uid": doctor})
    assert [await room.call(doctor) for _ in range(2)] == [other, absent]


async def test_what_it_costs_does_not_grow_with_the_queue(room: Room) -> None:
    """So many statements for one who waits as for many; what they read is looked at in tests/db."""
    shop = await room.shop()
    doctor = await room.doctor(shop)
    await room.patient(shop)
    await room.call(doctor)  # a new connection asks the database of types
    counts = []
    for more in (1, 30):
        for _ in range(more):
            await room.patient(shop)
        room.inside.statements.clear()
        await room.call(doctor)
        counts.append(len(room.inside.statements))
    # Who asks; BEGIN, the duty, the rooms, the visit, its history, the events, COMMIT.
    assert counts == [8, 8], room.inside.statements
