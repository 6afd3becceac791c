"""The egress against each hostile receiver: what it says, how soon, and that the ledger tells the truth."""

from __future__ import annotations

import time

import pytest
from tests.api.webhooks.receivers import Pki, make_pki
from tests.webhooks.hostile import (
    BEHAVIOURS,
    HostileReceiver,
    after,
    answer,
    hostile,
    in_turn,
    tls_stall,
)

from rxdesk.kit.addresses import AllowList
from rxdesk.kit.egress import ANSWER_LIMIT, Egress, Outcome

TOTAL = 0.5
PATIENCE = 30.0  # for what is told at once
ENOUGH = 20.0  # seconds that nothing here takes
# What is said of each, and whether it is said at once or when the time is over.
EXPECTED: dict[str, tuple[int | None, str | None, bool]] = {
    "/ok": (200, None, True),
    "/no-content": (204, None, True),
    "/hang": (None, "timeout", False),
    "/drip": (None, "timeout", False),
    "/drip-body": (200, "timeout", False),
    "/endless": (200, "too_large", True),
    "/reset": (None, "connect", True),
    "/redirect": (301, "redirect", True),
    "/redirect-307": (307, "redirect", True),
    "/fault": (500, "status", True),
    "/header-bomb": (None, "too_large", True),
    "/long-line": (None, "too_large", True),
    "/interim": (None, "too_large", True),
    "/no-http": (None, "connect", True),
    "/gone": (410, "status", True),
    "/busy": (429, "status", True),
    "/busy-until": (503, "status", True),
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def egress(pki: Pki) -> Egress:
    return Egress(AllowList.parse("127.0.0.0/8:*"), ca_file=pki.ca_file)


async def post(egress: Egress, url: str, number: int = 1, total: float = PATIENCE) -> tuple[Outcome, float]:
    begun = time.monotonic()
    headers = {"webhook-id": f"evt-{number}"}
    outcome = await egress.post(url, b'{"a":1}', headers, total=total, connect=total)
    return outcome, time.monotonic() - begun


def test_each_behaviour_is_looked_at() -> None:
    assert set(EXPECTED) == set(BEHAVIOURS)


@pytest.mark.parametrize("path", EXPECTED)
async def test_each_is_told_and_left_in_time(egress: Egress, pki: Pki, path: str) -> None:
    status, error, at_once = EXPECTED[path]
    async with hostile(tls=pki.good) as receiver:
        # A body that drips after a status needs the time for a handshake.
        total = PATIENCE if at_once else TOTAL if status is None else 4 * TOTAL
        outcome, seconds = await post(egress, receiver.url(path), total=total)
        assert (outcome.status, outcome.error) == (status, error)
        assert len(outcome.answer) <= ANSWER_LIMIT
        assert seconds < ENOUGH
        assert at_once or seconds > total - 0.1
        ledger = receiver.ledger
        assert ledger.connections == 1
        assert [one.body for one in ledger.received] == [b'{"a":1}']
        assert [one.webhook_id for one in ledger.accepted] == (["evt-1"] if error is None else [])


async def test_a_handshake_that_never_ends(egress: Egress) -> None:
    async with tls_stall() as receiver:
        outcome, seconds = await post(egress, receiver.url(), total=TOTAL)
        assert (outcome.status, outcome.error) == (None, "timeout")
        assert TOTAL - 0.1 < seconds < ENOUGH
        assert receiver.ledger.connections == 1


async def test_the_ledger_counts_what_came_twice(egress: Egress, pki: Pki) -> None:
    behaviour = in_turn(answer("500 Fault"), after(0.01, answer("200 OK")))
    async with hostile(behaviour, tls=pki.good) as receiver:
        for number in (1, 1, 1, 2, 2):
            await post(egress, receiver.url("/any"), number)
        _check(receiver)


def _check(receiver: HostileReceiver) -> None:
    ledger = receiver.ledger
    assert [one.webhook_id for one in ledger.received] == ["evt-1"] * 3 + ["evt-2"] * 2
    assert [one.webhook_id for one in ledger.accepted] == ["evt-1", "evt-1", "evt-2"]
    assert ledger.duplicates() == 1
    assert ledger.times("evt-1") == sorted(ledger.times("evt-1"))
    assert len(ledger.times("evt-2")) == 2
