"""Hostile input: one corpus against every operation. Each answer is the contract's 4xx; no row changes."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conftest import ENCRYPTION_KEYS, Live
from tests.contract.worlds import (
    DOCUMENTS,
    PATH_ROWS,
    Asked,
    Documented,
    World,
    asked,
    make_world,
    operations,
)
from tests.factories import make_tenant
from tests.wire.raw import BASE, Closed, Reply, Wire, post, request

from rxdesk import routes
from rxdesk.db.pool import Connection

OPERATIONS = operations()
WITH_BODY = [operation for operation in OPERATIONS if operation.has_body]
WITH_PATH = [operation for operation in OPERATIONS if "{" in operation.path]
NOT_FOUND = b'{"error":"Resource not found"}'
BIG = 2**20


@pytest.fixture(scope="module")
async def worlds(app_connection: Connection) -> tuple[World, World]:
    first, second = [
        await make_world(await make_tenant(app_connection), "zq" + secrets.token_hex(5), ENCRYPTION_KEYS)
        for _ in range(2)
    ]
    return first, second


@pytest.fixture(scope="module")
async def keys(worlds: tuple[World, World]) -> dict[str, str]:
    """By base path, a key that may do everything there."""
    return {api.base: await worlds[0].full_key(api.base) for api in routes.APIS}


@pytest.fixture(scope="module")
def key(keys: dict[str, str]) -> str:
    return keys[BASE]


class Line:
    """A kept-alive connection that is opened again when the server has closed it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._wire: Wire | None = None

    async def ask(self, data: bytes, *, without_body: bool = False) -> Reply:
        if self._wire is not None:
            try:
                return await self._once(self._wire, data, without_body=without_body)
            except Closed:
                await self.close()
        self._wire = await Wire.open(self.url)
        return await self._once(self._wire, data, without_body=without_body)

    async def _once(self, wire: Wire, data: bytes, *, without_body: bool) -> Reply:
        await wire.send(data)
        reply = await wire.reply(without_body=without_body)
        if (reply.value("connection") or "").lower() == "close" or reply.status == 413:
            await self.close()
        return reply

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()
        self._wire = None


@pytest.fixture(scope="module")
async def line(live: Live) -> AsyncIterator[Line]:
    opened = Line(live.url)
    yield opened
    await opened.close()


async def _rows(world: World) -> str:
    """A digest of every row of the organisation, times of last use aside."""
    tables = await world.tenant.connection.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attname = 'organisation_id' "
        "ORDER BY 1"
    )
    whole = ""
    for (table,) in tables:
        rows = await world.tenant.rows(
            f"SELECT (to_jsonb(t) - 'last_used_at')::text AS row FROM {table} t WHERE organisation_id = $1 "
            "ORDER BY 1"
        )
        whole += table + "".join(row["row"] for row in rows)
    return hashlib.sha256(whole.encode()).hexdigest()


_VALID: dict[tuple[str, Documented], Asked] = {}


def _valid(operation: Documented, worlds: tuple[World, World]) -> Asked:
    """The first request of an operation, made once: each registration takes a patient of the world's few."""
    place = (worlds[0].mark, operation)
    if place not in _VALID:
        _VALID[place] = asked(operation, *worlds)[0][1](worlds[0])
    return _VALID[place]


def _url(operation: Documented, worlds: tuple[World, World]) -> str:
    """An own row's, below the base path and without a query."""
    return _valid(operation, worlds).url.partition("?")[0]


def _sent(
    operation: Documented,
    worlds: tuple[World, World],
    keys: dict[str, str],
    body: bytes,
    *headers: tuple[str, str],
) -> bytes:
    url, base = _url(operation, worlds), operation.base
    return post(url, keys[base], body, *headers, method=operation.method, base=base)


def _refused(reply: Reply, status: int, what: str, start: str | None = None) -> dict[str, Any]:
    assert reply.status == status, f"{what}: {reply.status} {reply.body[:300]!r}"
    assert reply.value("content-type") == "application/json", what
    assert reply.value("x-request-id"), what
    assert reply.value("ratelimit"), what
    body: dict[str, Any] = json.loads(reply.body)
    if start is not None:
        assert body["error"].startswith(start), f"{what}: {body}"
    return body


# What is no strict JSON, whatever a schema says: bytes and how the error begins.
REFUSED = {
    "empty": (b"", "The body is empty"),
    "white space": (b" \n", "The body is refused: not JSON"),
    "not JSON": (b"{shop_uid: 1}", "The body is refused: not JSON"),
    "cut off": (b'{"shop_uid": "a', "The body is refused: not JSON"),
    "two values": (b"{} {}", "The body is refused: not JSON"),
    "single quotes": (b"{'a': 1}", "The body is refused: not JSON"),
    "trailing comma": (b'{"a": 1,}', "The body is refused: not JSON"),
    "a comment": (b"/* a */ {}", "The body is refused: not JSON"),
    "not UTF-8": (b'{"a": "\xff\xfe"}', "The body is refused: not UTF-8"),
    "overlong UTF-8": (b'{"a": "\xc0\x80"}', "The body is refused: not UTF-8"),
    "a surrogate in UTF-8": (b'{"a": "\xed\xa0\x80"}', "The body is refused: not UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "The body is refused: not UTF-8"),
    "UTF-16 without a mark": ('{"a": 1}'.encode("utf-16-le"), "The body is refused: not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "The body is refused: not JSON"),
    "100,000 arrays": (b"[" * 100_000 + b"]" * 100_000, "The body is refused: nested deeper"),
    "100,000 objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "The body is refused: nested deeper"),
    "100,000 openings": (b"[" * 100_000, "The body is refused: nested deeper"),
    "33 levels": (b"[" * 33 + b"]" * 33, "The body is refused: nested deeper"),
    "33 levels behind a string": (b'["]]]]",' + b"[" * 32 + b"]" * 33, "The body is refused: nested deeper"),
    "many strings without an end": (b"[" * 40 + b'"' + b'\\"' * (BIG // 2 - 40), "The body is refused"),
    "NaN": (b'{"a": NaN}', "The body is refused: NaN"),
    "Infinity": (b'{"a": -Infinity}', "The body is refused: -Infinity"),
    "1e999": (b'{"a": 1e999}', "The body is refused: a number is too large"),
    "2^53 + 1": (b'{"a": 9007199254740993}', "The body is refused: an integer is outside"),
    "a huge integer": (b'{"a": ' + b"9" * 1_000_000 + b"}", "The body is refused: an integer is outside"),
    "a lone surrogate": (rb'{"a": "\ud800"}', "The body is refused: a string holds a lone surrogate"),
    "a lone surrogate as a name": (rb'{"\udfff": 1}', "The body is refused: a string holds a lone surrogate"),
    "surrogates the wrong way round": (
        rb'{"a": "\udc00\ud800"}',
        "The body is refused: a string holds a lone",
    ),
    "NUL": (b'{"a": "\x00"}', "The body is refused: not JSON"),
    "NUL behind": (b"{}\x00", "The body is refused: not JSON"),
    "an escaped NUL": (rb'{"a": "\u0000"}', "The body is refused: a string holds NUL"),
    "an escaped NUL as a name": (rb'{"\u0000": 1}', "The body is refused: a string holds NUL"),
    "a name twice": (
        b'{"shop_uid": "a", "shop_uid": "b"}',
        "The body is refused: a member name stands twice",
    ),
    "a name twice, once escaped": (
        rb'{"shop_uid": "a", "shop\u005fuid": "b"}',
        "The body is refused: a member name stands twice",
    ),
    "a raw line break in a string": (b'{"a": "\n"}', "The body is refused: not JSON"),
    "a raw delete within bounds": (b'"\x7f"', "Validation failed"),
    "a scalar": (b"1", "Validation failed"),
    "true": (b"true", "Validation failed"),
    "null": (b"null", "Validation failed"),
    "a string": (b'"{}"', "Validation failed"),
}


@pytest.mark.parametrize("operation", WITH_BODY, ids=lambda operation: operation.name)
async def test_bodies_that_are_no_strict_json(
    operation: Documented, line: Line, worlds: tuple[World, World], keys: dict[str, str]
) -> None:
    before = await _rows(worlds[0])
    for what, (body, start) in REFUSED.items():
        if not body and not operation.described["requestBody"]["required"]:
            continue  # its reference may stand in the query instead, or it needs nothing said
        reply = await line.ask(_sent(operation, worlds, keys, body))
        _refused(reply, 400, f"{operation.name}, {what}", start)
    assert await _rows(worlds[0]) == before


def _nullable(member: dict[str, Any]) -> bool:
    return {"type": "null"} in member.get("anyOf", [])


def _broken(valid: Any, named: dict[str, Any]) -> dict[str, tuple[object, str | None]]:
    """What is JSON, but not of the schema: the body and the member that the answer names."""
    in_list = isinstance(valid, list)
    one = valid[0] if in_list else valid
    at = "0." if in_list else ""

    def body(member: dict[str, Any]) -> object:
        return [member] if in_list else member

    found: dict[str, tuple[object, str | None]] = {
        "another container": ({} if in_list else [], None if not in_list else ""),
        "an unknown member": (body({**one, "surprise": 1}), at + "surprise"),
        "an unknown member of 100 kB": (body({**one, "x" * 100_000: 1}), at + "x" * 100),
        "a member of the prototype": (body({**one, "__proto__": {}}), at + "__proto__"),
    }
    for name in one:
        wrong: object = "1" if isinstance(one[name], int) else 1
        found[f"{name} of a wrong type"] = (body({**one, name: wrong}), at + name)
        found[f"{name} an array"] = (body({**one, name: []}), at + name)
        found[f"{name} a boolean"] = (body({**one, name: True}), at + name)
        required = name in named.get("required", [])
        if required and not _nullable(named["properties"][name]):
            found[f"{name} null"] = (body({**one, name: None}), at + name)
        if required:
            found[f"{name} left out"] = (body({k: v for k, v in one.items() if k != name}), at + name)
    if in_list:
        found["an empty array"] = ([], "")
        found["1,001 messages"] = ([one] * 1001, "")
        found["not objects"] = ([1], "0")
        found["500,000 numbers"] = ([1] * 300_000, "0")
        found["one of many"] = ([one, one, {**one, "message": ""}], "2.message")
        found["message too long"] = ([{**one, "message": "x" * 501}], "0.message")
    return found


def _schema(operation: Documented) -> dict[str, Any]:
    schema: dict[str, Any] = operation.described["requestBody"]["content"]["application/json"]["schema"]
    while True:
        if "items" in schema:
            schema = schema["items"]
        elif "$ref" in schema:
            schema = DOCUMENTS[operation.base]["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        else:
            return schema


@pytest.mark.parametrize("operation", WITH_BODY, ids=lambda operation: operation.name)
async def test_bodies_against_the_schema(
    operation: Documented, line: Line, worlds: tuple[World, World], keys: dict[str, str]
) -> None:
    valid = _valid(operation, worlds).json or {
        "notification_type": "order_created",
        "target": worlds[0].target,
    }
    before = await _rows(worlds[0])
    for what, (body, field) in _broken(valid, _schema(operation)).items():
        reply = await line.ask(_sent(operation, worlds, keys, json.dumps(body).encode()))
        answer = _refused(reply, 400, f"{operation.name}, {what}", "Validation failed")
        assert len(reply.body) < 200_000, what
        fields = [detail["field"] for detail in answer["details"]]
        assert field is None or field in fields, f"{operation.name}, {what}: {fields[:5]}"
        assert all(detail["location"] == "body" for detail in answer["details"])
    assert await _rows(worlds[0]) == before


@pytest.mark.parametrize("operation", WITH_BODY, ids=lambda operation: operation.name)
async def test_content_types_and_sizes(
    operation: Documented, line: Line, worlds: tuple[World, World], keys: dict[str, str]
) -> None:
    before = await _rows(worlds[0])

    def sent(body: bytes, *headers: tuple[str, str]) -> bytes:
        return _sent(operation, worlds, keys, body, *headers)

    unsupported = [
        ["text/plain"],
        ["application/x-www-form-urlencoded"],
        ["multipart/form-data; boundary=a"],
        ["application/xml"],
        [""],
        ["application/jsonp"],
        ["application/json; charset=latin-1"],
        ["application/json; charset=utf-16"],
        ["application/json, text/plain"],
        ["application/json", "application/json"],
        ["application/json", "text/plain"],
        ["application/json\xff"],
    ]
    for types in unsupported:
        reply = await line.ask(sent(b"{}", *(("Content-Type", value) for value in types)))
        body = _refused(reply, 415, f"{operation.name}, {types}")
        assert body == {"error": "Content-Type must be application/json"}
    # These are JSON: the body is read, and is not one of the schema.
    for value in (
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        'application/json; charset="UTF-8"',
        "application/json ; charset=UTF-8",
    ):
        _refused(await line.ask(sent(b"1", ("Content-Type", value))), 400, value, "Validation failed")
    _refused(await line.ask(sent(b"1")), 400, "no type", "Validation failed")
    too_large = {"error": "The body is larger than 1048576 bytes"}
    for length in (BIG + 1, 2 * BIG):
        assert _refused(await line.ask(sent(b" " * length)), 413, str(length)) == too_large
    _refused(await line.ask(sent(b" " * (BIG - 1) + b"1")), 400, "just not too large", "Validation failed")
    chunked = request(
        operation.method,
        operation.base + _url(operation, worlds),
        [("X-API-Key", keys[operation.base]), ("Transfer-Encoding", "chunked")],
        b"100000\r\n" + b" " * BIG + b"\r\n1\r\n \r\n0\r\n\r\n",
    )
    assert _refused(await line.ask(chunked), 413, "chunked") == too_large
    assert await _rows(worlds[0]) == before


HOSTILE_UIDS = {
    "10,000 characters": b"a" * 10_000,
    "65 characters": b"a" * 65,
    "NUL": b"%00",
    "a uid and NUL": b"ord-1%00",
    "emoji": "💊".encode(),
    "emoji, encoded": b"%F0%9F%92%8A",
    "not UTF-8": b"%FF%FE",
    "not UTF-8, raw": b"\xff\xfe",
    "a surrogate": b"%ED%A0%80",
    "invalid encoding": b"%zz",
    "half an encoding": b"%4",
    "a quote": b"'%20OR%20'1'%3D'1",
    "a wild card": b"%25",
    "white space": b"%20",
    "a line break": b"%0D%0AX-Evil:%201",
    "semicolon": b"a;b=c",
    "backslash": b"%5C",
    "JSON": b"%7B%22a%22:1%7D",
}
# A slash makes another path: there may be no such one.
SLASHED_UIDS = {"%2F": b"a%2Fb", "dots": b"%2E%2E%2Fopenapi.json", "plain dots": b"../../x"}


@pytest.mark.parametrize("operation", WITH_PATH, ids=lambda operation: operation.name)
async def test_paths(
    operation: Documented, line: Line, worlds: tuple[World, World], keys: dict[str, str]
) -> None:
    before = await _rows(worlds[0])
    # Where there is a body, it is looked at before the row is looked for.
    valid = _valid(operation, worlds).json
    body = b"" if valid is None else json.dumps(valid).encode()
    headers = [("X-API-Key", keys[operation.base]), *([("Content-Length", str(len(body)))] if body else [])]
    name = next(name for name in PATH_ROWS if f"{{{name}}}" in operation.path)
    for what, uid in (HOSTILE_UIDS | SLASHED_UIDS).items():
        target = (
            (operation.base + operation.path)
            .replace("{intent}", "any")
            .encode()
            .replace(b"{%s}" % name.encode(), uid)
        )
        try:
            reply = await line.ask(request(operation.method, target, headers, body))
        except Closed:
            pytest.fail(f"{operation.name}, {what}: closed")
        if reply.status == 400 and not reply.body:  # no request of HTTP's
            assert b"\xff" in uid, what
            await line.close()
            continue
        assert (reply.status, reply.body) == (404, NOT_FOUND), f"{operation.name}, {what}: {reply}"
    assert await _rows(worlds[0]) == before


async def test_intents(line: Line, worlds: tuple[World, World], key: str) -> None:
    uid = worlds[0].uids["patients"]
    for what, intent in HOSTILE_UIDS.items():
        target = f"{BASE}/patients/{uid}/intent/".encode() + intent
        reply = await line.ask(request("GET", target, [("X-API-Key", key)]))
        if reply.status == 400 and not reply.body:
            assert b"\xff" in intent, what
            await line.close()
            continue
        assert (reply.status, reply.body) == (200, b'{"return_code" : "NOT_FOUND"}'), f"{what}: {reply}"


_NUMBERS = [
    "-1",
    "1e9",
    "abc",
    "",
    "1.0",
    "+1",
    "%2B1",
    "1_0",
    "0x10",
    "%201",
    "1%20",
    "%D9%A3",
    "1%00",
    "99999999999",
]


async def test_queries(line: Line, worlds: tuple[World, World], keys: dict[str, str]) -> None:
    """Every query parameter of the documents: given twice, not UTF-8, with NUL; and numbers that are none."""
    asked_for = 0
    for operation in OPERATIONS:
        parameters = [p for p in operation.described.get("parameters", []) if p["in"] == "query"]
        url = operation.base + _url(operation, worlds)
        for parameter in parameters:
            name = parameter["name"]
            number = parameter["schema"].get("type") == "integer"
            bad = [f"{name}=1&{name}=1", f"{name}=1&{name}=2", f"{name}=%FF", f"{name}=a%00b"]
            bad += [f"{name}={value}" for value in _NUMBERS] if number else []
            for query in bad:
                reply = await line.ask(
                    request(operation.method, f"{url}?{query}", [("X-API-Key", keys[operation.base])])
                )
                what = f"{operation.name}?{query}"
                body = _refused(reply, 400, what, "Validation failed")
                faults = {(detail["field"], detail["location"]) for detail in body["details"]}
                assert (name, "query") in faults, f"{what}: {body}"
                asked_for += 1
    assert asked_for >= 60


async def test_single_queries(line: Line, key: str) -> None:
    long = "a" * 10_000
    for url, status in {
        "/doctors?page=1000000000": 200,
        "/doctors?page=9999999999&limit=9999999999": 200,
        "/doctors?limit=0": 400,
        "/doctors?limit=201": 200,
        "/doctors?page=٣".encode().decode("latin-1"): 400,
        "/doctors?%FF=1&page=0": 200,
        "/doctors?unknown=1&unknown=2": 200,
        "/doctors?%70age=x": 400,
        "/doctors?" + "&" * 5000: 200,
        "/doctors?" + "a=1&" * 5000: 200,
        "/doctors?page": 400,
        "/doctors?;page=x": 200,
        f"/patients?email={long}@example.com": 400,
        f"/patients?email={long}": 400,
        "/patients?email=": 400,
        "/patients": 400,
        "/patients?email=a@b": 400,
        "/patients?email=%zz@example.com": 404,
        "/patients?email=a%40example.com%0D%0A": 404,
        f"/wallet-passes/templates?shop_identifier={long}": 404,
        "/wallet-passes/templates?shop_identifier=%27--": 404,
        # Other paths than those that there are, however alike.
        "/doctors//": 404,
        "//doctors": 404,
        "/doctors%0A": 404,
        "/doctors/%0A": 404,
    }.items():
        reply = await line.ask(request("GET", BASE + url, [("X-API-Key", key)]))
        assert reply.status == status, f"{url[:80]}: {reply.status} {reply.body[:200]!r}"


async def test_methods_that_a_route_lacks(line: Line, worlds: tuple[World, World]) -> None:
    before = await _rows(worlds[0])
    paths: dict[str, set[str]] = {
        api.base + path: {"GET", "HEAD"} for api in routes.APIS for path in ("/openapi.json", "/apidocs")
    }
    for operation in OPERATIONS:
        url = operation.base + _url(operation, worlds)
        paths.setdefault(url, set()).update(
            {"GET", "HEAD"} if operation.method == "GET" else {operation.method}
        )
    for path, there in paths.items():
        for method in (
            "GET",
            "HEAD",
            "POST",
            "PUT",
            "PATCH",
            "DELETE",
            "OPTIONS",
            "TRACE",
            "FOO",
            "get",
            "PROPFIND",
        ):
            if method in there:
                continue
            for url in (path, path.removesuffix("/") + "/"):
                reply = await line.ask(
                    request(method, url), without_body=method == "HEAD"
                )  # 405 is before 401
                assert reply.status == 405, f"{method} {url}: {reply}"
                assert reply.value("allow") == ", ".join(sorted(there))
                if method != "HEAD":
                    assert reply.body == b'{"error":"Method not allowed"}'
    assert await _rows(worlds[0]) == before


async def test_connect_is_refused(live: Live) -> None:
    wire = await Wire.open(live.url)
    await wire.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
    reply = await wire.reply()
    assert reply.status in (400, 404, 405)
    await wire.close()


async def test_head_is_get_without_a_body(
    line: Line, worlds: tuple[World, World], keys: dict[str, str]
) -> None:
    volatile = {"x-request-id", "date"}
    for operation in OPERATIONS:
        if operation.method != "GET":
            continue
        for _, build in asked(operation, *worlds):
            url = operation.base + build(worlds[0]).url
            if operation.streams:
                head = await line.ask(
                    request("HEAD", url, [("X-API-Key", keys[operation.base])]), without_body=True
                )
                assert head.status in (200, 404), url
                assert (head.value("content-type") == "text/event-stream") is (head.status == 200), url
                continue
            for headers in ([("X-API-Key", keys[operation.base])], []):
                got = await line.ask(request("GET", url, headers))
                head = await line.ask(request("HEAD", url, headers), without_body=True)
                assert head.status == got.status
                assert [h for h in head.headers if h[0] not in volatile] == [
                    h for h in got.headers if h[0] not in volatile
                ], url
                assert got.value("content-length") == str(len(got.body))


async def test_key_headers(line: Line, key: str) -> None:
    url = BASE + "/health/"
    for values, code in (
        ([""], "invalid_header"),
        ([" "], "invalid_header"),
        (["x" * 257], "invalid_header"),
        (["x" * 256], "invalid_api_key"),
        (["x" * 20_000], "invalid_header"),
        ([b"\xff"], "invalid_header"),
        ([key, key], "invalid_header"),
        ([key + "\t" + key], "invalid_api_key"),
        ([key + "," + key], "invalid_api_key"),
        ([key.lower()], "invalid_api_key"),
        ([key[:-1]], "invalid_api_key"),
        (["Bearer " + key], "invalid_api_key"),
        (["rxd_live_" + "z" * 44], "invalid_api_key"),
        (["rxd_live_" + "0" * 44], "invalid_api_key"),
        (["' OR 1=1 --"], "invalid_api_key"),
    ):
        given: list[tuple[str, str | bytes]] = [("X-API-Key", value) for value in values]
        reply = await line.ask(request("GET", url, given))
        assert (reply.status, json.loads(reply.body)["code"]) == (401, code), values
    assert (await line.ask(request("GET", url, [("X-API-KEY", "  " + key + "\t")]))).status == 200


async def test_idempotency_keys(line: Line, worlds: tuple[World, World], key: str) -> None:
    before = await _rows(worlds[0])
    push = json.dumps([{"wallet_pass_uid": worlds[0].uids["wallet_passes"], "message": "a"}]).encode()
    path = "/wallet-passes/push-notifications"
    for values in ([""], ["x" * 256], ["a b"], ["\xff"], ["a", "b"], ["a\tb"]):
        reply = await line.ask(post(path, key, push, *(("Idempotency-Key", value) for value in values)))
        body = _refused(reply, 400, str(values), "Validation failed")
        assert [(d["field"], d["location"]) for d in body["details"]] == [("Idempotency-Key", "header")]
    assert await _rows(worlds[0]) == before


async def test_unknown_paths_need_no_key(line: Line) -> None:
    for path in (
        "/",
        BASE,
        BASE + "/",
        BASE + "/none",
        "/v1",
        BASE + "/apidocs/../openapi.yaml",
        "/%00",
        "/%FF",
        "//",
    ):
        reply = await line.ask(request("GET", path))
        assert (reply.status, reply.body) == (404, NOT_FOUND), path
        assert reply.value("x-request-id")
