"""`kill -9` of the API under changes: no 2xx without its row and its event, and neither of these without the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from tests.factories import Tenant
from tests.faults.kills import change_under_kills

from rxdesk.db import embedded
from rxdesk.db.pool import Connection


@pytest.fixture(autouse=True)
async def _queue(app_connection: Connection, tenant: Tenant) -> AsyncIterator[None]:
    """Nobody works on the jobs that are made here; they are taken away afterwards."""
    yield
    await app_connection.execute("DELETE FROM jobs WHERE organisation_id = $1", tenant.id)


async def test_what_was_answered_is_done_and_told(cluster: embedded.Address, tenant: Tenant) -> None:
    found, ledger = await change_under_kills(cluster, tenant, changes=400, kills=3)
    assert found.faults == {}, (found, ledger.surprises)
    assert found.answered >= 400
    assert found.events > found.answered
    assert found.unanswered > 0, "no kill hit anything"


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("told_after", "row_without_event"),
        ("told_before", "event_without_row"),
        ("answered_first", "told_without_row"),
    ],
)
async def test_a_fault_would_be_found(
    cluster: embedded.Address, tenant: Tenant, fault: str, seen: str
) -> None:
    found, _ = await change_under_kills(cluster, tenant, changes=200, kills=3, fault=fault)
    assert seen in found.faults, found


@pytest.mark.proof
async def test_five_thousand_changes_and_fifty_kills(
    cluster: embedded.Address, tenant: Tenant, record_property: Callable[[str, object], None]
) -> None:
    found, ledger = await change_under_kills(cluster, tenant, changes=5000, kills=50)
    record_property("answered", found.answered)
    record_property("without_an_answer", found.unanswered)
    record_property("events", found.events)
    assert found.faults == {}, (found, ledger.surprises)
