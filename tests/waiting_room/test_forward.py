"""What estimates promise of any room, and what they are where it can be reckoned by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.waiting_room.rooms import NOW, snapshots

from rxdesk.waiting_room.estimates.forward import SIMULATED, estimate
from rxdesk.waiting_room.estimates.habits import Habits, Hour
from rxdesk.waiting_room.estimates.lengths import LogNormal
from rxdesk.waiting_room.estimates.snapshot import Doctor, Expected, Snapshot, Waiting

# Ten minutes to the second, nobody misses a call, gives up, pauses or goes.
EVEN = LogNormal(mu=2.302585, sigma=0.0001)
STEADY = Habits(
    no_show=(0.0, 0.0), give_up=(0.0,) * 5, gap_minutes=0.0, pause=0.0, stay_minutes=1e9, newcomers=0.0
)


def queue(*preferred: str | None) -> list[Waiting]:
    return [Waiting(f"visit-{number}", NOW, wish) for number, wish in enumerate(preferred)]


def steady(doctors: list[Doctor], *preferred: str | None) -> Snapshot:
    return Snapshot(now=NOW, doctors=doctors, queue=queue(*preferred), shop_length=EVEN, habits=STEADY)


def free(*uids: str) -> list[Doctor]:
    return [Doctor(uid, length=EVEN) for uid in uids]


def minutes(snapshot: Snapshot) -> list[int]:
    return [found.minutes for found in estimate(snapshot)]


@given(snapshots())
@settings(max_examples=60, deadline=None)
def test_everybody_has_an_estimate_inside_the_range(snapshot: Snapshot) -> None:
    found = estimate(snapshot)
    assert len(found) == len(snapshot.queue)
    for one in found:
        assert 0 <= one.low <= one.minutes <= one.high
        assert one.reason == (None if snapshot.doctors else "no_doctor_on_duty")


@given(snapshots())
@settings(max_examples=25, deadline=None)
def test_the_same_room_has_the_same_estimates(snapshot: Snapshot) -> None:
    assert estimate(snapshot) == estimate(snapshot)
    assert estimate(snapshot, seed=5) == estimate(snapshot, seed=5)


@given(snapshots(preferring=False))
@settings(max_examples=60, deadline=None)
def test_nobody_waits_less_than_those_ahead_where_nobody_prefers_a_doctor(snapshot: Snapshot) -> None:
    for ahead, behind in itertools.pairwise(estimate(snapshot)):
        assert ahead.minutes <= behind.minutes
        assert ahead.low <= behind.low
        assert ahead.high <= behind.high


@given(snapshots(preferring=False, least_doctors=1, most=20), st.integers(1, 100))
@settings(max_examples=40, deadline=None)
def test_those_behind_change_nothing_for_those_ahead(snapshot: Snapshot, more: int) -> None:
    longer = replace(snapshot, queue=[*snapshot.queue, *queue(*[None] * more)])
    assert estimate(longer)[: len(snapshot.queue)] == estimate(snapshot)


def test_of_a_long_queue_the_front_and_the_number_behind_are_enough() -> None:
    whole = steady(free("a", "b"), *[None] * (SIMULATED + 300))
    assert estimate(replace(whole, queue=whole.queue[:SIMULATED], behind=300)) == estimate(whole)


def test_an_empty_room_has_none() -> None:
    assert estimate(steady(free("a"))) == []


def test_one_doctor_takes_one_after_the_other() -> None:
    assert minutes(steady(free("a"), *[None] * 4)) == [0, 10, 20, 30]


def test_two_doctors_take_two_at_a_time() -> None:
    assert minutes(steady(free("a", "b"), *[None] * 5)) == [0, 0, 10, 10, 20]


def test_far_behind_the_simulated_ones_a_turn_is_a_turn() -> None:
    found = minutes(steady(free("a", "b"), *[None] * (SIMULATED + 2000)))
    assert found[SIMULATED + 1999] == pytest.approx((SIMULATED + 1999) * 5, rel=0.01)


def test_what_a_consultation_has_lasted_counts() -> None:
    busy = Doctor("a", "busy", since=NOW - 240, length=EVEN)
    assert minutes(steady([busy], None, None)) == [6, 16]


def test_the_longer_a_consultation_lasts_the_less_is_known_of_its_end() -> None:
    usual = LogNormal(mu=2.0, sigma=0.6)
    found = [
        estimate(steady([Doctor("a", "busy", since=NOW - 60 * lasted, length=usual)], None))[0]
        for lasted in (1, 40)
    ]
    # Who has been there for long, may be there for longer.
    assert found[1].high - found[1].low > found[0].high - found[0].low


def test_a_pause_is_waited_for() -> None:
    paused = Doctor("a", "paused", since=NOW - 60, until=NOW + 720, length=EVEN)
    assert minutes(steady([paused], None, None)) == [12, 22]
    assert minutes(steady([paused, *free("b")], None, None, None)) == [0, 10, 12]


def test_with_no_doctor_on_duty_one_is_assumed() -> None:
    found = estimate(steady([], None, "a", None))
    assert [(one.minutes, one.reason) for one in found] == [
        (0, "no_doctor_on_duty"),
        (10, "no_doctor_on_duty"),
        (20, "no_doctor_on_duty"),
    ]


def test_a_fast_doctor_is_a_shorter_wait() -> None:
    fast = Doctor("a", "busy", since=NOW, length=LogNormal(mu=1.0, sigma=0.3))
    slow = replace(fast, length=LogNormal(mu=2.5, sigma=0.3))
    assert minutes(steady([fast], None, None, None))[2] < minutes(steady([slow], None, None, None))[2]


def test_a_doctor_who_goes_leaves_the_queue_to_the_others() -> None:
    goes = replace(free("b")[0], goes=Hour(at=NOW + 60, deviation=1.0, chance=1.0))
    assert minutes(steady([*free("a"), goes], *[None] * 4)) == [0, 0, 10, 20]


def test_the_last_doctor_stays() -> None:
    goes = replace(free("a")[0], goes=Hour(at=NOW, deviation=1.0, chance=1.0))
    assert minutes(steady([goes], *[None] * 3)) == [0, 10, 20]
    # Also while another is yet to come, and goes when that one is there.
    comes = Expected(comes=Hour(at=NOW + 60 * 25, deviation=1.0, chance=1.0), length=EVEN)
    assert minutes(replace(steady([goes], *[None] * 5), expected=[comes])) == pytest.approx(
        [0, 10, 20, 25, 35], abs=2
    )


def test_patients_who_give_up_or_do_not_come_shorten_the_wait_of_those_behind() -> None:
    patient = steady(free("a"), *[None] * 8)
    for habits in (
        replace(STEADY, give_up=(0.05,) * 5),
        replace(STEADY, no_show=(0.4, 0.4), no_show_minutes=1.0),
    ):
        assert minutes(replace(patient, habits=habits))[7] < 60 < minutes(patient)[7]


def test_most_of_a_long_queue_in_a_new_shop_is_expected_to_stay() -> None:
    """However little is known of it: the last of 40 is told nearly half of what all ahead would take."""
    new = replace(steady(free("a"), *[None] * 40), habits=replace(STEADY, give_up=Habits().give_up))
    staying = minutes(steady(free("a"), *[None] * 40))
    assert minutes(new)[39] > 0.45 * staying[39]


# ------------------------------------------------------------------------------------------- preferred doctors
def busy(uid: str, left: float) -> Doctor:
    return Doctor(uid, "busy", since=NOW - 60 * (10 - left), length=EVEN)


def test_who_prefers_a_doctor_is_passed_over_within_the_patience() -> None:
    # b is free in 8 minutes: the first waits for b, the second is called at once.
    assert minutes(steady([*free("a"), busy("b", 8)], "b", None, None)) == [8, 0, 10]


def test_beyond_the_patience_anyone_takes_the_patient() -> None:
    paused = Doctor("b", "paused", since=NOW, until=NOW + 60 * 40, length=EVEN)
    assert minutes(steady([*free("a"), paused], "b", None)) == [0, 10]
    within = replace(steady([*free("a"), paused], "b", None), patience_minutes=60.0)
    assert minutes(within) == [40, 0]


def test_who_was_passed_over_for_long_enough_is_taken_by_anyone() -> None:
    room = steady([*free("a"), busy("b", 8)], "b", None)
    first = replace(room.queue[0], anyone_from=NOW)
    assert minutes(replace(room, queue=[first, room.queue[1]])) == [0, 8]


def test_a_preferred_doctor_who_is_not_on_duty_is_not_waited_for() -> None:
    assert minutes(steady(free("a"), "nobody", None)) == [0, 10]


@given(st.lists(st.sampled_from((None, "b")), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_nobody_is_overtaken_for_the_preferred_doctor(wishes: list[str | None]) -> None:
    # b alone is on duty: whatever the wishes, first come, first served.
    assert minutes(steady(free("b"), *wishes)) == [10 * number for number in range(len(wishes))]
