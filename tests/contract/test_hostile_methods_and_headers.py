"""Methods that a route lacks, HEAD, and hostile headers. Each answer is the contract's; no row changes."""

from __future__ import annotations

import json

from tests.conftest import Live
from tests.contract.asking import asked
from tests.contract.hostile import OPERATIONS, Line, refused, rows_of, url_of
from tests.contract.worlds import World
from tests.wire.raw import BASE, Wire, post, request

from rxdesk import routes


async def test_methods_that_a_route_lacks(line: Line, worlds: tuple[World, World]) -> None:
    before = await rows_of(worlds[0])
    paths: dict[str, set[str]] = {
        api.base + path: {"GET", "HEAD"} for api in routes.APIS for path in ("/openapi.json", "/apidocs")
    }
    for operation in OPERATIONS:
        url = operation.base + url_of(operation, worlds)
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
    assert await rows_of(worlds[0]) == before


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
    before = await rows_of(worlds[0])
    push = json.dumps([{"wallet_pass_uid": worlds[0].uids["wallet_passes"], "message": "a"}]).encode()
    path = "/wallet-passes/push-notifications"
    for values in ([""], ["x" * 256], ["a b"], ["\xff"], ["a", "b"], ["a\tb"]):
        reply = await line.ask(post(path, key, push, *(("Idempotency-Key", value) for value in values)))
        body = refused(reply, 400, str(values), "Validation failed")
        assert [(d["field"], d["location"]) for d in body["details"]] == [("Idempotency-Key", "header")]
    assert await rows_of(worlds[0]) == before
