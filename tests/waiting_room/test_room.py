"""A room follows the rows of its history, and refuses those that cannot follow."""

from __future__ import annotations

import json

import pytest

from rxdesk.waiting_room.backtest.history import by_day, read, write
from rxdesk.waiting_room.estimates.room import HistoryError, Room, Row

ROWS: list[dict[str, object]] = [
    {"at": 100, "kind": "on_duty", "doctor": "a"},
    {"at": 100, "kind": "on_duty", "doctor": "b"},
    {"at": 110, "kind": "registered", "visit": "v1", "preferred_doctor": "b"},
    {"at": 120, "kind": "registered", "visit": "v2"},
    {"at": 130, "kind": "called", "visit": "v2", "doctor": "a"},
]


def room_of(*more: dict[str, object]) -> Room:
    room = Room()
    for row in read(json.dumps(row).encode() for row in (*ROWS, *more)):
        room.apply(row)
    return room


def test_who_is_passed_over_may_be_taken_by_anyone_after_the_patience() -> None:
    assert room_of().queue["v1"].anyone_from == 130 + 15 * 60


def test_who_misses_a_call_goes_to_the_end_and_who_is_returned_to_the_front() -> None:
    third = {"at": 140, "kind": "registered", "visit": "v3"}
    missed = room_of(third, {"at": 150, "kind": "no_show", "visit": "v2"})
    assert list(missed.queue) == ["v1", "v3", "v2"]
    assert missed.queue["v2"].no_shows == 1
    assert missed.queue["v2"].queued_at == 150
    returned = room_of(third, {"at": 150, "kind": "returned", "visit": "v2"})
    assert list(returned.queue) == ["v2", "v1", "v3"]
    assert returned.queue["v2"].no_shows == 0
    assert returned.doctors["a"].free


def test_a_call_that_is_cancelled_frees_the_doctor() -> None:
    room = room_of({"at": 150, "kind": "cancelled", "visit": "v2"})
    assert room.doctors["a"].free
    assert list(room.queue) == ["v1"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"at": 99, "kind": "registered", "visit": "v9"}, "earlier than the row before"),
        ({"at": 200, "kind": "registered"}, "registered needs a visit"),
        ({"at": 200, "kind": "called", "visit": "v1"}, "called needs a doctor"),
        ({"at": 200, "kind": "registered", "visit": "v1"}, "is there already"),
        ({"at": 200, "kind": "registered", "visit": "v2"}, "is there already"),
        ({"at": 200, "kind": "called", "visit": "v9", "doctor": "b"}, "does not wait"),
        ({"at": 200, "kind": "called", "visit": "v1", "doctor": "c"}, "not on duty"),
        ({"at": 200, "kind": "called", "visit": "v1", "doctor": "a"}, "has a visit already"),
        ({"at": 200, "kind": "completed", "visit": "v1"}, "has not been called"),
        ({"at": 200, "kind": "on_duty", "doctor": "a"}, "on duty already"),
        ({"at": 200, "kind": "off_duty", "doctor": "c"}, "not on duty"),
        ({"at": 200, "kind": "vanished", "doctor": "a"}, "vanished"),
        ({"at": 200, "kind": "registered", "visit": "v9", "name": "Anna"}, "name"),
        ({"at": 1.77e12, "kind": "registered", "visit": "v9"}, "at"),
        ({"at": -1, "kind": "registered", "visit": "v9"}, "at"),
    ],
)
def test_a_row_that_cannot_follow_is_refused_by_its_line(row: dict[str, object], said: str) -> None:
    with pytest.raises(HistoryError, match=f"line 6: .*{said}"):
        room_of(row)


@pytest.mark.parametrize("line", [b"{", b"\xff", b"[]", b'{"at": NaN, "kind": "on_duty"}'])
def test_a_line_that_is_no_row_is_refused(line: bytes) -> None:
    with pytest.raises(HistoryError, match="line 2: "):
        read([b"\n", line])


def test_rows_are_written_as_they_are_read() -> None:
    rows = read(json.dumps(row).encode() for row in ROWS)
    assert read(write(rows)) == rows
    assert rows[2] == Row(at=110, kind="registered", visit="v1", preferred_doctor="b")


def test_rows_are_parted_by_day() -> None:
    rows = [Row(at=at, kind="on_duty", doctor=str(at)) for at in (10.0, 86399.0, 86400.0, 900000.0)]
    assert [len(day) for day in by_day(rows)] == [2, 1, 1]
