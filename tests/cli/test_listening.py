"""What `rxdesk webhooks listen` hears, in this process."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg
import pytest
from tests.factories import Tenant
from tests.webhooks.engine import eventually, happen

from rxdesk.cli import listening as listens
from rxdesk.cli.common import CliError
from rxdesk.cli.listening import Listener
from rxdesk.db import embedded


@pytest.mark.parametrize("kept", [0, 1])
async def test_it_goes_on_when_the_last_event_that_it_heard_is_not_kept_any_more(
    cluster: embedded.Address, tenant: Tenant, kept: int
) -> None:
    """One from before, which is kept since a delivery of it waits, is not told of."""
    before = await happen(tenant, 2)
    heard: list[str] = []
    begun = asyncio.Event()
    [row] = await tenant.rows("SELECT slug FROM organisations WHERE id = $1")
    listener = Listener(
        database=cluster.connect_args(embedded.APP),
        organisation=row["slug"],
        kind=None,
        secret="",
        post=None,
        begun=begun.set,
        tell=lambda one: heard.append(one.event["uid"]),
        answered=lambda _, __: None,
    )
    listening = asyncio.create_task(listener.run())
    try:
        await asyncio.wait_for(begun.wait(), 10)
        [first] = await happen(tenant)
        await eventually(lambda: heard == [first])
        delete = "DELETE FROM events WHERE organisation_id = $1 AND uid <> ALL ($2::text[])"
        await tenant.connection.execute(delete, tenant.id, before[:kept])
        [second] = await happen(tenant)
        await eventually(lambda: heard == [first, second])
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


async def test_a_server_that_ends_amid_a_statement_has_ended(
    cluster: embedded.Address, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction around the statement is then rolled back on a connection that still reads: asyncpg says so."""

    async def cut_off(*_: object) -> None:
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")

    monkeypatch.setattr(listens, "look", cut_off)
    [row] = await tenant.rows("SELECT slug FROM organisations WHERE id = $1")
    database = cluster.connect_args(embedded.APP)
    listener = Listener(database, row["slug"], None, "", None, lambda: None, lambda _: None, lambda *_: None)
    with pytest.raises(CliError, match="listen again"):
        await listener.run()
