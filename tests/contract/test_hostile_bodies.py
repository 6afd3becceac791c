"""Hostile bodies, against every operation that takes one. Each answer is the contract's 4xx; no row changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.contract.documented import DOCUMENTS, Documented
from tests.contract.hostile import OPERATIONS, Line, first_request, refused, rows_of, url_of
from tests.contract.worlds import World
from tests.wire.raw import post, request

WITH_BODY = [operation for operation in OPERATIONS if operation.has_body]
BIG = 2**20


def _sent(
    operation: Documented,
    worlds: tuple[World, World],
    keys: dict[str, str],
    body: bytes,
    *headers: tuple[str, str],
) -> bytes:
    url, base = url_of(operation, worlds), operation.base
    return post(url, keys[base], body, *headers, method=operation.method, base=base)


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
    before = await rows_of(worlds[0])
    for what, (body, start) in REFUSED.items():
        if not body and not operation.described["requestBody"]["required"]:
            continue  # its reference may stand in the query instead, or it needs nothing said
        reply = await line.ask(_sent(operation, worlds, keys, body))
        refused(reply, 400, f"{operation.name}, {what}", start)
    assert await rows_of(worlds[0]) == before


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
    valid = first_request(operation, worlds).json or {
        "notification_type": "order_created",
        "target": worlds[0].target,
    }
    before = await rows_of(worlds[0])
    for what, (body, field) in _broken(valid, _schema(operation)).items():
        reply = await line.ask(_sent(operation, worlds, keys, json.dumps(body).encode()))
        answer = refused(reply, 400, f"{operation.name}, {what}", "Validation failed")
        assert len(reply.body) < 200_000, what
        fields = [detail["field"] for detail in answer["details"]]
        assert field is None or field in fields, f"{operation.name}, {what}: {fields[:5]}"
        assert all(detail["location"] == "body" for detail in answer["details"])
    assert await rows_of(worlds[0]) == before


@pytest.mark.parametrize("operation", WITH_BODY, ids=lambda operation: operation.name)
async def test_content_types_and_sizes(
    operation: Documented, line: Line, worlds: tuple[World, World], keys: dict[str, str]
) -> None:
    before = await rows_of(worlds[0])

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
        body = refused(reply, 415, f"{operation.name}, {types}")
        assert body == {"error": "Content-Type must be application/json"}
    # These are JSON: the body is read, and is not one of the schema.
    for value in (
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        'application/json; charset="UTF-8"',
        "application/json ; charset=UTF-8",
    ):
        refused(await line.ask(sent(b"1", ("Content-Type", value))), 400, value, "Validation failed")
    refused(await line.ask(sent(b"1")), 400, "no type", "Validation failed")
    too_large = {"error": "The body is larger than 1048576 bytes"}
    for length in (BIG + 1, 2 * BIG):
        assert refused(await line.ask(sent(b" " * length)), 413, str(length)) == too_large
    refused(await line.ask(sent(b" " * (BIG - 1) + b"1")), 400, "just not too large", "Validation failed")
    chunked = request(
        operation.method,
        operation.base + url_of(operation, worlds),
        [("X-API-Key", keys[operation.base]), ("Transfer-Encoding", "chunked")],
        b"100000\r\n" + b" " * BIG + b"\r\n1\r\n \r\n0\r\n\r\n",
    )
    assert refused(await line.ask(chunked), 413, "chunked") == too_large
    assert await rows_of(worlds[0]) == before
