"""The wire: many requests on one connection, and more connections than are served at once."""

from __future__ import annotations

import asyncio
import json
import resource
import time

import pytest
from tests.conftest import Live
from tests.factories import Tenant
from tests.wire.raw import BASE, Reply, Wire, ask, request
from tests.wire.sending import OK, REGISTER

IDLE_SECONDS = 9.5


async def test_pipelining(live: Live, tenant: Tenant, key: str) -> None:
    uids = [await tenant.insert("patients") for _ in range(20)]
    wire = await Wire.open(live.url)
    await wire.send(b"".join(request("GET", f"{BASE}/patients/{uid}", [("X-API-Key", key)]) for uid in uids))
    got = [json.loads((await wire.reply()).body)["uid"] for _ in uids]
    assert got == uids
    await wire.close()


async def test_one_connection_many_keys(live: Live, tenant: Tenant, other: Tenant) -> None:
    """Nothing of a request stays with its connection."""
    wire = await Wire.open(live.url)
    mine, theirs = await tenant.insert("patients"), await other.insert("patients")
    keys = await tenant.key("patient:read"), await other.key("patient:read"), await tenant.key()
    for _ in range(10):
        for credential, uid, status in (
            (keys[0], mine, 200),
            (keys[1], mine, 404),
            (keys[0], theirs, 404),
            (keys[1], theirs, 200),
            (keys[2], mine, 403),
            (None, mine, 401),
        ):
            headers = [("X-API-Key", credential)] if credential else []
            await wire.send(request("GET", f"{BASE}/patients/{uid}", headers))
            assert (await wire.reply()).status == status
    await wire.close()


async def test_http_1_0(live: Live, key: str) -> None:
    wire = await Wire.open(live.url)
    await wire.send(f"GET {OK} HTTP/1.0\r\nX-API-Key: {key}\r\n\r\n".encode())
    reply = await wire.reply()
    assert (reply.status, reply.body) == (200, b'{"status":"ok"}')
    assert await wire.is_closed(10)
    await wire.close()


async def test_more_connections_than_are_served_at_once(live: Live, key: str) -> None:
    """1,200 open connections, each with a request: all are answered, none is dropped."""
    # After ten seconds without a request a connection is closed: what lasts nearly so long shows nothing.
    for _ in range(3):
        if await _seconds_of_many(live, key, 1200) < IDLE_SECONDS:
            return
    pytest.fail("this machine is too slow")


async def _seconds_of_many(live: Live, key: str, number: int) -> float:
    """Open so many connections, and ask on each; gives how long it took, and nothing is judged that took too long."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < number + 200:
        pytest.skip(f"only {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, number + 200)), hard))
    began = time.monotonic()
    try:
        idle = [await Wire.open(live.url) for _ in range(number)]
        try:
            await asyncio.gather(*(wire.send(request("GET", "/livez")) for wire in idle))
            replies = await asyncio.gather(*(wire.reply(seconds=20) for wire in idle), return_exceptions=True)
            # They stay open, and a newcomer is served at once.
            newcomer = await ask(live.url, request("GET", OK, [("X-API-Key", key)]))
            seconds = time.monotonic() - began
            if seconds < IDLE_SECONDS:
                assert {reply.status if isinstance(reply, Reply) else 0 for reply in replies} == {200}
            assert newcomer.status == 200
            return seconds
        finally:
            await asyncio.gather(*(wire.close() for wire in idle))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_more_unfinished_bodies_than_are_served_at_once(hasty: Live, key: str) -> None:
    """1,100 requests that wait for their bodies: they end by the deadline, and service goes on meanwhile."""
    number = 1100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < number + 200:
        pytest.skip(f"only {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, number + 200)), hard))
    try:
        wires = [await Wire.open(hasty.url) for _ in range(number)]
        try:
            head = request("POST", BASE + REGISTER, [("X-API-Key", key), ("Content-Length", "100")])
            await asyncio.gather(*(wire.send(head) for wire in wires))
            reply = await ask(hasty.url, request("GET", "/livez"), seconds=10)
            assert reply.status == 200
        finally:
            await asyncio.gather(*(wire.close() for wire in wires))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
