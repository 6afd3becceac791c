"""`kill -9` of the worker while it delivers: nothing is lost, and what comes twice is the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.factories import Tenant
from tests.webhooks.kills import Tally, deliver_under_kills

from rxdesk.db import embedded

pytestmark = pytest.mark.usefixtures("queue")


def judge(tally: Tally, most_doubled: float) -> None:
    assert tally.lost == 0, tally
    assert tally.bytes_differ == 0, tally
    assert tally.strangers == 0, tally
    assert tally.doubled <= most_doubled, tally


async def test_nothing_is_lost_when_the_worker_is_killed(cluster: embedded.Address, tenant: Tenant) -> None:
    judge(await deliver_under_kills(cluster, tenant, deliveries=960, kills=5), 5 * 32)


async def test_marking_before_sending_would_be_found(cluster: embedded.Address, tenant: Tenant) -> None:
    tally = await deliver_under_kills(cluster, tenant, deliveries=960, kills=5, script="mark_before_send.py")
    assert tally.lost > 0, tally
    with pytest.raises(AssertionError):
        judge(tally, 5 * 32)


@pytest.mark.proof
async def test_ten_thousand_deliveries_and_fifty_kills(
    cluster: embedded.Address, tenant: Tenant, record_property: Callable[[str, object], None]
) -> None:
    tally = await deliver_under_kills(cluster, tenant, deliveries=10_000, kills=50)
    record_property("lost", tally.lost)
    record_property("doubled", tally.doubled)
    record_property("of", tally.wanted)
    judge(tally, 0.08 * tally.wanted)
