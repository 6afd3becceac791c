"""Clients in processes of their own against real servers: what they are answered has an order that explains it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import Live, start_live, stop_live
from tests.linear.calls import MIXES, Mix
from tests.linear.clients import crew
from tests.linear.recording import MANY, follow, judged

from rxdesk.db import embedded
from rxdesk.db.pool import Connection


@pytest.fixture(scope="module", params=[1, 4], ids=["one worker", "four workers"])
def server(request: pytest.FixtureRequest, cluster: embedded.Address) -> Iterator[Live]:
    live = start_live(cluster, workers=request.param, database_pool_size=MANY)
    yield live
    stop_live(live)


@pytest.fixture(params=[*MIXES.values()], ids=[*MIXES])
def mix(request: pytest.FixtureRequest) -> Mix:
    found: Mix = request.param
    return found


async def test_histories_have_an_order(
    server: Live, app_connection: Connection, tmp_path: Path, mix: Mix
) -> None:
    with crew(4) as clients:
        some = judged(clients, server.url, app_connection, tmp_path, operations=40, most=3, mix=mix)
        found = await follow(some)
    assert found.outcomes == {"linearizable": 3}, "\n".join(found.shown)
    assert found.unknown == 0


@pytest.mark.proof
async def test_a_hundred_histories_have_an_order(
    server: Live,
    app_connection: Connection,
    tmp_path: Path,
    mix: Mix,
    share: Callable[[int], int],
    record_property: Callable[[str, object], None],
) -> None:
    most = share(100)
    with crew(8) as clients:
        all_of_them = judged(
            clients, server.url, app_connection, tmp_path, operations=250, most=most, mix=mix
        )
        found = await follow(all_of_them)
    for name, value in found.figures.items():
        record_property(name, value)
    assert found.outcomes == {"linearizable": most}, "\n".join(found.shown)
