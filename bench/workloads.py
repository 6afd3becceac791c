"""What is asked: the routes of the comparison, with many uids each, so that no single row is favoured."""

from __future__ import annotations

import json
from datetime import UTC, timedelta

from bench.data import DAYS, DOCTORS, PASSES, Filled
from bench.load import Request, Workload
from bench.servers import BASE

ASKED = 200  # uids a workload
_WIDE = 50_000  # and of those that ask for more than any cache holds
WORKING_SET = 5_000  # uids that are asked for again and again, on some 100,000 pages of 8 kB
_PUSHES = 100
STRIDE = 7919  # a prime, so that numbers spread
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


def _numbers(count: int, asked: int = ASKED) -> list[int]:
    """Choose `asked` numbers from 1 to `count`, or all, spread over all and in no order."""
    wanted = min(asked, count)
    return [1 + index * STRIDE * (count // wanted) % count for index in range(wanted)]


def _ends(filled: Filled) -> tuple[int, int]:
    """Thirty days whose bounds are no midnights: days are cut at both ends."""
    end = filled.start.astimezone(UTC) + timedelta(days=DAYS - 10, hours=15)
    return int((end - timedelta(days=30)).timestamp()), int(end.timestamp())


def _paths(filled: Filled, name: str, asked: int) -> list[str]:
    first, last = _ends(filled)
    doctors = range(1, DOCTORS + 1)
    return {
        "order": [f"/orders/ord-{n:08d}" for n in _numbers(filled.orders, asked)],
        "prescription": [f"/prescriptions/px-{n:08d}" for n in _numbers(filled.orders, asked)],
        "patient_email": [
            f"/patients?email={name}@example.org"
            for patient, order in zip(
                _numbers(filled.patients, asked)[::2], _numbers(filled.orders, asked)[::2], strict=False
            )
            for name in (f"erika{patient}", f"order{order}")
        ],
        "doctors": ["/doctors?limit=50", "/doctors?limit=50&page=0"],
        "products": ["/products?limit=50", "/products?limit=50&page=1"],
        "statistics": [f"/doctors/doc-{n}/statistics" for n in doctors],
        "statistics_30d": [f"/doctors/doc-{n}/statistics?from={first}&to={last}" for n in doctors],
        "intent": [
            f"/patients/pp-{n:08d}/intent/erectile-dysfunction" for n in _numbers(filled.patients, asked)
        ],
    }[name]


def reads(filled: Filled, name: str, asked: int = ASKED) -> tuple[Request, ...]:
    """Give the requests of a read, for `asked` uids or all that there are."""
    return tuple(Request(BASE + path, filled.key) for path in _paths(filled, name, asked))


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


def growing(filled: Filled, name: str, asked: int = WORKING_SET) -> Workload:
    """Give the workload that databases of several sizes are compared by: its answers are alike in all of them."""
    if name == "statistics":
        return doctor_statistics(filled, "doc-1")
    return Workload(name, reads(filled, name, asked))


def wide(filled: Filled, name: str) -> Workload:
    """Give a read of as many uids as there are, up to 50,000: in a large database each is asked for once."""
    return growing(filled, name, _WIDE)


def many_organisations(all_filled: list[Filled], name: str) -> Workload:
    """Give a read whose every request comes from another organisation than the one before."""
    requests = [reads(filled, name)[number % ASKED] for number, filled in enumerate(all_filled)]
    return Workload(f"{name} of many organisations", tuple(requests))
