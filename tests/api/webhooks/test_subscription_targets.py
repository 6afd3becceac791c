"""Targets of subscriptions (contract, section 2, route 16): which addresses and names are taken."""

from __future__ import annotations

import random

import httpx
import pytest
from tests.api.webhooks.subscribing import PATH, TYPE, create, fields_of, listed, rows
from tests.conftest import InProcess, in_process
from tests.factories import Tenant

from rxdesk.db import embedded


async def test_a_target_is_one_in_every_spelling(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = await tenant.headers()
    given = "https://93.184.216.34:443"
    spellings = ["https://93.184.216.34", "https://93.184.216.34/", "HTTPS://93.184.216.34:443/"]
    assert (await create(client, headers, target=given)).json()["target"] == given
    for target in (given, *spellings):
        assert (await create(client, headers, target=target)).status_code == 409, target
    assert (await create(client, headers, target=f"{given}/x")).status_code == 201
    assert [row["target"] for row in await listed(client, headers)] == [given, f"{given}/x"]
    for target in (given, *spellings):
        query = {"target": target, "notification_type": TYPE}
        assert (await client.delete(PATH, params=query, headers=headers)).status_code == 204, target
        assert (await create(client, headers, target=given)).status_code == 201


FORBIDDEN = (
    "https://127.0.0.1/",
    "https://127.0.0.1:8443/x",
    "https://127.1.2.3/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://169.254.0.1/",
    "https://100.64.0.1/",
    "https://192.0.0.1/",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.0.1./",
    "https://0/",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://a.b.localhost/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://[fd12:3456::1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:0a00:0001::1]/",
    "https://[fe80::5efe:10.0.0.1]/",
    "https://[2001:db8::1]/",
    "https://[ff02::1]/",
    "HTTPS://127.0.0.1/",
)


@pytest.mark.parametrize("target", FORBIDDEN)
async def test_forbidden_targets(inside: InProcess, tenant: Tenant, target: str) -> None:
    headers = await tenant.headers()
    answer = await create(inside.client, headers, target)
    assert (answer.status_code, answer.json()) == (
        422,
        {"error": "The target is, or resolves to, an address that is not allowed", "field": "target"},
    )
    assert await rows(tenant) == []


INVALID = (
    "http://93.184.216.34/",
    "http://127.0.0.1/",
    "HTTP://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "//example.com/",
    "example.com",
    "/hooks",
    "https://",
    "https:///x",
    "https:example.com",
    "https://user:pw@93.184.216.34/",
    "https://93.184.216.34@10.0.0.1/",
    "https://93.184.216.34/#part",
    "https://93.184.216.34:0/",
    "https://93.184.216.34:65536/",
    "https://93.184.216.34:x/",
    "https://93.184.216.34 /",
    "https://93.184.216.34\\@10.0.0.1/",
    "https://93.184.216.34/\r\nHost: x",
    "https://93.184.216.34/ä",
    "https://[93.184.216.34]/",
    "https://[::1/",
    "https://-a.example/",
    "https://a..example/",
    "https://1.2.3.4.5/",
    "https://999.1.1.1/",
    "https://" + "a" * 64 + ".example/",
    "https://93.184.216.34/" + "x" * 2048,
)


@pytest.mark.parametrize("target", INVALID)
async def test_targets_that_are_no_https_url(inside: InProcess, tenant: Tenant, target: str) -> None:
    assert fields_of(await create(inside.client, await tenant.headers(), target)) == ["target"]
    assert await rows(tenant) == []


async def test_a_target_of_many_bytes(client: httpx.AsyncClient, tenant: Tenant) -> None:
    """2,048 characters that are far more bytes: more than an entry of an index can hold."""
    chance = random.Random(7)
    # Characters that internationalised names leave out, so that the host stays a good one.
    ignored = "".join(chr(0xFE00 + chance.randrange(16)) for _ in range(2000))
    answer = await create(client, await tenant.headers(), f"https://a{ignored}.example/")
    assert answer.status_code in {201, 400}, answer.text
    plain = "".join(
        chance.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") for _ in range(2026)
    )
    answer = await create(client, await tenant.headers(), f"https://93.184.216.34/{plain}")
    assert answer.status_code == 201


ADDRESSES: dict[str, list[str]] = {
    "good.example": ["93.184.216.34"],
    "bad.example": ["10.0.0.1"],
    "mixed.example": ["93.184.216.34", "127.0.0.1"],
    "six.example": ["2606:2800:220:1::1", "::1"],
    "empty.example": [],
}


async def resolve(name: str, _port: int) -> list[str]:
    if name not in ADDRESSES:
        raise OSError("unknown")
    return ADDRESSES[name]


async def test_names_are_resolved_and_judged(cluster: embedded.Address, tenant: Tenant) -> None:
    """A name with one forbidden address is forbidden; one that does not resolve now is judged when called."""
    headers = await tenant.headers()
    async with in_process(cluster, resolver=resolve) as running:
        for name, status in (
            ("good.example", 201),
            ("bad.example", 422),
            ("mixed.example", 422),
            ("six.example", 422),
            ("empty.example", 201),
            ("nowhere.example", 201),
        ):
            answer = await create(running.client, headers, f"https://{name}/hook")
            assert answer.status_code == status, name
    assert len(await rows(tenant)) == 3
