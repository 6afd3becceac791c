"""Row security is a second wall: it holds alone, when the first is taken out, and under cancellation."""

# ruff: noqa: SLF001, PT012 (looks inside; the block under `raises` is the use)

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import pkgutil
import random
import re
from typing import Any

import asyncpg
import httpx
import pytest
from tests.conftest import in_process
from tests.contract.asking import asked
from tests.contract.documented import operations
from tests.contract.worlds import World, two_worlds
from tests.db.tables import TENANT_TABLES
from tests.factories import make_tenant

import rxdesk
from rxdesk import access, errors, routes
from rxdesk.access import Read
from rxdesk.db import embedded
from rxdesk.db.pool import Connection, DatabaseUnavailableError, Pool, connector
from rxdesk.kit.deadlines import TICKS_A_SECOND
from rxdesk.permissions import ALL


@pytest.fixture(scope="module")
async def worlds(app_connection: Connection) -> tuple[World, World]:
    return await two_worlds(app_connection)


# ----------------------------------------------------- the first wall taken out
def _reads() -> dict[str, Read]:
    """Every read of the product, by its name."""
    found: dict[str, Read] = {}
    for package in pkgutil.iter_modules(rxdesk.__path__):
        with contextlib.suppress(ModuleNotFoundError):
            module = importlib.import_module(f"rxdesk.{package.name}.queries")
            found |= {
                f"{package.name}.{name}": value
                for name, value in vars(module).items()
                if isinstance(value, Read)
            }
    return found


def _without_the_condition(statement: str) -> str:
    """Take the organisation's condition out, wherever it stands; the caller's own is gone as well."""
    opened, count = re.subn(r"((?:\b\w+\.)?\borganisation_id) = \$1", r"(\1 = $1 OR true)", statement)
    assert count >= 2
    return opened


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = _reads()
    assert len(reads) >= 11
    compose = access._compose
    monkeypatch.setattr(access, "_compose", lambda query: _without_the_condition(compose(query)))
    only = _without_the_condition(
        access._CALLER_ONLY.replace("AND digest", "AND organisation_id = $1 AND digest")
    )
    monkeypatch.setattr(access, "_CALLER_ONLY", only)


async def test_without_the_condition_still_no_foreign_row(
    cluster: embedded.Address, worlds: tuple[World, World], opened: None
) -> None:
    async with in_process(cluster) as running:
        for own, foreign in (worlds, worlds[::-1]):
            running.client.base_url = httpx.URL("http://test")
            keys = {api.base: await own.full_key(api.base) for api in routes.APIS}
            for operation in operations():
                if operation.method != "GET":
                    continue
                headers = {"X-API-Key": keys[operation.base]}
                for what, build in asked(operation, own, foreign):
                    request = build(own)
                    url = operation.base + request.url
                    if operation.streams:
                        answer = await running.beginning(url, headers)
                    else:
                        answer = await running.client.get(url, headers=headers)
                    cell = f"{operation.name}, {what}: {answer.text[:300]}"
                    assert answer.status_code == request.status, cell
                    assert request.body is None or answer.json() == request.body, cell
                    assert foreign.mark not in answer.text, cell


async def test_the_condition_was_really_out(
    cluster: embedded.Address, worlds: tuple[World, World], opened: None
) -> None:
    """The same statements as the owner, whom no policy holds, do show the other's rows."""
    reads = _reads()
    owner = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    own, foreign = worlds
    created = await own.tenant.key(*ALL)
    digest = hashlib.sha256(created.encode()).digest()
    for name, arguments in {
        "doctors.DOCTORS": (1_000_000, 0),
        "products.PRODUCTS": (1_000_000, 0),
        "orders.ORDER": (foreign.uids["orders"],),
        "prescriptions.PRESCRIPTION": (foreign.uids["prescriptions"],),
        "patients.PATIENT": (foreign.uids["patients"],),
        "patients.PATIENT_BY_EMAIL": (foreign.email,),
        "wallet.TEMPLATES": (f"shop-{foreign.mark}",),
        "webhooks.SUBSCRIPTIONS": (),
    }.items():
        row = await owner.fetchrow(reads[name].statement, own.tenant.id, digest, None, *arguments)
        assert foreign.mark in row["body"], name
    await owner.close()


async def test_the_same_uids_in_two_organisations(
    cluster: embedded.Address, app_connection: Connection
) -> None:
    """A uid is unique inside an organisation only: each sees its own row of that name."""
    tenants = [await make_tenant(app_connection) for _ in range(2)]
    for number, tenant in enumerate(tenants):
        await tenant.insert("doctors", uid="same", display_name=f"Dr. {number}")
        await tenant.insert("patients", uid="same", display_name=f"P {number}", email="same@example.com")
        await tenant.insert("orders", uid="same", patient_uid="same")
        await tenant.insert("prescriptions", uid="same", order_uid="same", doctor_uid="same", status="signed")
    async with in_process(cluster) as running:
        for number, tenant in enumerate(tenants):
            headers = await tenant.headers()
            for path in ("/patients/same", "/patients?email=same@example.com"):
                answer = await running.client.get(path, headers=headers)
                assert answer.json()["data"]["display_name"] == f"P {number}"
            answer = await running.client.get("/prescriptions/same", headers=headers)
            assert answer.json()["doctor"]["display_name"] == f"Dr. {number}"
            answer = await running.client.get("/orders/same", headers=headers)
            assert [p["uid"] for p in answer.json()["prescriptions"]] == ["same"]
            answer = await running.client.get("/doctors/same/statistics", headers=headers)
            assert answer.json()["prescriptions"]["total"] == 1
            answer = await running.client.get("/doctors", headers=headers)
            assert answer.json()["totalRegistries"] == 1


# ----------------------------------------------------- the policies alone
async def test_without_the_setting_nothing_is_visible(
    cluster: embedded.Address, worlds: tuple[World, World]
) -> None:
    connection = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    tables = [row[0] for row in await connection.fetch(TENANT_TABLES)]
    assert len(tables) > 25
    for value in (None, "", "0", "2147483647"):
        if value is not None:
            await connection.execute(f"SET rxdesk.organisation_id = '{value}'")
        for table in tables:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    for own, foreign in (worlds, worlds[::-1]):
        await connection.execute(f"SET rxdesk.organisation_id = '{own.tenant.id}'")
        seen = 0
        for table in tables:
            found = await connection.fetch(f"SELECT DISTINCT organisation_id FROM {table}")
            assert [row[0] for row in found] in ([], [own.tenant.id]), table
            seen += bool(found)
            text = await connection.fetchval(f"SELECT string_agg(t::text, '') FROM {table} t")
            assert foreign.mark not in (text or ""), table
        assert seen > 25, "the world has rows in every table but the idempotency keys"
    await connection.close()


async def test_no_row_can_be_written_into_another_organisation(
    cluster: embedded.Address, worlds: tuple[World, World]
) -> None:
    own, foreign = worlds
    connection = await asyncpg.connect(**cluster.connect_args(embedded.APP))
    await connection.execute(f"SET rxdesk.organisation_id = '{own.tenant.id}'")
    refused = 0
    for (table,) in await connection.fetch(TENANT_TABLES):
        if not await connection.fetchval(f"SELECT count(*) FROM {table}"):
            continue
        moved = f"jsonb_build_object('organisation_id', {foreign.tenant.id})"
        # What is generated cannot be given.
        columns = await connection.fetchval(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute "
            "WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
            table,
        )
        one = f"SELECT (jsonb_populate_record(t, {moved})).* FROM {table} t LIMIT 1"
        for statement in (
            f"UPDATE {table} SET organisation_id = {foreign.tenant.id}",
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({one}) one",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await connection.execute(statement)
            refused += 1
        for statement in (
            f"UPDATE {table} SET organisation_id = $1 WHERE organisation_id = {foreign.tenant.id}".replace(
                "$1", str(own.tenant.id)
            ),
            f"DELETE FROM {table} WHERE organisation_id = {foreign.tenant.id}",
        ):
            assert (await connection.execute(statement)).endswith(" 0"), statement
    assert refused > 50
    for statement in (
        "ALTER TABLE patients DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON patients",
        "SET SESSION AUTHORIZATION postgres",
        "TRUNCATE patients",
        "UPDATE alembic_version SET version_num = '0'",
        "CREATE TABLE mine (a int)",
    ):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)):
            await connection.execute(statement)
    await connection.close()


# ----------------------------------------------------- cancellations over a small pool
async def _one_use(pool: Pool, chance: random.Random, own: World, foreign: World) -> str:
    """Use a connection in one of the ways of the product; whatever is seen must be the organisation's own."""
    way = chance.choice(["read", "read", "slow", "error", "rule", "write", "rolled back", "too late"])
    # A limit ends with the tick of the clock that it falls into.
    limit = chance.uniform(0.0005, 0.004) - 1 / TICKS_A_SECOND if way == "too late" else 2.0
    nap = chance.uniform(0, 0.003)
    async with pool.acquire(own.tenant.id, timeout_seconds=limit) as connection:
        await asyncio.sleep(nap if chance.random() < 0.3 else 0)
        if way in ("slow", "too late"):
            await connection.fetchval("SELECT pg_sleep($1)", nap)
        rows = await connection.fetch(
            "SELECT organisation_id, display_name, "
            "current_setting('rxdesk.organisation_id', true) AS setting FROM patients"
        )
        assert rows
        for row in rows:
            assert row["organisation_id"] == own.tenant.id
            assert row["setting"] == str(own.tenant.id)
            assert foreign.mark not in row["display_name"]
        if way == "error":
            await connection.fetchval("SELECT 1 / 0")
        if way == "rule":
            raise errors.not_found()
        if way in ("write", "rolled back"):
            async with connection.transaction():
                await connection.execute(
                    "UPDATE waiting_rooms SET last_turn = last_turn + 1 WHERE organisation_id = $1",
                    own.tenant.id,
                )
                if way == "rolled back":
                    raise errors.simple(409, "a rule")
    return way


async def _storm(pool: Pool, worlds: tuple[World, World], seed: int, number: int) -> dict[str, int]:
    chance = random.Random(seed)
    ends: dict[str, int] = {}

    async def one(position: int) -> None:
        mine = random.Random(f"{seed}/{position}")
        own, foreign = worlds if mine.random() < 0.5 else worlds[::-1]
        task = asyncio.create_task(_one_use(pool, mine, own, foreign))
        if mine.random() < 0.6:  # cancelled after some steps of the loop, or some time
            if mine.random() < 0.5:
                for _ in range(mine.randrange(40)):
                    await asyncio.sleep(0)
            else:
                await asyncio.sleep(mine.uniform(0, 0.006))
            task.cancel()
        try:
            end = await task
        except asyncio.CancelledError:
            end = "cancelled"
        except DatabaseUnavailableError:
            end = "unavailable"
        except (asyncpg.DivisionByZeroError, errors.ApiError) as error:
            end = type(error).__name__
        ends[end] = ends.get(end, 0) + 1

    position = 0
    while position < number:
        batch = min(chance.randrange(1, 7), number - position)
        await asyncio.gather(*(one(position + index) for index in range(batch)))
        position += batch
    return ends


async def _settings_are_true(pool: Pool) -> int:
    """Compare each idle connection's tag with what it is really set to."""
    for pooled in pool._idle:
        setting = await pooled.connection.fetchval("SELECT current_setting('rxdesk.organisation_id', true)")
        assert setting == (None if pooled.organisation_id is None else str(pooled.organisation_id))
        assert not pooled.connection.is_in_transaction()
    return len(pool._idle)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.proof) for seed in range(2, 12))])
async def test_a_thousand_cancellations_and_errors(
    cluster: embedded.Address, worlds: tuple[World, World], seed: int
) -> None:
    opened: list[Connection] = []
    connect = connector(cluster.connect_args(embedded.APP), statement_seconds=5, name="storm")

    async def counted() -> Connection:
        opened.append(await connect())
        return opened[-1]

    pool = Pool(counted, size=2, connect_seconds=30)
    ends: dict[str, int] = {}
    for part in range(10):
        for end, count in (await _storm(pool, worlds, seed * 100 + part, 200)).items():
            ends[end] = ends.get(end, 0) + count
        assert await _settings_are_true(pool) <= 2
        assert not pool._in_use
        assert not pool._waiting
        assert pool._open == len(pool._idle)
        assert sum(not connection.is_closed() for connection in opened) <= 2
    assert sum(ends.values()) == 2000
    assert ends["cancelled"] + ends["unavailable"] + ends["DivisionByZeroError"] + ends["ApiError"] >= 1000, (
        ends
    )
    assert min(ends.get(way, 0) for way in ("read", "cancelled", "unavailable", "ApiError", "write")) > 20, (
        ends
    )
    # And it still serves both.
    for own, foreign in (worlds, worlds[::-1]):
        async with pool.acquire(own.tenant.id, timeout_seconds=30) as connection:
            names = await connection.fetch("SELECT display_name FROM patients WHERE display_name IS NOT NULL")
        assert all(own.mark in row[0] and foreign.mark not in row[0] for row in names)
    await pool.close()
    assert all(connection.is_closed() for connection in opened)


class Careless(Pool):
    """A pool with both mistakes: it believes before it knows, and keeps what was cut off."""

    @staticmethod
    async def _set(pooled: Any, organisation_id: int | None) -> None:
        pooled.organisation_id = organisation_id
        await pooled.connection.execute(f"SET rxdesk.organisation_id = '{organisation_id}'")

    def give_back(self, pooled: Any, *, clean: bool) -> None:  # noqa: ARG002
        super().give_back(pooled, clean=True)


async def test_a_careless_pool_would_be_seen(cluster: embedded.Address, worlds: tuple[World, World]) -> None:
    pool = Careless(connector(cluster.connect_args(embedded.APP), statement_seconds=5, name="storm"), size=2)
    with pytest.raises((AssertionError, asyncpg.PostgresError)):
        for part in range(20):
            await _storm(pool, worlds, part, 50)
            await _settings_are_true(pool)
    await pool.close()


def test_every_read_is_known() -> None:
    """The reads that are opened above are those of the routes: a new feature's are found by their place."""
    assert {name.split(".")[0] for name in _reads()} >= {
        route.handler.__module__.split(".")[1]
        for api in routes.APIS
        for route in api.endpoints
        if route.operation.method == "GET"
    } - {"health"}
