"""Histories out of the specification itself: right by construction, and spoilt on purpose."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.linear.history import History, Operation
from tests.linear.room import EMPTY, STEPS

SHOP = "shop"
KINDS = (
    "register",
    "register",
    "register",
    "status",
    "status",
    "cancel",
    "list",
    "call_next",
    "complete",
    "no_show",
)


@dataclass(frozen=True)
class Shape:
    """How a history is made: so many operations, overlapping by so much (1: two at a time, about).

    `lost` is the share of operations without an answer, half of which never happened.
    """

    operations: int
    patients: int = 6
    doctors: int = 3
    overlap: float = 3.0
    lost: float = 0.0


def _arguments(chance: random.Random, kind: str, shape: Shape, known: list[str]) -> tuple[str, ...]:
    doctor = f"doc-{chance.randrange(shape.doctors)}"
    uid = chance.choice(known[-8:]) if known else "q-none"
    return {
        "register": (f"pp-{chance.randrange(shape.patients)}",),
        "status": (uid,),
        "cancel": (uid,),
        "list": (),
        "call_next": (doctor,),
        "complete": (uid, doctor),
        "no_show": (uid, doctor),
    }[kind]


def make(chance: random.Random, shape: Shape) -> History:
    """Run the specification; each operation takes effect at its own instant, somewhere between call and return."""
    room, made = EMPTY, list[Operation]()
    shown: list[tuple[int, str]] = []  # when an answer that shows the uid had been returned
    for number in range(shape.operations):
        happens = number * 1000
        invoked = happens - int(chance.random() * shape.overlap * 1000)
        returned = happens + int(chance.random() * shape.overlap * 1000)
        kind = chance.choice(KINDS)
        arguments = _arguments(chance, kind, shape, [uid for when, uid in shown if when < invoked])
        lost = chance.random() < shape.lost
        if lost and chance.random() < 0.5:
            made.append(Operation(number, SHOP, kind, arguments, invoked))
            continue
        room, answer = STEPS[kind](room, f"q-{number}", *arguments)
        if lost:
            made.append(Operation(number, SHOP, kind, arguments, invoked))
            continue
        made.append(Operation(number, SHOP, kind, arguments, invoked, returned, answer))
        shown += [(returned, part) for part in answer if isinstance(part, str) and part.startswith("q-")]
        shown.sort()
    return tuple(made)


def spoil(chance: random.Random, history: History) -> History:
    """Swap the answers of two operations of one kind that were answered differently."""
    answered = [index for index, one in enumerate(history) if one.answer is not None]
    while True:
        one, other = chance.sample(answered, 2)
        if history[one].kind == history[other].kind and history[one].answer != history[other].answer:
            break
    spoilt = list(history)
    spoilt[one] = history[one]._replace(answer=history[other].answer)
    spoilt[other] = history[other]._replace(answer=history[one].answer)
    return tuple(spoilt)
