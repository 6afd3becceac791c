"""Every read of the API is one statement, and what it scans is the caller's own (architecture, section 4)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from tests.conftest import InProcess
from tests.db.crowd import fill
from tests.factories import Tenant, make_tenant

from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.kit.keys import new_key
from rxdesk.permissions import ALL
from rxdesk.routes import MANAGEMENT
from rxdesk.waiting_room.snapshots import SNAPSHOT
from rxdesk.web.endpoint import Endpoint
from rxdesk.web.open import OpenEndpoint

READS = {e.operation.name: e for e in MANAGEMENT.endpoints if e.operation.method == "GET"}

# Where each read finds something (`fill` puts it there), and where nothing (None: a list, never a 404).
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
    # Of one that has ended: a stream that ends by itself.
    "follow_visit": ("/waiting-room/q-ended/events", "/waiting-room/none/events"),
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
CROWD = 100_000
FEW = 1_000
# More rows than any of ONE has to look at here, and far fewer than anybody else's.
OWN = 32


async def lacking(tenant: Tenant, endpoint: Endpoint | OpenEndpoint) -> dict[str, str]:
    """The header of a key that may do everything but this."""
    return await tenant.headers(*(p for p in ALL if p != endpoint.operation.permission))


def test_every_read_is_looked_at() -> None:
    assert set(PATHS) == set(READS)


@pytest.fixture(scope="module")
async def small(app_connection: Connection) -> Tenant:
    tenant = await make_tenant(app_connection)
    await tenant.enter()
    await fill(app_connection, tenant.id, many=1, few=1)
    return tenant


@pytest.fixture(scope="module")
async def large(app_connection: Connection) -> Tenant:
    tenant = await make_tenant(app_connection)
    await tenant.enter()
    await fill(app_connection, tenant.id, many=200, few=200)
    return tenant


# Counting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READS)
async def test_statements(inside: InProcess, small: Tenant, large: Tenant, name: str) -> None:
    found, nothing = PATHS[name]
    needs_permission = READS[name].operation.permission is not None
    allowed, unknown = await small.headers(), {"X-API-Key": new_key(small.id)}

    async def cost(path: str, headers: dict[str, str]) -> tuple[int, int]:
        inside.statements.clear()
        answer = await inside.client.get(path, headers=headers)
        # The forecast of a shop is one more, once in a while, for all who ask (tests of estimates).
        return answer.status_code, sum(SNAPSHOT.query not in statement for statement in inside.statements)

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


@pytest.mark.parametrize(
    "path", ["/products?page=-1", "/doctors/doc-1/statistics?from=x", "/patients?email="]
)
async def test_faulty_input_costs_one_statement(inside: InProcess, small: Tenant, path: str) -> None:
    allowed, unknown = await small.headers(), {"X-API-Key": new_key(small.id)}
    denied = await small.headers("waiting_room:read")
    await inside.client.get("/health/", headers=allowed)
    for headers, status in ((allowed, 400), (unknown, 401), (denied, 403)):
        inside.statements.clear()
        answer = await inside.client.get(path, headers=headers)
        assert (answer.status_code, len(inside.statements)) == (status, 1)


# Plans ------------------------------------------------------------------------------------------------------


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

    def scans(self) -> Iterator[float]:
        """Rows that each scan read from a table or an index, those thrown away included."""
        for node in self.nodes():
            if "Relation Name" in node or "Index Name" in node:
                removed = sum(v for k, v in node.items() if k.startswith("Rows Removed by"))
                yield (node["Actual Rows"] + removed) * node["Actual Loops"]

    def scanned(self) -> int:
        """Rows that all scans read."""
        return round(sum(self.scans()))

    def executed(self) -> set[str]:
        """The tables that were looked at."""
        return {n["Relation Name"] for n in self.nodes() if "Relation Name" in n and n["Actual Loops"]}


async def explain(tenant: Tenant, statement: str, arguments: tuple[Any, ...], mode: str) -> Plan:
    """Run a statement as a prepared one, as the driver does; `mode` is PostgreSQL's plan_cache_mode.

    Whole tables are not read, which PostgreSQL may do, and may not, while there are few rows.
    """
    await tenant.enter()
    connection = tenant.connection
    literals = []
    for value in arguments:
        if isinstance(value, list):
            of = await connection.fetchval("SELECT quote_literal($1::text[]::text)", value)
        else:
            text = "\\x" + value.hex() if isinstance(value, bytes) else None if value is None else str(value)
            of = await connection.fetchval("SELECT quote_nullable($1::text)", text)
        literals.append(of)
    await connection.execute(f"SET plan_cache_mode = {mode}; SET jit = off; SET enable_seqscan = off")
    try:
        await connection.execute(f"PREPARE looked_at AS {statement}")
        found = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE looked_at ({', '.join(literals)})"
        )
    finally:
        await connection.execute("DEALLOCATE ALL; RESET plan_cache_mode; RESET jit; RESET enable_seqscan")
        await connection.reload_schema_state()
    plan = json.loads(found)[0]
    return Plan(plan["Plan"], plan["Execution Time"], plan["Planning Time"])


async def statement_of(inside: InProcess, name: str, headers: dict[str, str]) -> tuple[str, tuple[Any, ...]]:
    """The statement, with arguments, that a route runs for this key."""
    await inside.client.get(PATHS[name][0], headers=headers)
    return [call for call in inside.calls if SNAPSHOT.query not in call[0]][-1]


@pytest.fixture(scope="module")
async def superuser(cluster: embedded.Address) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(**cluster.connect_args(embedded.SUPERUSER))
    yield connection
    await connection.close()


async def gather(superuser: Connection, crowd: Tenant) -> None:
    """Fill an organisation with many rows, without the slow checks of foreign keys."""
    counting = "TRIGGER prescriptions_counted_insert"
    await superuser.execute(f"ALTER TABLE prescriptions ENABLE ALWAYS {counting}")
    await superuser.execute("SET session_replication_role = replica")
    await fill(superuser, crowd.id, many=CROWD, few=FEW)
    await superuser.execute("RESET session_replication_role")
    await superuser.execute(f"ALTER TABLE prescriptions ENABLE {counting}")


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
    # One gate was asked, whether the key may; below it nothing ran, and all tables of the query are below it.
    asked = [node for node in denied.nodes() if node["Actual Loops"]]
    (gate,) = [node for node in asked if "permissions" in node.get("One-Time Filter", "")]
    below = [node for child in gate["Plans"] for node in denied.nodes(child)]
    assert {node["Actual Loops"] for node in below} == {0}
    tables = {node["Relation Name"] for node in below if "Relation Name" in node}
    assert tables | {"api_keys"} >= allowed.executed()


async def test_scans_do_not_grow_with_other_organisations(
    inside: InProcess, large: Tenant, app_connection: Connection, superuser: Connection
) -> None:
    statements = {name: await statement_of(inside, name, await large.headers()) for name in ONE}
    modes = ("force_custom_plan", "force_generic_plan")

    async def plans() -> dict[tuple[str, str], Plan]:
        await superuser.execute("ANALYZE")
        return {(name, mode): await explain(large, *statements[name], mode) for name in ONE for mode in modes}

    before = await plans()
    crowd = await make_tenant(app_connection)
    await gather(superuser, crowd)
    after = await plans()
    # With few rows there PostgreSQL may read whole tables; that is no measure.
    scanned = {key: (before[key].scanned(), after[key].scanned()) for key in before}
    assert all(now <= max(then, OWN) for then, now in scanned.values()), scanned
    # Never the 100,000; a table of a few dozen rows, such as that of organisations, may be read whole before and after.
    assert max(now for _, now in scanned.values()) < FEW


# Every doctor of the organisation has worked on each of $3 days.
_YEARS = """
INSERT INTO prescriptions (organisation_id, uid, order_uid, position, status, doctor_uid, assigned_at, decided_at,
  rendered, created_at, updated_at, actor_kind, actor_uid)
SELECT $1, d.uid || '-' || i, $2, 0, 'signed', d.uid, t, t + i % 900 * interval '7 s', false, t, t, 'system', 'test'
FROM doctors d, generate_series(1, $3::int) i, LATERAL (
  SELECT '2026-01-05 10:00+00'::timestamptz - i * interval '1 day' AS t) unused
WHERE d.organisation_id = $1"""
SHOWN_DAYS = 366


async def test_statistics_do_not_read_the_days_that_they_do_not_show(
    inside: InProcess, app_connection: Connection, superuser: Connection
) -> None:
    """Under row security a condition that is not leakproof is no index's: all days would be read and thrown away."""
    tenant = await make_tenant(app_connection)
    doctors = [await tenant.insert("doctors") for _ in range(12)]
    await app_connection.execute(_YEARS, tenant.id, await tenant.insert("orders"), 2 * SHOWN_DAYS)
    await superuser.execute("ANALYZE")
    answer = await inside.client.get(f"/doctors/{doctors[0]}/statistics", headers=await tenant.headers())
    assert answer.json()["prescriptions"]["total"] == 2 * SHOWN_DAYS
    for mode in ("force_custom_plan", "force_generic_plan"):
        plan = await explain(tenant, *inside.calls[-1], mode)
        assert max(plan.scans()) <= SHOWN_DAYS


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_by_an_email_no_order_is_read_and_nobody_twice(
    inside: InProcess, app_connection: Connection, superuser: Connection, mode: str
) -> None:
    """Each page more that is looked at costs more the larger the database is."""
    tenant = await make_tenant(app_connection)
    patients = [await tenant.insert("patients", email=f"own{n}@example.com") for n in range(300)]
    for n, patient in enumerate(patients):
        await tenant.insert("orders", patient_uid=patient, email=f"order{n}@example.com")
    await superuser.execute("ANALYZE")
    for email in ("own7@example.com", "order7@example.com"):
        answer = await inside.client.get("/patients", params={"email": email}, headers=await tenant.headers())
        assert answer.json()["uid"] == patients[7]
        nodes = [*(await explain(tenant, *inside.calls[-1], mode)).nodes()]
        orders = [node for node in nodes if node.get("Relation Name") == "orders"]
        assert [(node["Node Type"], node["Index Name"]) for node in orders] == [
            ("Index Only Scan", "orders_email")
        ]
        read = [node for node in nodes if node.get("Relation Name") == "patients"]
        assert sum(node["Actual Rows"] * node["Actual Loops"] for node in read) == 1
