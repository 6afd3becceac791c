"""What is learned of a shop from the rows of its history, and how fast it is believed and forgotten."""

from __future__ import annotations

import math
import random
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxdesk.waiting_room.estimates.habits import Habits, Hour
from rxdesk.waiting_room.estimates.learning import Learned, Learner
from rxdesk.waiting_room.estimates.lengths import PRIOR, Lengths, LogNormal, of_doctor, of_shop
from rxdesk.waiting_room.estimates.room import Room, Row
from rxdesk.waiting_room.estimates.sums import HALF_LIFE_DAYS, Rate

DAY = 86400.0
# Midnight in UTC.
START = 1_770_076_800.0


def seen(minutes: list[float], at: float = START) -> Lengths:
    lengths = Lengths()
    for one in minutes:
        lengths.add(one, at)
    return lengths


def drawn(mu: float, count: int) -> list[float]:
    source = random.Random(3)
    return [source.lognormvariate(mu, 0.5) for _ in range(count)]


def learner(*rows: Row) -> Learner:
    made = Learner(Room())
    for row in rows:
        made.observe(row)
    return made


def row(minute: float, kind: str, visit: str | None = None, doctor: str | None = None) -> Row:
    values = {"at": START + 60 * minute, "kind": kind, "visit": visit, "doctor": doctor}
    return msgspec.convert({name: value for name, value in values.items() if value is not None}, Row)


# ----------------------------------------------------------------------------------------------------- lengths
def test_nothing_known_is_the_prior() -> None:
    found = of_shop(Lengths())
    assert (found.mu, found.sigma) == pytest.approx((PRIOR.mu, PRIOR.sigma))
    doctor = of_doctor(None, Lengths())
    assert doctor.mu == pytest.approx(PRIOR.mu)
    assert doctor.doubt > found.doubt


def test_much_seen_of_a_doctor_outweighs_the_shop() -> None:
    shop, doctor = seen(drawn(3.0, 500)), seen(drawn(1.5, 500))
    found = of_doctor(doctor, shop)
    assert found.mu == pytest.approx(1.5, abs=0.1)
    assert found.sigma == pytest.approx(0.5, abs=0.06)
    assert found.doubt < 0.03


def test_little_seen_of_a_doctor_lies_between() -> None:
    shop = seen(drawn(3.0, 500))
    found = of_doctor(seen([4.0, 4.0]), shop)
    assert math.log(4.0) < found.mu < of_shop(shop).mu
    assert found.doubt > of_shop(shop).doubt


def test_what_was_seen_counts_half_after_its_half_life() -> None:
    lengths = seen([4.0] * 8)
    lengths.add(16.0, START + HALF_LIFE_DAYS * DAY)
    assert lengths.weight == pytest.approx(5.0)
    assert math.exp(lengths.total / lengths.weight) == pytest.approx(4.0 ** (4 / 5) * 16.0 ** (1 / 5))
    rate = Rate()
    rate.add(2.0, 10.0, START)
    rate.add(0.0, 5.0, START + HALF_LIFE_DAYS * DAY)
    assert rate.value(0.0, 0.0) == pytest.approx(0.1)


@given(st.lists(st.floats(0, 1e6), max_size=40), st.floats(0, 300), st.floats(0.001, 0.999))
def test_what_is_left_is_never_negative_and_always_a_number(
    minutes: list[float], elapsed: float, share: float
) -> None:
    left = of_doctor(seen(minutes), Lengths()).remaining(elapsed, share)
    assert 0 <= left < math.inf


@pytest.mark.parametrize("elapsed", [1e-6, 0.01, 1.0, 8.0, 30.0, 45.0, 60.0, 90.0, 240.0])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_what_is_left_is_that_of_those_that_have_lasted_so_long(elapsed: float, share: float) -> None:
    """Also of one that lasts far longer than any before: it does not end within the next minute for all that."""

    def longer(minutes: float) -> float:
        return math.erfc((math.log(minutes) - PRIOR.mu) / PRIOR.sigma / math.sqrt(2)) / 2

    left = PRIOR.remaining(elapsed, share)
    assert longer(elapsed + left) / longer(elapsed) == pytest.approx(1 - share, rel=1e-6)


@pytest.mark.parametrize("elapsed", [1e3, 1e5, 1e7])
def test_what_is_left_of_what_never_ends_grows_with_it(elapsed: float) -> None:
    one = LogNormal(mu=math.log(8.0), sigma=0.1)
    low, high = one.remaining(elapsed, 0.1), one.remaining(elapsed, 0.9)
    assert 0 < low < high < elapsed


def test_what_is_kept_turns_into_json_and_back() -> None:
    learned = learner(*a_morning()).learned
    assert msgspec.json.decode(msgspec.json.encode(learned), type=Learned) == learned


# ----------------------------------------------------------------------------------------------------- rates
def a_morning() -> list[Row]:
    return [
        row(480, "on_duty", doctor="a"),
        row(481, "registered", "v1"),
        row(482, "called", "v1", "a"),
        row(484, "registered", "v2"),
        row(484, "registered", "v3"),
        row(490, "completed", "v1"),
        row(492, "called", "v2", "a"),
        row(495, "no_show", "v2"),
        row(496, "called", "v3", "a"),
        row(500, "cancelled", "v2"),
        row(516, "completed", "v3"),
        row(517, "paused", doctor="a"),
        row(527, "resumed", doctor="a"),
        row(540, "off_duty", doctor="a"),
    ]


def test_a_morning_is_counted() -> None:
    learned = learner(*a_morning()).learned
    assert learned.doctors["a"].weight == pytest.approx(2.0, abs=0.01)
    assert math.exp(learned.shop.total / learned.shop.weight) == pytest.approx(math.sqrt(8 * 20), rel=0.01)
    assert [(rate.events, rate.exposure) for rate in learned.no_show] == [
        (pytest.approx(1, abs=0.01), pytest.approx(3, abs=0.01)),
        (0, 0),
    ]
    assert learned.no_show_minutes.value(0, 0) == pytest.approx(3.0)
    # v1, v2, v3 and v2 once more waited 1, 8, 10 + 2 and 5 minutes; the last wait was given up.
    assert learned.give_up[0].events == pytest.approx(1, abs=0.01)
    assert learned.give_up[0].exposure == pytest.approx(1 + 8 + 10 + 5, abs=0.1)
    assert learned.give_up[1].exposure == pytest.approx(2, abs=0.01)
    # Two minutes before v2 and one before v3; v1 came when the doctor was free.
    assert learned.gap_minutes.value(0, 0) == pytest.approx(1.5, abs=0.01)
    assert learned.pause.value(0, 0) == pytest.approx(1 / 2, abs=0.01)
    assert math.exp(learned.pause_length.total) == pytest.approx(10, rel=0.01)


def test_little_seen_leaves_habits_near_what_is_assumed() -> None:
    found, assumed = learner(*a_morning()).habits(), Habits()
    assert found.no_show[0] == pytest.approx(assumed.no_show[0], abs=0.03)
    assert found.pause == pytest.approx(assumed.pause, abs=0.03)


# ----------------------------------------------------------------------------------------------------- hours
def days_of_duty(count: int) -> list[Row]:
    return [
        row(1440 * day + minute, kind, doctor="a")
        for day in range(count)
        for minute, kind in ((480, "on_duty"), (960, "off_duty"))
    ]


def test_hours_of_duty_are_learned() -> None:
    made = learner(*days_of_duty(8), row(1440 * 8 + 480, "on_duty", doctor="a"))
    goes = made.goes("a", START + 8 * DAY + 3600 * 8)
    assert goes is not None
    assert goes.at == pytest.approx(START + 8 * DAY + 3600 * 16)
    assert goes.deviation < 20
    assert goes.chance > 0.8
    # Of one who comes in the evening they tell nothing.
    assert made.goes("a", START + 8 * DAY + 3600 * 19) is None


def test_a_night_s_duty_ends_on_the_next_day() -> None:
    nights = [
        row(1440 * day + minute, kind, doctor="a")
        for day in range(6)
        for minute, kind in ((1320, "on_duty"), (1320 + 480, "off_duty"))
    ]
    goes = learner(*nights).goes("a", START + 6 * DAY + 3600 * 22)
    assert goes is not None
    assert goes.at == pytest.approx(START + 7 * DAY + 3600 * 6)


def test_who_usually_comes_is_expected_until_then() -> None:
    made = learner(*days_of_duty(8))
    before, after = START + 8 * DAY + 3600 * 7, START + 8 * DAY + 3600 * 10
    [expected] = made.expected(before)
    assert expected.comes.at == pytest.approx(START + 8 * DAY + 3600 * 8)
    assert expected.comes.still(before) > 0.8
    assert expected.comes.still(after) < 0.1


def test_who_has_come_today_is_not_expected_again() -> None:
    made = learner(*days_of_duty(8))
    assert made.expected(START + 7 * DAY + 3600 * 20) == []


def test_hours_are_of_the_local_day() -> None:
    made = Learner(Room(), zone=ZoneInfo("America/New_York"))
    for one in days_of_duty(3):
        made.observe(one)
    assert made.learned.hours["a"].comes.total / made.learned.hours["a"].comes.weight == pytest.approx(180)


@given(st.floats(-1000, 1000), st.floats(1, 200), st.floats(0, 1), st.floats(0.001, 0.999))
def test_an_hour_ahead_is_ahead(minutes: float, deviation: float, chance: float, share: float) -> None:
    hour = Hour(START + 60 * minutes, deviation, chance)
    assert hour.ahead(START, share) >= 0
    assert 0 <= hour.still(START) <= 1
