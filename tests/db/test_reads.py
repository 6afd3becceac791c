"""Every read of the API is one statement, and what it scans is the caller's own (architecture, section 4)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.kit.keys import new_key
from rxdesk.permissions import ALL
from rxdesk.routes import ENDPOINTS
from rxdesk.web.endpoint import Endpoint
from tests.conftest import InProcess
from tests.factories import Tenant, make_tenant

READS = {e.operation.name: e for e in ENDPOINTS if e.operation.method == "GET"}

# Where each read finds something (`fill` puts it there), and where it finds nothing (None: a list, never a 404).
PATHS: dict[str, tuple[str, str | None]] = {
    "get_order": ("/orders/ord-1", "/orders/none"),
    "get_prescription": ("/prescriptions/px-1", "/prescriptions/none"),
    "list_products": ("/products?limit=200", None),
    "list_doctors": ("/doctors?limit=200", None),
    "get_doctor_statistics": (
        "/doctors/doc-1/statistics?from=1767222000&to=1769900400",
        "/doctors/none/statistics",
    ),
    "find_patient": ("/patients?email=P1@example.com", "/patients?email=none@example.com"),
    "get_patient": ("/patients/pp-1", "/patients/none"),
    "get_intent": ("/patients/pp-1/intent/repeat", "/patients/none/intent/repeat"),
    "get_visit_status": ("/waiting-room/q-1/status", "/waiting-room/none/status"),
    "list_wallet_templates": (
        "/wallet-passes/templates?shop_identifier=shop",
        "/wallet-passes/templates?shop_identifier=none",
    ),
    "list_wallet_passes": (
        "/wallet-passes?shop_identifier=shop&shop_customer_id=c-1",
        "/wallet-passes?shop_identifier=none&shop_customer_id=c-1",
    ),
    "list_subscriptions": ("/notification-subscriptions", None),
    "get_health": ("/health/", None),
}
# Reads that find one thing: what they scan is the same whatever else there is. (A list scans its own page.)
ONE = ("get_order", "get_prescription", "find_patient", "get_patient", "get_intent", "get_doctor_statistics")
NOW = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)

_ACT = "'2026-01-05', '2026-01-05', 'system', 'test'"
_ACTOR = "created_at, updated_at, actor_kind, actor_uid"
# $1: organisation, $2: how many. Each order has a few children; the uids are the same in every organisation.
FILL = (
    f"INSERT INTO shops (organisation_id, uid, identifier, display_name, {_ACTOR}) "
    f"SELECT $1, 'shop', 'shop', 'Shop', {_ACT} WHERE $2::int > 0",
    f"INSERT INTO pharmacies (organisation_id, uid, display_name, {_ACTOR}) "
    f"SELECT $1, 'ph', 'Pharmacy', {_ACT} WHERE $2::int > 0",
    f"INSERT INTO doctors (organisation_id, uid, display_name, sort_key, can_sign_prescriptions, active, {_ACTOR}) "
    f"SELECT $1, 'doc-' || i, 'D' || i, 'd' || i, true, true, {_ACT} FROM generate_series(1, $2::int) i",
    f"INSERT INTO products (organisation_id, uid, display_name, sort_key, {_ACTOR}) "
    f"SELECT $1, 'prod-' || i, 'P' || i, 'p' || i, {_ACT} FROM generate_series(1, $2::int) i",
    "INSERT INTO skus (organisation_id, uid, product_uid, position, display_name) "
    "SELECT $1, 'sku-' || i, 'prod-' || i, 0, 'S' || i FROM generate_series(1, $2::int) i",
    "INSERT INTO shop_products (organisation_id, uid, product_uid, shop_uid, position) "
    "SELECT $1, 'sp-' || i, 'prod-' || i, 'shop', 0 FROM generate_series(1, $2::int) i",
    "INSERT INTO shop_skus (organisation_id, uid, sku_uid, shop_uid, position) "
    "SELECT $1, 'ssku-' || i, 'sku-' || i, 'shop', 0 FROM generate_series(1, $2::int) i",
    "INSERT INTO pharmacy_skus (organisation_id, uid, sku_uid, pharmacy_uid, position, updated_at) "
    "SELECT $1, 'psku-' || i, 'sku-' || i, 'ph', 0, '2026-01-05' FROM generate_series(1, $2::int) i",
    f"INSERT INTO patients (organisation_id, uid, email, email_key, {_ACTOR}) "
    f"SELECT $1, 'pp-' || i, 'p' || i || '@example.com', 'p' || i || '@example.com', {_ACT} "
    "FROM generate_series(1, $2::int) i",
    "INSERT INTO submissions (organisation_id, uid, patient_uid, position, intent, signed_at) "
    "SELECT $1, 'sub-' || i, 'pp-' || i, 0, 'repeat', '2026-01-05' FROM generate_series(1, $2::int) i",
    f"INSERT INTO orders (organisation_id, uid, status, patient_uid, email, email_key, {_ACTOR}) "
    "SELECT $1, 'ord-' || i, 'init', 'pp-' || i, 'p' || i || '@example.com', 'p' || i || '@example.com', "
    f"{_ACT} FROM generate_series(1, $2::int) i",
    "INSERT INTO shop_orders (organisation_id, uid, order_uid, shop_uid, position) "
    "SELECT $1, 'so-' || i, 'ord-' || i, 'shop', 0 FROM generate_series(1, $2::int) i",
    "INSERT INTO order_items (organisation_id, uid, order_uid, sku_uid, position, quantity) "
    "SELECT $1, 'oi-' || i, 'ord-' || i, 'sku-' || i, 0, 1 FROM generate_series(1, $2::int) i",
    "INSERT INTO fulfillment_orders (organisation_id, uid, order_uid, position) "
    "SELECT $1, 'fo-' || i, 'ord-' || i, 0 FROM generate_series(1, $2::int) i",
    "INSERT INTO fulfillment_order_items "
    "(organisation_id, uid, order_uid, fulfillment_order_uid, order_item_uid, position) "
    "SELECT $1, 'foi-' || i, 'ord-' || i, 'fo-' || i, 'oi-' || i, 0 FROM generate_series(1, $2::int) i",
    "INSERT INTO prescriptions (organisation_id, uid, order_uid, fulfillment_order_uid, position, status, doctor_uid, "
    f"assigned_at, decided_at, rendered, {_ACTOR}) "
    "SELECT $1, 'px-' || i, 'ord-' || i, 'fo-' || i, 0, 'signed', 'doc-' || (1 + i % 12 % $2::int), "
    "'2026-01-01 10:00+00'::timestamptz + i % 50 * interval '1 day', "
    f"'2026-01-01 10:07+00'::timestamptz + i % 50 * interval '1 day', false, {_ACT} "
    "FROM generate_series(1, $2::int) i",
    "INSERT INTO waiting_room_visits (organisation_id, uid, shop_uid, patient_uid, status, turn, "
    f"{_ACTOR}) SELECT $1, 'q-' || i, 'shop', 'pp-' || i, 'waiting', i, {_ACT} "
    "FROM generate_series(1, $2::int) i",
    f"INSERT INTO wallet_pass_templates (organisation_id, uid, shop_uid, display_name, sort_key, pass_type, {_ACTOR}) "
    f"SELECT $1, 'wpt-' || i, 'shop', 'T' || i, 't' || i, 'generic', {_ACT} FROM generate_series(1, $2::int) i",
    "INSERT INTO wallet_passes (organisation_id, uid, wallet_pass_template_uid, shop_customer_id, status, "
    f"{_ACTOR}) SELECT $1, 'wp-' || i, 'wpt-' || i, 'c-1', 'active', {_ACT} FROM generate_series(1, $2::int) i",
    "INSERT INTO notification_subscriptions (organisation_id, uid, notification_type, target, payload_version, "
    "sealed_signing_secret, full_data, created_at, actor_kind, actor_uid) "
    "SELECT $1, 'ns-' || i, 'order_created', 'https://example.com/' || i, '1', '', true, '2026-01-05', 'system', "
    "'test' FROM generate_series(1, $2::int) i",
)
CROWD = 100_000


async def fill(tenant: Tenant, count: int) -> None:
    """Insert `count` of everything."""
    await tenant.enter()
    for statement in FILL:
        await tenant.connection.execute(statement, tenant.id, count)


async def lacking(tenant: Tenant, endpoint: Endpoint) -> dict[str, str]:
    """The header of a key that may do everything but this."""
    return await tenant.headers(*(p for p in ALL if p != endpoint.operation.permission))


def test_every_read_is_looked_at() -> None:
    assert set(PATHS) == set(READS)


@pytest.fixture(scope="module")
async def small(app_connection: Connection) -> Tenant:
    tenant = await make_tenant(app_connection)
    await fill(tenant, 1)
    return tenant


@pytest.fixture(scope="module")
async def large(app_connection: Connection) -> Tenant:
    tenant = await make_tenant(app_connection)
    await fill(tenant, 200)
    return tenant


# Counting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READS)
async def test_statements(inside: InProcess, small: Tenant, large: Tenant, name: str) -> None:
    found, nothing = PATHS[name]
    needs_permission = READS[name].operation.permission is not None
    allowed, unknown = await small.headers(), {"X-API-Key": new_key(small.id)}

    async def cost(path: str, headers: dict[str, str]) -> tuple[int, int]:
        inside.statements.clear()
        answer = await inside.client.get(path, headers=headers)
        return answer.status_code, len(inside.statements)

    assert await cost(found, allowed) == (200, 2)  # a new connection has no organisation yet
    assert await cost(found, allowed) == (200, 1)
    assert await cost(found, unknown) == (401, 1)
    if needs_permission:
        assert await cost(found, await lacking(small, READS[name])) == (403, 1)
    if nothing is not None:
        assert await cost(nothing, allowed) == (404, 1)
        assert await cost(nothing, unknown) == (401, 1)
    assert await cost(found, {"X-API-Key": "rxd_live_nonsense"}) == (401, 0)
    assert await cost(found, {}) == (401, 0)
    # The connection changes its organisation: one more, once; and two hundred rows cost no more than one.
    other = await large.headers()
    assert await cost(found, other) == (200, 2)
    assert await cost(found, other) == (200, 1)
    assert await cost(found, allowed) == (200, 2)


@pytest.mark.parametrize("path", ["/products?page=-1", "/doctors/doc-1/statistics?from=x", "/patients?email="])
async def test_faulty_input_costs_one_statement(inside: InProcess, small: Tenant, path: str) -> None:
    allowed, unknown = await small.headers(), {"X-API-Key": new_key(small.id)}
    denied = await small.headers("waiting_room:read")
    await inside.client.get("/health/", headers=allowed)
    for headers, status in ((allowed, 400), (unknown, 401), (denied, 403)):
        inside.statements.clear()
        answer = await inside.client.get(path, headers=headers)
        assert (answer.status_code, len(inside.statements)) == (status, 1)


# Plans --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What PostgreSQL did for a statement."""

    root: dict[str, Any]
    execution_ms: float
    planning_ms: float

    def nodes(self, node: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """All nodes, depth first."""
        node = node or self.root
        yield node
        for below in node.get("Plans", ()):
            yield from self.nodes(below)

    def scanned(self) -> int:
        """Rows that were read from tables and indexes, those thrown away included."""
        rows = 0.0
        for node in self.nodes():
            if "Relation Name" in node or "Index Name" in node:
                removed = sum(v for k, v in node.items() if k.startswith("Rows Removed by"))
                rows += (node["Actual Rows"] + removed) * node["Actual Loops"]
        return round(rows)

    def executed(self) -> set[str]:
        """The tables that were looked at."""
        return {n["Relation Name"] for n in self.nodes() if "Relation Name" in n and n["Actual Loops"]}


async def explain(tenant: Tenant, statement: str, arguments: tuple[Any, ...], mode: str) -> Plan:
    """Run a statement as a prepared one, as the driver does; `mode` is PostgreSQL's plan_cache_mode."""
    await tenant.enter()
    connection = tenant.connection
    literals = []
    for value in arguments:
        text = "\\x" + value.hex() if isinstance(value, bytes) else None if value is None else str(value)
        literals.append(await connection.fetchval("SELECT quote_nullable($1::text)", text))
    await connection.execute(f"SET plan_cache_mode = {mode}; SET jit = off")
    try:
        await connection.execute(f"PREPARE looked_at AS {statement}")
        found = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE looked_at ({', '.join(literals)})"
        )
    finally:
        await connection.execute("DEALLOCATE ALL; RESET plan_cache_mode; RESET jit")
        await connection.reload_schema_state()
    plan = json.loads(found)[0]
    return Plan(plan["Plan"], plan["Execution Time"], plan["Planning Time"])


async def statement_of(inside: InProcess, name: str, headers: dict[str, str]) -> tuple[str, tuple[Any, ...]]:
    """The statement, with arguments, that a route runs for this key."""
    await inside.client.get(PATHS[name][0], headers=headers)
    return inside.calls[-1]


@pytest.fixture(scope="module")
async def owner(cluster: embedded.Address) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    yield connection
    await connection.close()


FENCED = [name for name in READS if READS[name].operation.permission is not None]


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", FENCED)
async def test_without_the_permission_the_query_is_never_executed(
    inside: InProcess, large: Tenant, name: str, mode: str
) -> None:
    allowed = await explain(large, *await statement_of(inside, name, await large.headers()), mode)
    assert allowed.executed() > {"api_keys"}
    denied = await explain(large, *await statement_of(inside, name, await lacking(large, READS[name])), mode)
    assert denied.executed() == {"api_keys"}
    # Below the fence nothing ran at all, not only no scan: the gate is the one node of the query's that was asked.
    ran = [n for n in denied.nodes() if n["Actual Loops"] and "Relation Name" not in n]
    assert len(ran) <= 4, [n["Node Type"] for n in ran]


@pytest.fixture(scope="module")
async def crowd(large: Tenant, app_connection: Connection, owner: Connection) -> Tenant:
    """Another organisation with the same uids and 100,000 of everything."""
    await owner.execute("ANALYZE")
    tenant = await make_tenant(app_connection)
    return tenant


async def test_scans_do_not_grow_with_other_organisations(
    inside: InProcess, large: Tenant, app_connection: Connection, owner: Connection
) -> None:
    statements = {name: await statement_of(inside, name, await large.headers()) for name in ONE}
    await owner.execute("ANALYZE")
    modes = ("force_custom_plan", "force_generic_plan")
    before = {(n, m): (await explain(large, *statements[n], m)).scanned() for n in ONE for m in modes}
    crowd = await make_tenant(app_connection)
    import time
    t=time.time()
    await fill(crowd, CROWD)
    print(time.time()-t)
    await owner.execute("ANALYZE")
    print(time.time()-t)
    plans = {(n, m): await explain(large, *statements[n], m) for n in ONE for m in modes}
    for k, p in plans.items(): print(k, p.scanned(), before[k], p.execution_ms, p.planning_ms)
    after = {key: plan.scanned() for key, plan in plans.items()}
    assert all(after[key] <= before[key] for key in before), (before, after)
    assert max(after.values()) < 500
