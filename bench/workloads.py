"""What is asked: the routes of the comparison, with many uids each, so that no single row is favoured."""

from __future__ import annotations

import json
from datetime import UTC, timedelta

from bench.data import DAYS, DOCTORS, PASSES, Filled
from bench.load import Request, Workload
from bench.servers import BASE

_ASKED = 200  # uids a workload
_PUSHES = 100
READS = (
    "order",
    "prescription",
    "patient_email",
    "doctors",
    "products",
    "statistics",
    "statistics_30d",
    "intent",
)
WRITES = ("waiting_room", "push")


def _numbers(count: int) -> list[int]:
    """Choose numbers from 1 to `count`, spread over all and in no order."""
    return [1 + index * 7919 * max(1, count // _ASKED) % count for index in range(_ASKED)]


def _ends(filled: Filled) -> tuple[int, int]:
    """Thirty days whose bounds are no midnights: days are cut at both ends."""
    end = filled.start.astimezone(UTC) + timedelta(days=DAYS - 10, hours=15)
    return int((end - timedelta(days=30)).timestamp()), int(end.timestamp())


def _paths(filled: Filled, name: str) -> list[str]:
    first, last = _ends(filled)
    doctors = range(1, DOCTORS + 1)
    return {
        "order": [f"/orders/ord-{n:08d}" for n in _numbers(filled.orders)],
        "prescription": [f"/prescriptions/px-{n:08d}" for n in _numbers(filled.orders)],
        "patient_email": [
            *(f"/patients?email=erika{n}@example.org" for n in _numbers(filled.patients)[::2]),
            *(f"/patients?email=order{n}@example.org" for n in _numbers(filled.orders)[::2]),
        ],
        "doctors": ["/doctors?limit=50", "/doctors?limit=50&page=0"],
        "products": ["/products?limit=50", "/products?limit=50&page=1"],
        "statistics": [f"/doctors/doc-{n}/statistics" for n in doctors],
        "statistics_30d": [f"/doctors/doc-{n}/statistics?from={first}&to={last}" for n in doctors],
        "intent": [f"/patients/pp-{n:08d}/intent/erectile-dysfunction" for n in _numbers(filled.patients)],
    }[name]


def reads(filled: Filled, name: str) -> tuple[Request, ...]:
    """Give the requests of a read."""
    return tuple(Request(BASE + path, filled.key) for path in _paths(filled, name))


def push(filled: Filled) -> Request:
    """Give the request of 100 pushes."""
    pushes = [
        {
            "wallet_pass_uid": f"wp-{n}",
            "message": "{first_name}, your appointment is on {next_date}"
            if n % 2
            else "Your prescription is ready",
        }
        for n in range(PASSES - _PUSHES + 1, PASSES + 1)
    ]
    return Request(f"{BASE}/wallet-passes/push-notifications", filled.key, "POST", json.dumps(pushes))


def workload(filled: Filled, name: str) -> Workload:
    """Give a workload by its name."""
    if name == "waiting_room":
        arguments = (f"{BASE}/waiting-room", filled.key, "100")
        return Workload(name, script="waiting_room.lua", arguments=arguments)
    requests = (push(filled),) if name == "push" else reads(filled, name)
    return Workload(name, requests)


def doctor_statistics(filled: Filled, uid: str) -> Workload:
    """Give the workload of one doctor's statistics over all time."""
    return Workload(f"statistics of {uid}", (Request(f"{BASE}/doctors/{uid}/statistics", filled.key),))


def growing(filled: Filled, name: str) -> Workload:
    """Give the workload that databases of several sizes are compared by: its answers are alike in all of them."""
    return doctor_statistics(filled, "doc-1") if name == "statistics" else workload(filled, name)


def many_organisations(all_filled: list[Filled], name: str) -> Workload:
    """Give a read whose every request comes from another organisation than the one before."""
    requests = [reads(filled, name)[number % _ASKED] for number, filled in enumerate(all_filled)]
    return Workload(f"{name} of many organisations", tuple(requests))
