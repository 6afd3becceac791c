"""X-API-Key: the four refusals, their exact bodies, and that a key's end counts at its next request."""

from __future__ import annotations

import asyncio
import zlib
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from tests.conftest import BASE, InProcess, Live
from tests.factories import Tenant

from rxdesk.kit.keys import new_key, read_key

MISSING = (
    401,
    b'{"code":"authorization_header_missing","description":"Authorization header is expected"}',
)
BAD_HEADER = (
    401,
    (
        b'{"code":"invalid_header","description":"X-API-Key must be sent once, '
        b'as 1 to 256 printable ASCII characters"}'
    ),
)
BAD_KEY = (401, b'{"code":"invalid_api_key","description":"The API key is not valid"}')
DENIED = (
    403,
    b'{"code":"permission_denied","description":"The API key lacks the permission for this operation"}',
)
# One of each kind: a read, a write with a body, a write without, and the route of any valid key.
ROUTES = (
    ("GET", "/orders/ord-none"),
    ("GET", "/products?limit=abc"),
    ("POST", "/waiting-room/register"),
    ("DELETE", "/waiting-room/q-none"),
    ("POST", "/wallet-passes/push-notifications"),
    ("GET", "/notification-subscriptions"),
    ("POST", "/notification-subscriptions"),
    ("DELETE", "/notification-subscriptions"),
    ("POST", "/notification-subscriptions/test"),
    ("GET", "/health/"),
)


def refusal(answer: httpx.Response) -> tuple[int, bytes]:
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert "ratelimit" not in answer.headers or answer.status_code == 403
    return answer.status_code, answer.content


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_form_of_a_bad_header(
    client: httpx.AsyncClient, tenant: Tenant, method: str, path: str
) -> None:
    key = await tenant.key()
    wrong_checksum = key[:-1] + ("0" if key[-1] != "0" else "1")
    for values, expected in (
        ([], MISSING),
        ([b""], BAD_HEADER),
        ([b"x" * 257], BAD_HEADER),
        ([key.encode() + b"x" * 300], BAD_HEADER),
        ([b"\xc3\xa4" + key.encode()], BAD_HEADER),
        ([b"\xff"], BAD_HEADER),
        ([key.encode(), key.encode()], BAD_HEADER),
        ([key.encode(), b"x"], BAD_HEADER),
        ([b"x", key.encode()], BAD_HEADER),
        ([b"x" * 256], BAD_KEY),
        ([b"x"], BAD_KEY),
        ([key.encode() + b", " + key.encode()], BAD_KEY),
        ([b"Bearer " + key.encode()], BAD_KEY),
        ([key.upper().encode()], BAD_KEY),
        ([key[:-1].encode()], BAD_KEY),
        ([key.encode() + b"0"], BAD_KEY),
        ([wrong_checksum.encode()], BAD_KEY),
        ([key.replace("rxd_live_", "rxd_test_").encode()], BAD_KEY),
        ([new_key(tenant.id).encode()], BAD_KEY),
        ([new_key(2_000_000_000).encode()], BAD_KEY),
    ):
        headers = [(b"x-api-key", value) for value in values]
        # A body that is no JSON must not be looked at before the caller is known.
        content = b"{" if method != "GET" else None
        answer = await client.request(method, path, headers=headers, content=content)
        assert refusal(answer) == expected, values


async def test_a_key_in_another_place_is_no_key(client: httpx.AsyncClient, tenant: Tenant) -> None:
    key = await tenant.key()
    for headers in ({"Authorization": f"Bearer {key}"}, {"Api-Key": key}, {"Cookie": f"X-API-Key={key}"}):
        answer = await client.get(f"/health/?X-API-Key={key}&api_key={key}", headers=headers)
        assert refusal(answer) == MISSING


async def test_the_headers_name_in_any_case(client: httpx.AsyncClient, tenant: Tenant) -> None:
    key = await tenant.key()
    for name in ("X-API-Key", "x-api-key", "X-Api-KEY"):
        assert (await client.get("/health/", headers={name: key})).status_code == 200


async def test_a_key_for_testing_is_a_key(client: httpx.AsyncClient, tenant: Tenant) -> None:
    key = await tenant.key(live=False)
    assert key.startswith("rxd_test_")
    assert (await client.get("/health/", headers={"X-API-Key": key})).status_code == 200


async def test_another_organisations_number_before_ones_own_key(
    client: httpx.AsyncClient, tenant: Tenant, other: Tenant
) -> None:
    """The number is a routing hint and no proof: though the checksum fits, the digest is not found there."""
    key = await tenant.key()
    forged = key[:9] + (await other.key())[9:15] + key[15:-6]
    forged += _checksum(forged)
    reference = read_key(forged)
    assert reference is not None
    assert reference.organisation_id == other.id
    assert refusal(await client.get("/health/", headers={"X-API-Key": forged})) == BAD_KEY


def _checksum(text: str) -> str:
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = alphabet[digit] + digits
    return digits


async def test_an_expired_key(client: httpx.AsyncClient, tenant: Tenant) -> None:
    expired = await tenant.key(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert refusal(await client.get("/health/", headers={"X-API-Key": expired})) == BAD_KEY
    lives = await tenant.key(expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert (await client.get("/health/", headers={"X-API-Key": lives})).status_code == 200


async def test_expiry_and_revocation_at_the_next_request(client: httpx.AsyncClient, tenant: Tenant) -> None:
    for column in ("expires_at", "revoked_at"):
        made = await tenant.new_key("waiting_room:write")
        headers = {"X-API-Key": made.key}
        assert (await client.get("/health/", headers=headers)).status_code == 200
        assert (await client.delete("/waiting-room/q-none", headers=headers)).status_code == 404
        await tenant.update("api_keys", made.uid, **{column: datetime.now(UTC)})
        for method, path in ROUTES:
            assert refusal(await client.request(method, path, headers=headers)) == BAD_KEY
        await tenant.update("api_keys", made.uid, **{column: None})
        assert (await client.get("/health/", headers=headers)).status_code == 200


async def test_a_permission_given_and_taken_counts_at_the_next_request(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    made = await tenant.new_key()
    headers = {"X-API-Key": made.key}
    assert refusal(await client.get("/orders/ord-none", headers=headers)) == DENIED
    await tenant.update("api_keys", made.uid, permissions=["order:read"])
    assert (await client.get("/orders/ord-none", headers=headers)).status_code == 404
    await tenant.update("api_keys", made.uid, permissions=["prescription:read"])
    assert refusal(await client.get("/orders/ord-none", headers=headers)) == DENIED


async def test_403_comes_before_the_input_is_looked_at(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = {"X-API-Key": await tenant.key("order:read")}
    for method, path in ROUTES[1:5]:
        for content, kind in ((b"", "application/json"), (b"{", "text/plain"), (b"\xff" * 20_000, "x")):
            answer = await client.request(
                method,
                path,
                headers={**headers, "Content-Type": kind},
                content=content if method != "GET" else None,
            )
            assert refusal(answer) == DENIED
            assert answer.headers["ratelimit"]


async def test_what_is_open_needs_no_key(client: httpx.AsyncClient) -> None:
    for path in ("/apidocs", "/openapi.json"):
        assert (await client.get(path)).status_code == 200
    assert (await client.get("/nothing-here")).status_code == 404
    assert (await client.put("/health/")).status_code == 405


async def test_a_refused_key_of_wrong_form_costs_no_statement(inside: InProcess, tenant: Tenant) -> None:
    key = await tenant.key()
    assert (await inside.client.get("/health/", headers={"X-API-Key": key})).status_code == 200
    inside.statements.clear()
    for value in (None, "", "x", key[:-1] + "-", key[:-1]):
        headers = {} if value is None else {"X-API-Key": value}
        assert (await inside.client.get("/health/", headers=headers)).status_code == 401
    assert inside.statements == []


async def test_header_bytes_as_they_come_over_the_wire(live: Live, tenant: Tenant) -> None:
    """Surrounding spaces are no part of a value, folded lines are refused."""
    key = await tenant.key()
    for line, status in (
        (f"X-API-Key: {key}", 200),
        (f"X-API-Key:{key}", 200),
        (f"X-API-Key:  \t{key}  ", 200),
        ("X-API-Key:", 401),
        ("X-API-Key:   ", 401),
        (f"X-API-Key: {key}\r\nX-API-Key: {key}", 401),
        (f"X-API-Key : {key}", 400),
        (f"X-API-Key: {key}\r\n {key}", 400),
        (f"X-API-Key: {key}\x00", 400),
    ):
        assert await raw_status(live, f"GET {BASE}/health HTTP/1.1\r\nHost: x\r\n{line}\r\n") == status, line


async def raw_status(live: Live, head: str) -> int:
    where = urlsplit(live.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(f"{head}Connection: close\r\n\r\n".encode("latin-1"))
    try:
        async with asyncio.timeout(30):
            return int((await reader.read()).split(b" ", 2)[1])
    finally:
        writer.close()
        await writer.wait_closed()
