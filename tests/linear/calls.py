"""How each operation of the specification is asked for over HTTP: a new one is a row of `CALLS`.

Client processes import it: nothing here that is slow to load.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.linear.room import Answer

_REMEMBERED = 6  # uids a shop that a client asks about: the last it heard of
_MANAGEMENT = "/v1/management/waiting-room"
_OPERATIONS = "/v1/operations/waiting-room"


@dataclass
class Known:
    """What a client knows of a shop: patients, its doctor, the uids of visits that it was shown, the last one last."""

    shop: str
    patients: list[str]
    doctor: str  # who the client is when it acts for a doctor, on duty in this shop alone
    uids: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def learn(self, answer: Answer) -> None:
        for part in answer:
            if isinstance(part, str) and part.startswith("q-"):
                if part in self.uids:
                    self.uids.remove(part)
                self.uids.append(part)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: Any = None


@dataclass(frozen=True)
class Call:
    """One operation: how often it is chosen, with what, how it is asked for, and what its answer says.

    `choose` gives the arguments of the specification's step, None when there is nothing to ask. `read` gives what
    follows the status in the specification's answer, for each status that has a body of interest.
    """

    weight: int
    choose: Callable[[Known, random.Random], tuple[str, ...] | None]
    request: Callable[..., Request]
    read: dict[int, Callable[[Any], Answer]] = field(default_factory=dict)

    def answer(self, status: int, body: Any) -> Answer:
        read = self.read.get(status)
        return (status,) if read is None else (status, *read(body))


def _patient(known: Known, chance: random.Random) -> tuple[str, ...]:
    return (chance.choice(known.patients),)


def _visit(known: Known, chance: random.Random) -> tuple[str, ...] | None:
    return (chance.choice(known.uids),) if known.uids else None


def _doctor(known: Known, _: random.Random) -> tuple[str, ...]:
    return (known.doctor,)


def _visit_of_doctor(known: Known, chance: random.Random) -> tuple[str, ...] | None:
    """Mostly the one that it heard of last, which it may have called."""
    return (chance.choice((known.uids[-1], chance.choice(known.uids))), known.doctor) if known.uids else None


def go_on_duty(known: Known) -> Request:
    """What must be done before anybody calls."""
    return Request("POST", f"{_OPERATIONS}/doctors/{known.doctor}/on-duty", {"shop_uids": [known.shop]})


CALLS: dict[str, Call] = {
    "register": Call(
        weight=4,
        choose=_patient,
        request=lambda shop, patient: Request(
            "POST", f"{_MANAGEMENT}/register", {"shop_uid": shop, "patient_profile_uid": patient}
        ),
        read={
            201: lambda body: (body["queue_uid"], body["position"]),
            409: lambda body: (body["queue_uid"],),
        },
    ),
    "status": Call(
        weight=4,
        choose=_visit,
        request=lambda _, uid: Request("GET", f"{_MANAGEMENT}/{uid}/status"),
        read={200: lambda body: (body["status"], body["position"])},
    ),
    "cancel": Call(
        weight=3,
        choose=_visit,
        request=lambda _, uid: Request("DELETE", f"{_MANAGEMENT}/{uid}"),
    ),
    "list": Call(
        weight=2,
        choose=lambda _known, _chance: (),
        request=lambda shop: Request("GET", f"{_OPERATIONS}/shops/{shop}"),
        read={200: lambda body: tuple(visit["queue_uid"] for visit in body["data"])},
    ),
    "call_next": Call(
        weight=3,
        choose=_doctor,
        request=lambda _, doctor: Request("POST", f"{_OPERATIONS}/doctors/{doctor}/call-next"),
        read={200: lambda body: (body["queue_uid"],)},
    ),
    "complete": Call(
        weight=2,
        choose=_visit_of_doctor,
        request=lambda _, uid, doctor: Request(
            "POST", f"{_OPERATIONS}/visits/{uid}/complete", {"doctor_uid": doctor, "outcome": "treated"}
        ),
    ),
    "no_show": Call(
        weight=1,
        choose=_visit_of_doctor,
        request=lambda _, uid, doctor: Request(
            "POST", f"{_OPERATIONS}/visits/{uid}/no-show", {"doctor_uid": doctor}
        ),
    ),
}


@dataclass(frozen=True)
class Mix:
    """What clients do: in how many shops, and how often each kind."""

    shops: int
    weights: Mapping[str, int]


USUAL = Mix(2, {kind: call.weight for kind, call in CALLS.items()})
# Many come and go in one queue while others look at it: what is answered before a commit must be true after it.
CROWD = Mix(1, {"register": 4, "cancel": 4, "list": 6})
MIXES = {"usual": USUAL, "crowd": CROWD}
