"""The checker itself: hand-made histories, made ones, spoilt ones, and the same verdict as trying every order."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.linear import history as histories
from tests.linear.checker import check, check_shop, step
from tests.linear.history import History, Operation
from tests.linear.making import Shape, make, spoil
from tests.linear.room import EMPTY, Answer, Room

ROOT = Path(__file__).parents[2]


def op(
    kind: str,
    arguments: str,
    begin: int,
    end: int | None = None,
    answer: Answer | None = None,
    shop: str = "s",
) -> Operation:
    return Operation(begin, shop, kind, tuple(arguments.split()), begin, end, answer)


A = op("register", "A", 0, 1, (201, "q-a", 1))
B = op("register", "B", 2, 3, (201, "q-b", 2))
FULL = (A, B)
ACCEPTED: dict[str, History] = {
    "nothing": (),
    "one after the other": (*FULL, op("status", "q-b", 4, 5, (200, "waiting", 2))),
    "two at once, in either order": (
        op("register", "A", 0, 9, (201, "q-a", 2)),
        op("register", "B", 1, 8, (201, "q-b", 1)),
    ),
    "a cancellation during which both are seen": (
        *FULL,
        op("cancel", "q-a", 4, 20, (204,)),
        op("status", "q-b", 5, 6, (200, "waiting", 2)),
        op("status", "q-b", 7, 8, (200, "waiting", 1)),
    ),
    "a duplicate names the first": (A, op("register", "A", 2, 3, (409, "q-a"))),
    "again after the cancellation, and again cancelled": (
        A,
        op("cancel", "q-a", 2, 3, (204,)),
        op("cancel", "q-a", 4, 5, (204,)),
        op("register", "A", 6, 7, (201, "q-c", 1)),
        op("status", "q-a", 8, 9, (200, "cancelled", None)),
    ),
    "a doctor's day": (
        *FULL,
        op("list", "", 4, 5, (200, "q-a", "q-b")),
        op("call_next", "doc-1", 6, 7, (200, "q-a")),
        op("status", "q-b", 8, 9, (200, "waiting", 1)),
        op("register", "A", 10, 11, (409, "q-a")),
        op("no_show", "q-a doc-1", 12, 13, (200,)),
        op("list", "", 14, 15, (200, "q-b", "q-a")),
        op("call_next", "doc-1", 16, 17, (200, "q-b")),
        op("call_next", "doc-2", 16, 17, (200, "q-a")),
        op("complete", "q-a doc-1", 18, 19, (409,)),
        op("complete", "q-a doc-2", 20, 21, (200,)),
        op("cancel", "q-a", 22, 23, (409,)),
        op("cancel", "q-b", 24, 25, (204,)),
        op("call_next", "doc-1", 26, 27, (204,)),
        op("status", "q-x", 28, 29, (404,)),
    ),
    "a third no-show ends it": (
        A,
        *(
            operation
            for time in (10, 20, 30)
            for operation in (
                op("call_next", "doc-1", time, time + 1, (200, "q-a")),
                op("no_show", "q-a doc-1", time + 2, time + 3, (200,)),
            )
        ),
        op("status", "q-a", 40, 41, (200, "cancelled", None)),
    ),
    "unknown, and it happened": (
        *FULL,
        op("cancel", "q-a", 4),
        op("status", "q-b", 5, 6, (200, "waiting", 1)),
    ),
    "unknown, and it never did": (
        *FULL,
        op("cancel", "q-a", 4),
        op("status", "q-b", 5, 6, (200, "waiting", 2)),
    ),
    "unknown, and it happened late": (
        *FULL,
        op("cancel", "q-a", 4),
        op("status", "q-b", 50, 60, (200, "waiting", 2)),
        op("status", "q-b", 70, 80, (200, "waiting", 1)),
    ),
    "a visit of an unknown registration gets its uid when it is shown": (
        op("register", "A", 0),
        op("register", "B", 1, 2, (201, "q-b", 2)),
        op("register", "A", 3, 4, (409, "q-a")),
        op("status", "q-a", 5, 6, (200, "waiting", 1)),
        op("call_next", "doc-1", 7, 8, (200, "q-a")),
    ),
    "an unknown call took the first": (
        *FULL,
        op("call_next", "doc-1", 4),
        op("call_next", "doc-2", 5, 6, (200, "q-b")),
    ),
    "two shops have two rooms": (A, op("register", "A", 2, 3, (201, "q-z", 1), shop="other")),
}
REJECTED: dict[str, History] = {
    "a place too far back": (A, op("register", "B", 2, 3, (201, "q-b", 3))),
    "the same place twice": (A, op("register", "B", 2, 3, (201, "q-b", 1))),
    "a place from before the cancellation": (
        *FULL,
        op("cancel", "q-a", 4, 5, (204,)),
        op("status", "q-b", 6, 7, (200, "waiting", 2)),
    ),
    "back again": (
        *FULL,
        op("cancel", "q-a", 4, 20, (204,)),
        op("status", "q-b", 5, 6, (200, "waiting", 1)),
        op("status", "q-b", 7, 8, (200, "waiting", 2)),
    ),
    "answered and lost": (A, op("status", "q-a", 2, 3, (404,))),
    "cancelled and still there": (
        A,
        op("cancel", "q-a", 2, 3, (204,)),
        op("status", "q-a", 4, 5, (200, "waiting", 1)),
    ),
    "twice in the queue": (A, op("register", "A", 2, 3, (201, "q-b", 2))),
    "one uid for two visits": (A, op("register", "B", 2, 3, (201, "q-a", 2))),
    "allocated twice": (
        *FULL,
        op("call_next", "doc-1", 4, 9, (200, "q-a")),
        op("call_next", "doc-2", 5, 8, (200, "q-a")),
    ),
    "overtaken": (*FULL, op("call_next", "doc-1", 4, 5, (200, "q-b"))),
    "nobody is found though one waits": (A, op("call_next", "doc-1", 4, 5, (204,))),
    "two complete one visit": (
        A,
        op("call_next", "doc-1", 2, 3, (200, "q-a")),
        op("complete", "q-a doc-1", 4, 9, (200,)),
        op("complete", "q-a doc-1", 5, 8, (200,)),
    ),
    "a list out of order": (*FULL, op("list", "", 4, 5, (200, "q-b", "q-a"))),
    "before it was asked": (
        op("status", "q-a", 0, 1, (200, "waiting", 1)),
        op("register", "A", 2, 3, (201, "q-a", 1)),
    ),
    "an unknown one happened twice": (
        *FULL,
        op("call_next", "doc-1", 4),
        op("list", "", 5, 6, (200,)),
    ),
    "an unknown one cannot have happened before it was asked": (
        *FULL,
        op("status", "q-b", 4, 5, (200, "waiting", 1)),
        op("cancel", "q-a", 6),
    ),
    "an unknown registration has no uid that was given": (
        op("register", "A", 0),
        op("register", "A", 1, 2, (409, "q-b")),
        op("register", "B", 3, 4, (201, "q-b", 2)),
    ),
    "an answer that no one may get": (A, op("status", "q-a", 2, 3, (500,))),
}


@pytest.mark.parametrize("history", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(history: History) -> None:
    for shuffled in (history, history[::-1]):
        assert {verdict.outcome for verdict in check(shuffled).values()} <= {"linearizable"}


@pytest.mark.parametrize("history", REJECTED.values(), ids=REJECTED)
def test_rejected(history: History) -> None:
    for shuffled in (history, history[::-1]):
        assert [verdict.outcome for verdict in check(shuffled).values()] == ["violation"]


def test_a_witness_explains_all() -> None:
    made = make(random.Random(1), Shape(200, lost=0.05))
    verdict = check_shop(made)
    given_uids = frozenset(str(one.answer[1]) for one in made if one.answer and one.answer[0] == 201)
    room: Room | None = EMPTY
    for number, operation in enumerate(verdict.order):
        assert room is not None
        room = step(room, operation, number, given_uids)
    assert room is not None
    ordered = set(verdict.order)
    assert {one for one in made if one.answer is not None and one.kind != "list"} <= ordered
    times = [(one.invoked, one.returned or sys.maxsize) for one in verdict.order]
    for (invoked, _), (_, returned) in itertools.combinations(times, 2):
        assert returned >= invoked, "one that had returned comes after one that was invoked later"


def test_the_budget_is_kept() -> None:
    verdict = check_shop(make(random.Random(1), Shape(200)), budget=100)
    assert verdict.outcome == "over budget"
    assert verdict.steps == 101


def test_a_violation_is_explained(tmp_path: Path) -> None:
    late = [op("register", f"P{number}", 100 + number, 1000, (201, f"q-{number}", 1)) for number in range(3)]
    history = (*FULL, op("status", "q-b", 4, 5, (200, "waiting", 1)), *late)
    verdict = check_shop(history)
    assert verdict.outcome == "violation"
    assert verdict.blocked == history[2]
    assert verdict.prefix == 3, "what came later has nothing to do with it"
    assert verdict.order == FULL
    path = tmp_path / "history.jsonl"
    histories.write(path, history)
    assert histories.read(path) == history
    shown = subprocess.run(
        [sys.executable, "-m", "tests.linear.checker", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown == f"s: {verdict}\n"
    assert shown == (
        "s: violation: no order of the first 3 operations gets past the return of\n"
        "  client 4: status(q-b) → 200 waiting 1\n"
        "The longest way there orders 2 operations, the last of them:\n"
        "  client 0: register(A) → 201 q-a 1\n"
        "  client 2: register(B) → 201 q-b 2\n"
        "Then there wait q-a of A, q-b of B\n"
        "and none of these can come next in a way that goes on:\n"
        "  client 4: status(q-b) → 200 waiting 1; by the specification → 200 waiting 2\n"
    )


_SHAPES = st.builds(
    Shape,
    st.integers(1, 120),
    patients=st.integers(1, 8),
    overlap=st.floats(0, 8),
    lost=st.sampled_from((0.0, 0.0, 0.02, 0.1)),
)


@given(_SHAPES, st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_what_the_specification_did_is_accepted(shape: Shape, seed: int) -> None:
    verdict = check_shop(make(random.Random(seed), shape))
    assert verdict.outcome == "linearizable", str(verdict)


def test_what_was_spoilt_is_mostly_rejected() -> None:
    """Some swaps make another history that is right: of neighbours that could have changed places."""
    outcomes = []
    for seed in range(100):
        chance = random.Random(seed)
        outcomes.append(check_shop(spoil(chance, make(chance, Shape(80)))).outcome)
    assert outcomes.count("violation") >= 90
    assert outcomes.count("over budget") == 0


def _any_order(history: History) -> bool:
    """Try every order of every choice of the unknown ones."""
    answered = [one for one in history if one.answer is not None]
    unknown = [one for one in history if one.answer is None]
    given_uids = frozenset(str(one.answer[1]) for one in answered if one.answer and one.answer[0] == 201)
    for count in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, count):
            for order in itertools.permutations((*answered, *chosen)):
                if any(
                    later.returned is not None and later.returned < earlier.invoked
                    for earlier, later in itertools.combinations(order, 2)
                ):
                    continue
                room: Room | None = EMPTY
                for operation in order:
                    room = (
                        None if room is None else step(room, operation, history.index(operation), given_uids)
                    )
                if room is not None:
                    return True
    return False


@given(st.integers(1, 6), st.floats(0, 6), st.sampled_from(("as made", "spoilt")), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_the_same_verdict_as_trying_every_order(
    operations: int,
    overlap: float,
    state: str,
    seed: int,
) -> None:
    chance = random.Random(seed)
    shape = Shape(operations, patients=2, doctors=1, overlap=overlap, lost=0.2)
    history = make(chance, shape)
    answered = [one for one in history if one.answer is not None]
    if state == "spoilt" and any(
        one.kind == other.kind and one.answer != other.answer
        for one, other in itertools.combinations(answered, 2)
    ):
        history = spoil(chance, history)
    assert (check_shop(history).outcome == "linearizable") == _any_order(history)
