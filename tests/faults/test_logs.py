"""A fault of ours is a clean 500, and a log line holds nothing that a client sent."""

from __future__ import annotations

import dataclasses
import io
import json
import secrets
from collections.abc import AsyncIterator, Callable

import asyncpg
import httpx
import pytest
import structlog
from starlette.exceptions import HTTPException
from tests.api.waiting_room.streams import desk_at
from tests.conftest import BASE, ENCRYPTION_KEYS, settings_for, start_live, stop_live
from tests.factories import Tenant

from rxdesk import routes
from rxdesk.app import create_app
from rxdesk.db import embedded
from rxdesk.db.pool import connector
from rxdesk.kit.keys import new_key
from rxdesk.permissions import ALL
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint

SECRET = "zq-never-in-a-log"
ALLOWED = {
    "request": {
        *("event", "level", "timestamp"),
        *("method", "route", "status", "ms", "organisation", "key", "request_id"),
    },
    "unhandled": {"event", "level", "timestamp", "error", "at", "request_id"},
}


@endpoint("GET", "/raises/{what}", None, tag="Faults", summary="Raises", path_parameters={"what": "What"})
async def raises(call: Call) -> Answer:
    """Fail in one of the ways in which code fails."""
    await call.authorise()
    what = call.text("what")
    if what == "sql":

        async def broken(tx: object) -> None:
            await tx.connection.fetchval(f"SELECT '{SECRET}' FROM no_such_table_{SECRET[:2]}")  # type: ignore[attr-defined]

        return await call.write(broken)
    if what == "group":
        raise ExceptionGroup(SECRET, [ValueError(SECRET)])
    if what == "recursion":

        def deeper() -> None:
            deeper()

        deeper()
    if what == "memory":
        raise MemoryError(SECRET)
    raise {"value": ValueError, "key": KeyError, "http": _http()}[what](SECRET)


def _http() -> Callable[[str], Exception]:
    return lambda detail: HTTPException(500, detail)


@pytest.fixture
async def broken(
    cluster: embedded.Address, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    broken = dataclasses.replace(routes.MANAGEMENT, endpoints=(*routes.MANAGEMENT.endpoints, raises))
    monkeypatch.setattr(routes, "APIS", (broken,))
    connect = connector(cluster.connect_args(embedded.APP), statement_seconds=5, name="faults")
    app = create_app(settings_for(), connect, ENCRYPTION_KEYS)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://test" + BASE) as client:
        yield client
    await app.close()


@pytest.mark.parametrize("what", ["value", "key", "sql", "group", "recursion", "memory", "http"])
async def test_a_handler_that_raises(broken: httpx.AsyncClient, tenant: Tenant, what: str) -> None:
    headers = {**await tenant.headers(), "X-Request-Id": "request-0123"}
    with structlog.testing.capture_logs() as lines:
        answer = await broken.get(f"/raises/{what}?{SECRET}=1", headers=headers)
    assert answer.status_code == 500
    assert answer.json() == {"error": "Internal server error", "request_id": "request-0123"}
    assert answer.headers["x-request-id"] == "request-0123"
    assert answer.headers["content-type"] == "application/json"
    seen = answer.text + str(answer.headers) + json.dumps(lines)
    assert SECRET not in seen
    assert "SELECT" not in seen
    told = next(line for line in lines if line["event"] == "unhandled")
    assert set(told) <= ALLOWED["unhandled"] | {"log_level"}
    assert told["request_id"] == "request-0123"
    assert any("test_logs.py" in place for place in told["at"]), "the line says where"
    # The next request is served, on a clean connection.
    assert (await broken.get("/health/", headers=headers)).status_code == 200


async def test_a_database_without_its_tables_is_a_fault_of_ours(cluster: embedded.Address) -> None:
    async def connect() -> object:
        return await asyncpg.connect(
            **cluster.connect_args(embedded.APP), server_settings={"search_path": "pg_catalog"}
        )

    app = create_app(settings_for(), connect, ENCRYPTION_KEYS)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test" + BASE) as client:
        answer = await client.get("/doctors", headers={"X-API-Key": new_key(1)})
        assert answer.status_code == 500
        assert set(answer.json()) == {"error", "request_id"}
    await app.close()


async def test_log_lines_of_a_busy_run(
    cluster: embedded.Address, tenant: Tenant, capfd: pytest.CaptureFixture[str]
) -> None:
    """Standard error of a real server: allow-listed fields alone, whatever was asked."""
    mark = "zq" + secrets.token_hex(6)
    patient = await tenant.insert(
        "patients", uid=f"pp-{mark}", email=f"{mark}@example.com", display_name=mark
    )
    shop = await tenant.insert("shops", identifier=f"shop-{mark}")
    created = await tenant.new_key(*ALL)
    capfd.readouterr()
    live = start_live(cluster, log_level="debug")
    headers = {"X-API-Key": created.key}
    sent = 0
    try:
        async with httpx.AsyncClient(base_url=live.url + BASE, trust_env=False, timeout=15) as client:
            for method, path, body in (
                ("GET", f"/patients/{patient}", None),
                ("GET", f"/patients?email={mark}@example.com", None),
                ("GET", f"/patients/{mark}", None),
                ("GET", f"/doctors?page={mark}", None),
                ("GET", f"/{mark}?{mark}", None),
                (f"M{mark}", f"/doctors/{mark}", None),
                ("GET", f"/wallet-passes?shop_identifier=shop-{mark}&shop_customer_id={mark}", None),
                ("POST", "/waiting-room/register", {"shop_uid": shop, "patient_profile_uid": patient}),
                ("POST", "/waiting-room/register", {"shop_uid": mark, mark: mark}),
                ("POST", "/wallet-passes/push-notifications", [{"wallet_pass_uid": mark, "message": mark}]),
                (
                    "POST",
                    "/notification-subscriptions",
                    {"notification_type": "order_created", "target": f"https://example.com/{mark}"},
                ),
                ("POST", "/notification-subscriptions/test", {"target_url": f"https://10.0.0.1/{mark}"}),
                ("DELETE", f"/notification-subscriptions?target={mark}&notification_type={mark}", None),
            ):
                for given in (headers, {"X-API-Key": mark}, {}):
                    more = {
                        **given,
                        "User-Agent": mark,
                        "Referer": mark,
                        "Cookie": mark,
                        "Idempotency-Key": mark,
                    }
                    await client.request(method, path, json=body, headers=more)
                    sent += 1
    finally:
        stop_live(live)
    text = capfd.readouterr().err
    assert mark not in text
    assert created.key not in text
    assert created.key[-8:] not in text
    lines = [json.loads(line) for line in io.StringIO(text)]
    requests = [line for line in lines if line["event"] == "request" and line["route"] != "/livez"]
    assert len(requests) == sent
    for line in requests:
        assert set(line) == ALLOWED["request"]
    known = {route.operation.path for route in routes.MANAGEMENT.endpoints}
    for line in requests:
        route = line["route"].removeprefix(BASE)
        assert route == "-" or route in known or route.rstrip("/") in known, route
        assert line["organisation"] in (None, tenant.id)
        assert line["key"] in (None, created.uid)
    assert {line["key"] for line in requests} == {None, created.uid}
    assert {line["method"] for line in requests} == {"GET", "POST", "DELETE", "other"}


async def test_a_stream_is_one_line_when_it_has_ended(
    cluster: embedded.Address, tenant: Tenant, capfd: pytest.CaptureFixture[str]
) -> None:
    live = start_live(cluster, log_level="info", stream_comment_seconds=0.1)
    try:
        async with desk_at(live.url, tenant) as desk:
            uid = await desk.patient(await desk.shop())
            stream = await desk.follow(desk.path(uid))
            await stream.until("snapshot")
            await desk.leave(uid)
            await stream.rest()
    finally:
        stop_live(live)
    text = capfd.readouterr().err
    assert uid not in text
    route = "/v1/management/waiting-room/{queue_uid}/events"
    [line] = [one for one in map(json.loads, io.StringIO(text)) if one.get("route") == route]
    assert set(line) == ALLOWED["request"]
    assert (line["method"], line["status"], line["organisation"]) == ("GET", 200, tenant.id)
