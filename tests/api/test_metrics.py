"""Metrics have a listener of their own, and labels that tell nothing of a patient."""

from __future__ import annotations

import socket

import httpx
from tests.conftest import BASE, start_live, stop_live
from tests.factories import Tenant

from rxdesk.db import embedded


async def test_requests_of_all_workers_are_counted(cluster: embedded.Address, tenant: Tenant) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = start_live(cluster, metrics_port=port, workers=2)
    try:
        headers = await tenant.headers()
        patient = await tenant.insert("patients")
        for _ in range(20):  # each on a connection of its own, so that both workers are asked
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.get(f"{server.url}{BASE}/patients/{patient}", headers=headers)
        async with httpx.AsyncClient(trust_env=False) as client:
            page = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
            assert (await client.get(f"{server.url}/metrics")).status_code == 404
    finally:
        stop_live(server)
    route = f"{BASE}/patients/{{patient_uid}}"
    assert f'rxdesk_http_requests_total{{method="GET",route="{route}",status="200"}} 20.0' in page
    assert patient not in page
    assert headers["X-API-Key"] not in page
