"""Metrics have a listener of their own, and labels that tell nothing of a patient."""

from __future__ import annotations

import httpx
from tests.api.waiting_room.streams import desk_at
from tests.conftest import BASE, start_live, stop_live
from tests.factories import Tenant
from tests.ports import free_port
from tests.webhooks.engine import eventually

from rxdesk.db import embedded


async def test_requests_of_all_workers_are_counted(cluster: embedded.Address, tenant: Tenant) -> None:
    port = free_port()
    server = start_live(cluster, metrics_port=port, workers=2)
    try:
        headers = await tenant.headers()
        patient = await tenant.insert("patients")
        for _ in range(20):  # each on a connection of its own, so that both workers are asked
            async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
                await client.get(f"{server.url}{BASE}/patients/{patient}", headers=headers)
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            page = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
            assert (await client.get(f"{server.url}/metrics")).status_code == 404
    finally:
        stop_live(server)
    route = f"{BASE}/patients/{{patient_uid}}"
    assert f'rxdesk_http_requests_total{{method="GET",route="{route}",status="200"}} 20.0' in page
    assert patient not in page
    assert headers["X-API-Key"] not in page


async def test_open_streams_are_counted_over_all_workers(cluster: embedded.Address, tenant: Tenant) -> None:
    port = free_port()
    server = start_live(cluster, metrics_port=port, workers=2)

    async def shown(kind: str, count: int) -> bool:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            page = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        assert uid not in page
        return f'rxdesk_streams_open{{kind="{kind}"}} {count}.0' in page

    try:
        async with desk_at(server.url, tenant) as desk:
            shop = await desk.shop()
            uid = await desk.patient(shop)
            visits = [await desk.follow(desk.path(uid)) for _ in range(8)]
            board = await desk.follow(desk.board_path(shop))
            for stream in (*visits, board):
                await stream.until("snapshot")
            await eventually(lambda: shown("visit", 8))
            await eventually(lambda: shown("board", 1))
            board.cut()
            await eventually(lambda: shown("board", 0))
            await desk.leave(uid)
            await eventually(lambda: shown("visit", 0))
    finally:
        stop_live(server)
