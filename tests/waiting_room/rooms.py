"""Waiting rooms as Hypothesis draws them."""

from __future__ import annotations

from typing import Literal

from hypothesis import strategies as st

from rxdesk.waiting_room.estimates.habits import Habits, Hour
from rxdesk.waiting_room.estimates.lengths import LogNormal
from rxdesk.waiting_room.estimates.snapshot import Doctor, Expected, Snapshot, Waiting

NOW = 1_770_000_000.0
UIDS = ("doctor-1", "doctor-2", "doctor-3", "doctor-4")


states: st.SearchStrategy[Literal["free", "busy", "paused"]] = st.sampled_from(("free", "busy", "paused"))


def minutes(most: float) -> st.SearchStrategy[float]:
    return st.floats(0, most)


lengths = st.builds(LogNormal, mu=st.floats(0.5, 3.5), sigma=st.floats(0.05, 1.0), doubt=st.floats(0, 0.5))
hours = st.builds(
    Hour, at=st.floats(NOW - 40_000, NOW + 40_000), deviation=st.floats(5, 120), chance=st.floats(0, 1)
)
habits = st.builds(
    Habits,
    no_show=st.tuples(st.floats(0, 0.4), st.floats(0, 0.9)),
    give_up=st.tuples(*[st.floats(0, 0.05)] * 5),
    gap_minutes=minutes(5),
    pause=st.floats(0, 0.5),
    newcomers=st.floats(0, 0.05),
)


@st.composite
def doctors(draw: st.DrawFn, least: int = 0) -> list[Doctor]:
    found = []
    for uid in UIDS[: draw(st.integers(least, len(UIDS)))]:
        state = draw(states)
        found.append(
            Doctor(
                uid=uid,
                state=state,
                since=None if state == "free" else NOW - 60 * draw(minutes(200)),
                until=draw(st.none() | st.floats(NOW - 3600, NOW + 3600)) if state == "paused" else None,
                length=draw(lengths),
                goes=draw(st.none() | hours),
            )
        )
    return found


@st.composite
def snapshots(
    draw: st.DrawFn, *, preferring: bool = True, least_doctors: int = 0, most: int = 130
) -> Snapshot:
    wishes = st.none() | st.sampled_from((*UIDS, "somebody else")) if preferring else st.none()
    since = NOW - 60 * draw(minutes(300))
    queue = []
    for number in range(draw(st.integers(1, most))):
        preferred = draw(wishes)
        passed_over = preferred is not None and draw(st.booleans())
        queue.append(
            Waiting(
                uid=f"visit-{number}",
                since=since,
                preferred_doctor=preferred,
                no_shows=draw(st.integers(0, 2)),
                anyone_from=NOW + 60 * draw(st.floats(-30, 15)) if passed_over else None,
            )
        )
    return Snapshot(
        now=NOW,
        doctors=draw(doctors(least=least_doctors)),
        queue=queue,
        expected=draw(st.lists(st.builds(Expected, comes=hours, length=lengths), max_size=3)),
        shop_length=draw(lengths),
        habits=draw(habits),
    )
