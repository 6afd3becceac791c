"""The rules on SQL, on good and bad samples, and on the package itself."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from scripts import lint_sql, sql_rules

TENANTS = frozenset({"orders", "items"})

GOOD = {
    "one table": "SELECT uid FROM orders WHERE organisation_id = $1 AND uid = $2",
    "no tenant's table": "SELECT id FROM organisations WHERE slug = $1",
    "cast": "SELECT uid FROM orders o WHERE o.organisation_id = $1::int",
    "other way round": "SELECT uid FROM orders o WHERE $1 = o.organisation_id",
    "inner join, in its ON": (
        "SELECT 1 FROM orders o JOIN items i ON i.organisation_id = $1 AND i.order_uid = o.uid "
        "WHERE o.organisation_id = $1"
    ),
    "left join, in its ON": (
        "SELECT 1 FROM orders o LEFT JOIN items i ON i.organisation_id = $1 AND i.order_uid = o.uid "
        "WHERE o.organisation_id = $1"
    ),
    "row comparison": "SELECT 1 FROM orders o WHERE (o.organisation_id, o.uid) = ($1, $2)",
    "subquery": (
        "SELECT (SELECT json_agg(i.uid ORDER BY i.uid) FROM items i "
        "WHERE i.organisation_id = $1 AND i.order_uid = o.uid) "
        "FROM orders o WHERE o.organisation_id = $1"
    ),
    "lateral behind a caller": (
        "WITH caller AS (SELECT true AS allowed) SELECT f.body FROM caller c LEFT JOIN LATERAL ("
        "SELECT json_build_object('uid', p.uid)::text AS body FROM orders p "
        "WHERE c.allowed AND p.organisation_id = $1 AND p.uid = $4 OFFSET 0) f ON true"
    ),
    "update": "UPDATE orders SET status = $3 WHERE organisation_id = $1 AND uid = $2 RETURNING uid",
    "update from": (
        "UPDATE orders o SET status = i.status FROM items i "
        "WHERE o.organisation_id = $1 AND i.organisation_id = $1"
    ),
    "delete": "DELETE FROM orders WHERE organisation_id = $1",
    "insert values": "INSERT INTO orders (organisation_id, uid) VALUES ($1, $2), ($1, $3)",
    "insert select": "INSERT INTO orders (uid, organisation_id) SELECT u, $1 FROM unnest($2::text[]) AS u",
    "insert from a bound table": (
        "INSERT INTO items (organisation_id, uid) SELECT o.organisation_id, o.uid FROM orders o "
        "WHERE o.organisation_id = $1"
    ),
    "upsert": (
        "INSERT INTO orders (organisation_id, uid, status) VALUES ($1, $2, $3) "
        "ON CONFLICT (organisation_id, uid) DO UPDATE SET status = excluded.status"
    ),
    "union": (
        "SELECT uid FROM orders WHERE organisation_id = $1 UNION ALL "
        "SELECT uid FROM items WHERE organisation_id = $1"
    ),
    "claim": (
        "WITH next AS (SELECT uid FROM orders WHERE organisation_id = $1 ORDER BY uid LIMIT 1 "
        "FOR UPDATE SKIP LOCKED) "
        "DELETE FROM items i USING next WHERE i.organisation_id = $1 AND i.order_uid = next.uid"
    ),
}

NOT_BOUND = {
    "no condition": "SELECT uid FROM orders",
    "another parameter": "SELECT uid FROM orders WHERE organisation_id = $2",
    "a literal": "SELECT uid FROM orders WHERE organisation_id = 1",
    "subquery on the key": (
        "SELECT uid FROM orders WHERE organisation_id = (SELECT organisation_id FROM keys WHERE digest = $1)"
    ),
    "inside OR": "SELECT uid FROM orders WHERE organisation_id = $1 OR uid = $2",
    "negated": "SELECT uid FROM orders WHERE NOT (organisation_id = $1)",
    "of another alias": "SELECT 1 FROM orders o JOIN items i ON i.uid = o.uid WHERE o.organisation_id = $1",
    "by consequence": (
        "SELECT 1 FROM orders o JOIN items i ON i.organisation_id = o.organisation_id "
        "WHERE o.organisation_id = $1"
    ),
    "USING": "SELECT 1 FROM orders o JOIN items i USING (organisation_id, uid) WHERE o.organisation_id = $1",
    "left side in an outer join's ON": (
        "SELECT 1 FROM orders o LEFT JOIN items i ON o.organisation_id = $1 AND i.organisation_id = $1"
    ),
    "full join's ON": (
        "SELECT 1 FROM items i FULL JOIN orders o ON o.organisation_id = $1 WHERE i.organisation_id = $1"
    ),
    "unqualified beside another table": "SELECT 1 FROM orders, waiting WHERE organisation_id = $1",
    "in a subquery": "SELECT EXISTS (SELECT FROM orders o WHERE o.uid = $2)",
    "in a CTE": "WITH x AS (SELECT uid FROM orders) SELECT uid FROM x WHERE organisation_id = $1",
    "one side of a union": "SELECT uid FROM items WHERE organisation_id = $1 UNION SELECT uid FROM orders",
    "update": "UPDATE orders SET status = $1",
    "update's source": "UPDATE items i SET a = o.a FROM orders o WHERE i.organisation_id = $1",
    "delete": "DELETE FROM orders WHERE uid = $1",
    "with a schema's name": "SELECT uid FROM public.orders",
    "second statement": "SELECT 1; SELECT uid FROM orders",
}

REFUSED = {
    "INSERT without the column": ("INSERT INTO orders (uid) VALUES ($1)", "does not say whose rows"),
    "INSERT without columns": ("INSERT INTO orders VALUES ($1, $2)", "does not say whose rows"),
    "INSERT of another value": (
        "INSERT INTO orders (organisation_id, uid) VALUES ($2, $1)",
        "something else than",
    ),
    "second row of another": (
        "INSERT INTO orders (organisation_id, uid) VALUES ($1, $2), ($3, $4)",
        "something else than",
    ),
    "INSERT … SELECT of another": (
        "INSERT INTO orders (organisation_id, uid) SELECT n, u FROM unnest($1::int[], $2::text[]) t (n, u)",
        "something else than",
    ),
    "changing hands": (
        "UPDATE orders SET organisation_id = $2 WHERE organisation_id = $1",
        "never changes hands",
    ),
    "changing hands on conflict": (
        (
            "INSERT INTO orders (organisation_id, uid) VALUES ($1, $2) "
            "ON CONFLICT (organisation_id, uid) DO UPDATE SET organisation_id = excluded.organisation_id"
        ),
        "never changes hands",
    ),
    "ILIKE": ("SELECT uid FROM orders WHERE organisation_id = $1 AND name ILIKE $2", "ILIKE"),
    "NOT ILIKE": ("SELECT uid FROM orders WHERE organisation_id = $1 AND name NOT ILIKE $2", "ILIKE"),
    "~~*": ("SELECT uid FROM orders WHERE organisation_id = $1 AND name ~~* $2", "ILIKE"),
    "~*": ("SELECT uid FROM orders WHERE organisation_id = $1 AND name ~* $2", "ILIKE"),
    "MERGE": ("MERGE INTO orders USING x ON orders.organisation_id = $1 WHEN MATCHED THEN DELETE", "MERGE"),
    "TRUNCATE": ("TRUNCATE orders", "Nothing limits"),
    "CTE of a table's name": ("WITH orders AS (SELECT 1) SELECT * FROM orders", "hides the table"),
    "no SQL": ("SELECT FROM WHERE (", "cannot be read"),
}


@pytest.mark.parametrize("sql", GOOD.values(), ids=GOOD)
def test_good_statements_pass(sql: str) -> None:
    assert sql_rules.check_statement(sql, TENANTS) == []


@pytest.mark.parametrize("sql", NOT_BOUND.values(), ids=NOT_BOUND)
def test_a_table_without_its_own_condition_is_found(sql: str) -> None:
    (message,) = sql_rules.check_statement(sql, TENANTS)
    assert re.fullmatch(
        r"(orders|items) is not bound .* `AND [a-z]+\.organisation_id = \$1`, literally\.", message
    )


@pytest.mark.parametrize(("sql", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_explained(sql: str, said: str) -> None:
    assert any(said in message for message in sql_rules.check_statement(sql, TENANTS))


def test_tables_of_tenants_are_read_from_the_migrations() -> None:
    found = sql_rules.tenant_tables(
        [
            """
            CREATE TABLE organisations (id integer PRIMARY KEY, slug text);
            CREATE TABLE IF NOT EXISTS orders ( -- the organisation_id is part of the key
              uid text, organisation_id integer NOT NULL,
              amount numeric(10, 2), PRIMARY KEY (organisation_id, uid)
            );
            CREATE TABLE notes (text text /* no organisation_id here */, CHECK (length(text) < 10));
            CREATE TABLE jobs (organisation_id integer, uid text);
            """,
            "ALTER TABLE late ADD COLUMN organisation_id integer;",
        ]
    )
    assert found == {"orders", "late"}


def package(root: Path, **files: str) -> Path:
    """A package with a table `orders` of tenants, and the files given (dots in names are folders)."""
    files = {
        "db.migrations.first": "CREATE TABLE orders (organisation_id integer NOT NULL, uid text)",
        **files,
    }
    for name, text in files.items():
        suffix = ".sql" if "migrations" in name else ".py"
        path = root / "rxdesk" / Path(*name.split(".")).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return root / "rxdesk"


def found(root: Path) -> list[tuple[str, int]]:
    """Where findings are: file's name and line."""
    return [(finding.path.name, finding.line) for finding in lint_sql.lint(root)[0]]


def test_statements_are_found_wherever_they_stand(tmp_path: Path) -> None:
    root = package(
        tmp_path,
        queries='''
            """SELECT in a docstring is prose: SELECT uid FROM orders."""
            ONE = Read("SELECT uid FROM orders")

            def two() -> str:
                """SELECT uid FROM orders."""
                return (
                    "SELECT uid "
                    "FROM orders"
                )

            THREE = """
                -- what it is for
                DELETE FROM orders
            """
            LOWER = "select uid from orders"
            PROSE = "Select an order in the list, or update it"
            ''',
    )
    assert found(root) == [("queries.py", 3), ("queries.py", 8), ("queries.py", 12), ("queries.py", 16)]


def test_statements_are_put_together_from_constants_of_all_modules(tmp_path: Path) -> None:
    root = package(
        tmp_path,
        parts='MINE = "o.organisation_id = $1"\nSOURCE = "FROM orders o"\n',
        queries="""
            from rxdesk import parts
            from rxdesk.parts import MINE, SOURCE as FROM_ORDERS
            COLUMNS = "o.uid"
            GOOD = f"SELECT {COLUMNS} {FROM_ORDERS} WHERE {MINE}"
            ALSO_GOOD = "SELECT 1 " + parts.SOURCE + " WHERE " + parts.MINE
            BAD = f"SELECT {COLUMNS} {FROM_ORDERS} WHERE true"
            """,
    )
    assert found(root) == [("queries.py", 7)]


def test_what_the_code_fills_in_does_not_hide_the_rest(tmp_path: Path) -> None:
    root = package(
        tmp_path,
        queries="""
            def wrap(query: str, condition: str, table: str) -> list[str]:
                return [
                    f"SELECT f.body FROM caller c LEFT JOIN LATERAL ({query} OFFSET 0) f ON true",
                    f"SELECT uid FROM orders WHERE organisation_id = $1 AND {condition}",
                    f"SELECT uid FROM orders WHERE {condition}",
                    f"SELECT uid FROM {table}",
                    "SELECT uid FROM orders {rows}".format(rows="LIMIT 1"),
                ]
            """,
    )
    assert found(root) == [("queries.py", 6), ("queries.py", 7), ("queries.py", 8)]


def test_a_piece_of_sql_that_no_statement_uses_is_found(tmp_path: Path) -> None:
    root = package(
        tmp_path,
        queries="""
            USED = "FROM orders WHERE organisation_id = $1"
            GOOD = f"SELECT uid {USED}"

            def search(wide: bool) -> str:
                return "SELECT uid FROM caller" + ("" if wide else " JOIN orders ON true")
            """,
    )
    assert found(root) == [("queries.py", 6)]


def test_an_excuse_needs_a_reason(tmp_path: Path) -> None:
    root = package(
        tmp_path,
        queries='''
            # no-tenant: counts rows of all organisations, for the operator
            ALL = "SELECT count(*) FROM orders"
            NAMED = """
                -- no-tenant: as above
                SELECT count(*) FROM orders
            """
            # no-tenant:
            SILENT = "SELECT count(*) FROM orders"
            ''',
    )
    assert found(root) == [("queries.py", 9)]


def test_without_migrations_nothing_passes(tmp_path: Path) -> None:
    (tmp_path / "rxdesk").mkdir()
    (finding,) = lint_sql.lint(tmp_path / "rxdesk")[0]
    assert "No table with organisation_id" in finding.message


def test_the_command_prints_places_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = package(tmp_path, queries='ONE = "SELECT uid FROM orders"\n')
    assert lint_sql.main([str(root)]) == 1
    assert capsys.readouterr().out.startswith(f"{root}/queries.py:1: orders is not bound")
    package(tmp_path, queries='ONE = "SELECT uid FROM orders WHERE organisation_id = $1"\n')
    assert lint_sql.main([str(root)]) == 0
    assert capsys.readouterr().out.startswith("SQL: 1 statements read")
