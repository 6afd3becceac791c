"""Hostile paths and queries, against every operation. Each answer is the contract's 4xx; no row changes."""

from __future__ import annotations

import json

import pytest
from tests.contract.asking import PATH_ROWS
from tests.contract.documented import Documented
from tests.contract.hostile import NOT_FOUND, OPERATIONS, Line, first_request, refused, rows_of, url_of
from tests.contract.worlds import World
from tests.wire.raw import BASE, Closed, request

WITH_PATH = [operation for operation in OPERATIONS if "{" in operation.path]


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
    before = await rows_of(worlds[0])
    # Where there is a body, it is looked at before the row is looked for.
    valid = first_request(operation, worlds).json
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
    assert await rows_of(worlds[0]) == before


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
        url = operation.base + url_of(operation, worlds)
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
                body = refused(reply, 400, what, "Validation failed")
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
