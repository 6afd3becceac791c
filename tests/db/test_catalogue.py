"""The schema by PostgreSQL's own catalogue: policies, keys, collations, and the way up and down."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from tests.db.crowd import fill
from tests.factories import make_tenant

from rxdesk.db import embedded, migrate
from rxdesk.db.pool import Connection

# Tables that route and hold nothing of a tenant (architecture, section 4, the second wall).
WITHOUT_TENANT = {"organisations", "alembic_version", "encryption_keys", "jobs"}
TABLES = "c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace"


@pytest.fixture
async def owner(cluster: embedded.Address) -> AsyncIterator[Connection]:
    connection: Connection = await asyncpg.connect(**cluster.connect_args(embedded.OWNER))
    yield connection
    await connection.close()


async def test_every_table_is_a_tenant_s_or_named_here(owner: Connection) -> None:
    rows = await owner.fetch(
        f"SELECT c.relname, EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnotnull "
        f"AND a.attname = 'organisation_id' AND a.atttypid = 'integer'::regtype) AS tenant "
        f"FROM pg_class c WHERE {TABLES}"
    )
    assert len(rows) > 25
    assert {row["relname"] for row in rows if not row["tenant"]} <= WITHOUT_TENANT


async def test_every_tenant_table_has_the_policy(owner: Connection) -> None:
    rows = await owner.fetch(
        "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner) AS owner, "
        "array_agg(p.polname::text) AS names, bool_and(p.polpermissive) AS permissive, "
        "array_agg(p.polcmd::text) AS commands, array_agg(p.polroles = '{0}') AS everybody, "
        "array_agg(pg_get_expr(p.polqual, p.polrelid)) AS visible, "
        "array_agg(pg_get_expr(p.polwithcheck, p.polrelid)) AS writable "
        "FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid "
        f"WHERE {TABLES} AND c.relname <> ALL ($1) GROUP BY c.oid",
        list(WITHOUT_TENANT),
    )
    setting = "current_setting('rxdesk.organisation_id'::text, true)"
    condition = f"(organisation_id = (NULLIF({setting}, ''::text))::integer)"
    for row in rows:
        table = row["relname"]
        assert row["relrowsecurity"], table
        assert not row["relforcerowsecurity"], f"{table}: a backfill by the owner would change nothing"
        assert row["owner"] == embedded.OWNER, table
        # One policy, for all commands and roles; without a WITH CHECK of its own, USING is that too.
        assert row["names"] == ["tenant"], table
        assert row["commands"] == ["*"], table
        assert row["permissive"], table
        assert row["everybody"] == [True], table
        assert row["visible"] == [condition], table
        assert row["writable"] in ([None], [condition]), table


async def test_every_key_and_reference_carries_the_organisation(owner: Connection) -> None:
    unique = await owner.fetch(
        "SELECT c.relname, i.indexrelid::regclass::text AS name, "
        "(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = i.indkey[0]) AS first "
        f"FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE i.indisunique AND {TABLES} "
        "AND c.relname <> ALL ($1)",
        list(WITHOUT_TENANT),
    )
    assert len(unique) > 40
    assert [row["name"] for row in unique if row["first"] != "organisation_id"] == []
    references = await owner.fetch(
        "SELECT k.conname, c.relname, f.relname AS other, "
        "(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1]) "
        "AS mine, "
        "(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = k.confrelid AND a.attnum = k.confkey[1]) "
        "AS theirs "
        "FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid "
        f"WHERE k.contype = 'f' AND {TABLES}"
    )
    assert len(references) > 30
    for row in references:
        target = "id" if row["other"] == "organisations" else "organisation_id"
        assert (row["mine"], row["theirs"]) == ("organisation_id", target), row["conname"]
    # Other indexes too: each look-up is inside one organisation.
    plain = await owner.fetch(
        "SELECT i.indexrelid::regclass::text AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
        f"WHERE {TABLES} AND c.relname <> ALL ($1) AND NOT EXISTS (SELECT FROM pg_attribute a "
        "WHERE a.attrelid = c.oid AND a.attnum = i.indkey[0] AND a.attname = 'organisation_id')",
        list(WITHOUT_TENANT),
    )
    assert plain == []


async def test_each_tenant_table_has_the_key(owner: Connection) -> None:
    """(organisation_id, uid); for a table whose rows have no uid, other columns behind the first."""
    rows = await owner.fetch(
        "SELECT c.relname, array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u (num, place) "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.num ORDER BY u.place) AS columns, "
        "EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'uid') AS has_uid "
        f"FROM pg_class c LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p' "
        f"WHERE {TABLES} AND c.relname <> ALL ($1)",
        list(WITHOUT_TENANT),
    )
    for row in rows:
        if row["has_uid"]:
            assert row["columns"] == ["organisation_id", "uid"], row["relname"]
        else:
            assert row["columns"][:1] == ["organisation_id"], row["relname"]


async def test_what_is_compared_or_sorted_compares_bytes(owner: Connection) -> None:
    rows = await owner.fetch(
        "SELECT c.relname || '.' || a.attname AS name, l.collname FROM pg_class c "
        "JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_collation l ON l.oid = a.attcollation "
        f"WHERE {TABLES} AND c.relname <> 'alembic_version' AND a.atttypid = 'text'::regtype "
        "AND (a.attname ~ '(^|_)uid$' AND a.attname <> 'actor_uid' "
        "OR a.attname IN ('sort_key', 'email_key', 'identifier', 'slug'))"
    )
    assert len(rows) > 40
    assert [row["name"] for row in rows if row["collname"] != "C"] == []


# They are few.
_FEW = {"wallet_pass_templates"}


async def test_no_index_looks_as_good_as_the_key_of_a_table_that_is_referred_to(owner: Connection) -> None:
    """Statistics may be of when the table was empty, and an import is one transaction: then any index that begins with
    the organisation looks as good as the key, and each foreign key's check walks through all of its rows. So it is with
    the queue, whose every index has a predicate for that reason, and with what is delivered.
    """
    rows = await owner.fetch(
        "SELECT c.relname AS table, i.indexrelid::regclass::text AS index FROM pg_index i "
        "JOIN pg_class c ON c.oid = i.indrelid "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] AND a.attname = 'organisation_id' "
        "WHERE NOT i.indisprimary AND i.indpred IS NULL AND (c.relname = ANY ($2) OR NOT i.indisunique AND EXISTS ("
        "SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid)) "
        "AND c.relname <> ALL ($1)",
        list(_FEW),
        ["jobs", "events", "deliveries"],
    )
    assert [tuple(row) for row in rows] == []


async def test_an_organisation_keeps_its_time_zone(owner: Connection) -> None:
    """Not even its owner changes it: the statistics' days are those of the old one."""
    async with owner.transaction():
        uid = await owner.fetchval(
            "INSERT INTO organisations (uid, slug, display_name, public_code, time_zone, actor_kind, actor_uid) "
            "VALUES ('org-zone', 'zone', 'Zone', 'zonezone', 'Europe/Berlin', 'operator', 'test') RETURNING uid"
        )
        await owner.execute("UPDATE organisations SET time_zone = 'Europe/Berlin' WHERE uid = $1", uid)
        with pytest.raises(asyncpg.FeatureNotSupportedError, match="counted by its days"):
            async with owner.transaction():
                await owner.execute("UPDATE organisations SET time_zone = 'UTC' WHERE uid = $1", uid)
        await owner.execute("DELETE FROM organisations WHERE uid = $1", uid)


async def test_the_app_role_may_not_pass_the_wall(owner: Connection, cluster: embedded.Address) -> None:
    role = await owner.fetchrow(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles "
        "WHERE rolname = $1",
        embedded.APP,
    )
    assert role is not None
    assert not any(role.values())
    assert (
        await owner.fetchval(
            "SELECT count(*) FROM pg_auth_members m WHERE m.member = $1::regrole", embedded.APP
        )
        == 0
    )
    # No function or view lends another's rights.
    assert (
        await owner.fetch(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
        )
        == []
    )
    assert (
        await owner.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relkind IN ('v', 'm')"
        )
        == []
    )


def test_head_is_alembic_s() -> None:
    assert migrate.known_revisions()[-1] == migrate.HEAD


# ------------------------------------------------------------------------------------ up, down and up again
SHAPE = {
    "columns": "SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default, "
    "collation_name, is_identity FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' "
    "ORDER BY 1, 2",
    "policies": "SELECT tablename, policyname, cmd, roles::text, qual, with_check FROM pg_policies "
    "WHERE schemaname = 'public' ORDER BY 1, 2",
    "tables": "SELECT relname, relkind::text, relrowsecurity, relforcerowsecurity FROM pg_class "
    "WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('i') ORDER BY 1, 2",
    "functions": "SELECT oid::regprocedure::text, pg_get_functiondef(oid) FROM pg_proc "
    "WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
    "triggers": "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger "
    "WHERE NOT tgisinternal ORDER BY 1, 2",
    "types": "SELECT typname FROM pg_type t WHERE typnamespace = 'public'::regnamespace "
    "AND typtype IN ('e', 'd') ORDER BY 1",
}


async def _shape(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {name: [tuple(row) for row in await connection.fetch(query)] for name, query in SHAPE.items()}


@pytest.fixture
async def spare(cluster: embedded.Address) -> AsyncIterator[dict[str, Any]]:
    """A second, empty database of the owner's."""
    administrator = await asyncpg.connect(**cluster.connect_args(embedded.SUPERUSER))
    await administrator.execute(f"CREATE DATABASE spare OWNER {embedded.OWNER}")
    yield {**cluster.connect_args(embedded.OWNER), "database": "spare"}
    await administrator.execute("DROP DATABASE spare WITH (FORCE)")
    await administrator.close()


async def test_down_and_up_again(spare: dict[str, Any], owner: Connection) -> None:
    connection: Connection = await asyncpg.connect(**spare)
    empty = await _shape(connection)
    await migrate.migrate(spare)
    first = await _shape(connection)
    assert await migrate.current_revision(connection) == migrate.HEAD
    await migrate.migrate(spare, to="base", down=True)
    left = await _shape(connection)
    # Alembic keeps its own table, without a row.
    assert {row[0] for row in left["tables"]} == {"alembic_version"}
    assert left["functions"] == empty["functions"]
    assert left["triggers"] == empty["triggers"]
    assert left["types"] == empty["types"]
    assert await migrate.current_revision(connection) is None
    await migrate.migrate(spare)
    assert await _shape(connection) == first
    # And it is that of the database which the tests run on.
    assert await _shape(owner) == first
    await migrate.migrate(spare)  # nothing to do is no error
    assert await _shape(connection) == first
    await connection.close()


async def test_statistics_from_before_days_and_blocks_were_kept(spare: dict[str, Any]) -> None:
    connection: Connection = await asyncpg.connect(**spare)

    async def kept(organisation_id: int) -> list[list[tuple[Any, ...]]]:
        queries = (
            "SELECT doctor_uid, span, starts_on, day_json FROM doctor_statistics",
            "SELECT doctor_uid, span, starts_on, block, decided FROM doctor_decision_blocks",
        )
        return [
            [
                tuple(row)
                for row in await connection.fetch(
                    f"{query} WHERE organisation_id = $1 ORDER BY 1, 2, 3, 4", organisation_id
                )
            ]
            for query in queries
        ]

    await migrate.migrate(spare, to="0004")
    before = await make_tenant(connection)
    await fill(connection, before.id, many=300, few=20)
    await migrate.migrate(spare)
    after = await make_tenant(connection)
    await fill(connection, after.id, many=300, few=20)
    days, blocks = await kept(before.id)
    assert [days, blocks] == await kept(after.id)
    assert len([day for *_, day in days if day is not None]) > len(blocks) / 3 > 10
    await connection.close()


def _steps() -> Iterator[tuple[str, str]]:
    revisions = ["base", *migrate.known_revisions()]
    yield from itertools.pairwise(revisions)


async def test_each_step_goes_back(spare: dict[str, Any]) -> None:
    connection: Connection = await asyncpg.connect(**spare)
    for before, after in _steps():
        shape = await _shape(connection)
        await migrate.migrate(spare, to=after)
        await migrate.migrate(spare, to=before, down=True)
        if before != "base":
            assert await _shape(connection) == shape, f"{after} does not go back to {before}"
        await migrate.migrate(spare, to=after)
    await connection.close()
