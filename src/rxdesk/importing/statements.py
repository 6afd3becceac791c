"""The statements of an import, written out from the description of a table.

They are made, not spelt, because seventeen tables would say the same seventeen times; a test reads each one
that is made by the rules of scripts/lint_sql.py.

A stored row is always looked for from the staged one, by LATERAL and OFFSET 0: what PostgreSQL knows of the
stored tables may be from before this very transaction, and a join that it plans by that can be quadratic. So
can a look-up by a partial index, which it takes for tiny while it knows nothing.

$1 is always the organisation, $2 the time of the import.
"""

from __future__ import annotations

from rxdesk.importing.tables import Reference, Table, Type, Unique

FAULTS_SHOWN = 1000
_STAGED_TYPES: dict[Type, str] = {
    "uid": 'text COLLATE "C"',
    "text": 'text COLLATE "C"',
    "int": "integer",
    "bool": "boolean",
    "seconds": "bigint",
    "json": "text",
    "date": "text",  # the driver writes the first and the last day of the calendar as infinities
    "names": "text[]",
    "kept": "text",
}
_STORED: dict[Type, str] = {
    "seconds": "to_timestamp({})",
    "json": "{}::jsonb",
    "date": "{}::date",
    "kept": "coalesce({}::jsonb, '{{}}')",
}


def staged_columns(table: Table) -> list[str]:
    """Give the columns of the staged table, in the order of its rows."""
    return ["line", "i", "j", "uid", *(name for name, _ in table.columns), *table.times, "deleted_at"]


def create_staged(table: Table) -> str:
    """Create the temporary table."""
    types = ", ".join(f"{name} {_STAGED_TYPES[kind]}" for name, kind in table.columns)
    times = "".join(f", {name} bigint" for name in table.times)
    own = f", {types}" if types else ""
    return (
        f"CREATE TEMPORARY TABLE {table.staged} (line integer NOT NULL, i integer NOT NULL, "
        f'j integer NOT NULL, uid text COLLATE "C" NOT NULL{own}{times}, deleted_at bigint) ON COMMIT DROP'
    )


def index_staged(table: Table) -> list[str]:
    """Make the full staged table ready for being read by line and by uid."""
    return [
        f"CREATE INDEX ON {table.staged} (line)",
        f"CREATE INDEX ON {table.staged} (uid)",
        f"ANALYZE {table.staged}",
    ]


def drop_staged(table: Table) -> str:
    """Drop the temporary table."""
    return f"DROP TABLE pg_temp.{table.staged}"


# ---------------------------------------------------------------------------------------------------- checks
# Each gives line, i, j, what, where (both for the message) and total, the count of all that it would give.
def _check(columns: str, rest: str) -> str:
    return (
        # no-tenant: the statements that are made of it bind each table; a test reads them
        f"SELECT {columns}, count(*) OVER () AS total FROM {rest} "
        f"ORDER BY s.line, s.i, s.j LIMIT {FAULTS_SHOWN}"
    )


def twice_in_file(table: Table) -> str:
    """Find uids that stood before in the file; `other` is the first one's line."""
    # no-tenant: reads temporary tables only
    return _check(
        "s.line, s.i, s.j, s.uid AS what, s.first::text AS other",
        f"(SELECT line, i, j, uid, first_value(line) OVER same AS first, row_number() OVER same AS n "
        f"FROM {table.staged} WHERE uid IN (SELECT uid FROM {table.staged} GROUP BY uid HAVING count(*) > 1) "
        f"WINDOW same AS (PARTITION BY uid ORDER BY line, i, j)) s WHERE s.n > 1",
    )


def other_parent(table: Table) -> str:
    """Find rows whose uid is another parent's; `other` is that parent's uid."""
    # no-tenant: the table's name is filled in; the condition on the organisation stands here
    return _check(
        f"s.line, s.i, s.j, s.uid AS what, live.{table.parent} AS other",
        f"{table.staged} s CROSS JOIN LATERAL (SELECT x.{table.parent} FROM {table.name} x "
        f"WHERE x.organisation_id = $1 AND x.uid = s.uid OFFSET 0) live "
        f"WHERE live.{table.parent} <> s.{table.parent}",
    )


def missing(table: Table, reference: Reference) -> str:
    """Find references to rows that the organisation does not have."""
    # no-tenant: the table's name is filled in; the condition on the organisation stands here
    return _check(
        f"s.line, s.i, s.j, s.{reference.column} AS what, NULL::text AS other",
        f"{table.staged} s WHERE s.{reference.column} IS NOT NULL AND NOT EXISTS (SELECT "
        f"FROM {reference.table} x WHERE x.organisation_id = $1 AND x.uid = s.{reference.column} OFFSET 0)",
    )


def taken_in_file(table: Table, unique: Unique) -> str:
    """Find rows that share unique columns with a row before them in the file; `other` is that one's line."""
    columns = ", ".join(unique.columns)
    condition = unique.condition.format(row="t")
    # no-tenant: reads temporary tables only
    return _check(
        "s.line, s.i, s.j, s.uid AS what, s.first::text AS other",
        f"(SELECT t.line, t.i, t.j, t.uid, first_value(t.line) OVER same AS first, "
        f"row_number() OVER same AS n, first_value(t.uid) OVER same AS first_uid "
        f"FROM {table.staged} t WHERE {condition} "
        f"WINDOW same AS (PARTITION BY {columns} ORDER BY t.line)) s WHERE s.n > 1 AND s.uid <> s.first_uid",
    )


def taken(table: Table, unique: Unique) -> str:
    """Find rows that share unique columns with a row outside the file; `other` is that one's uid."""
    same = " AND ".join(f"x.{column} = s.{column}" for column in unique.columns)
    here, there = unique.condition.format(row="s"), unique.condition.format(row="x")
    # no-tenant: the table's name is filled in; the condition on the organisation stands here
    return _check(
        "s.line, s.i, s.j, s.uid AS what, live.uid AS other",
        f"{table.staged} s CROSS JOIN LATERAL (SELECT x.uid FROM {table.name} x "
        f"WHERE x.organisation_id = $1 AND {same} AND {there} OFFSET 0) live WHERE {here} "
        f"AND NOT EXISTS (SELECT FROM {table.staged} t WHERE t.uid = live.uid)",
    )


# ---------------------------------------------------------------------------------------------------- writes
def is_used(table: Table) -> str:
    """Tell whether the organisation has rows in the table."""
    # no-tenant: the table's name is filled in; the condition on the organisation stands here
    return f"SELECT EXISTS (SELECT FROM {table.name} live WHERE live.organisation_id = $1)"


def park(table: Table, unique: Unique, told: str = "") -> str:
    """Take rows out of a unique index whose columns are about to change, so that two can swap them.

    The upsert that follows in the same transaction gives them their own `deleted_at` back, and sees no change in
    those that go for good: what notes changes is `told` here as well, as in `upsert`.
    """
    differs = " OR ".join(f"k.{column} <> s.{column}" for column in unique.columns)
    present, leaves = unique.condition.format(row="k"), f"NOT ({unique.condition.format(row='s')})"
    return (
        # no-tenant: the table's name is filled in; the condition on the organisation stands here
        f"WITH parked AS (UPDATE {table.name} AS live SET deleted_at = $2::timestamptz WHERE live.organisation_id = $1 "
        f"AND live.uid = ANY (ARRAY(SELECT s.uid FROM {table.staged} s CROSS JOIN LATERAL (SELECT x.* "
        f"FROM {table.name} x WHERE x.organisation_id = $1 AND x.uid = s.uid OFFSET 0) k "
        f"WHERE {present} AND ({differs} OR {leaves}))) RETURNING {'live.*' if told else '1'})"
        f"{told.format(rows='parked')} SELECT count(*) FROM parked"
    )


def remove_unlisted(table: Table, root: Table, told: str = "") -> str:
    """Mark rows as deleted whose parent is in the file and lists them no more. `told`: see `upsert`."""
    sets = "deleted_at = $2::timestamptz"
    if "updated_at" in table.times:
        sets += ", updated_at = $2::timestamptz"
    if table.has_actor:
        sets += ", actor_kind = 'operator', actor_uid = 'import'"
    source, parent = f"{root.staged} s", "s.uid"
    if table.via is not None:
        between, column = table.via
        source += (
            f" CROSS JOIN LATERAL (SELECT x.uid FROM {between} x "
            f"WHERE x.organisation_id = $1 AND x.{column} = s.uid OFFSET 0) b"
        )
        parent = "b.uid"
    return (
        # no-tenant: the table's name is filled in; the condition on the organisation stands here
        f"WITH gone AS (UPDATE {table.name} AS live SET {sets} WHERE live.organisation_id = $1 "
        f"AND live.uid = ANY (ARRAY(SELECT k.uid FROM {source} CROSS JOIN LATERAL ("
        f"SELECT x.uid, x.deleted_at FROM {table.name} x "
        f"WHERE x.organisation_id = $1 AND x.{table.parent} = {parent} OFFSET 0) k "
        f"WHERE k.deleted_at IS NULL AND NOT EXISTS (SELECT FROM {table.staged} t WHERE t.uid = k.uid))) "
        f"RETURNING {'live.*, false AS added' if told else '1'}){told.format(rows='gone')} "
        f"SELECT count(*) FROM gone"
    )


def upsert(table: Table, *, used: bool, extra: tuple[str, str] | None = None, told: str = "") -> str:
    """Write the staged rows of the lines $3 to $4 that are not as they should be. Gives added, changed.

    `used`: the organisation has rows there that may be the same. `extra`: a column that is not in the file,
    and the expression that a new row gets for it. `told`: a further part of the statement, which notes the `{rows}`.
    """
    stored = {name: _stored(name, kind, used=used) for name, kind in table.columns}
    if table.is_child:
        stored["position"] = "s.j"
    stored["deleted_at"] = "to_timestamp(s.deleted_at)"
    values = stored | _times(table, stored, used=used)
    if table.has_actor:
        values |= {"actor_kind": "'operator'", "actor_uid": "'import'"}
    sets = ", ".join(f"{name} = excluded.{name}" for name in values)
    if extra is not None:
        values[extra[0]] = extra[1]
    old = ""
    unchanged = ""
    returned = "live.*, live.xmax = 0 AS added" if told else "live.xmax = 0 AS added"
    if used:
        old = (
            f"LEFT JOIN LATERAL (SELECT x.* FROM {table.name} x "
            f"WHERE x.organisation_id = $1 AND x.uid = s.uid OFFSET 0) old ON true"
        )
        unchanged = f"AND (old.uid IS NULL OR {_differs(table, stored)})"
    return (
        # no-tenant: the table's name is filled in; the organisation is given to each row here
        f"WITH written AS (INSERT INTO {table.name} AS live (organisation_id, uid, {', '.join(values)}) "
        f"SELECT $1, s.uid, {', '.join(values.values())} FROM {table.staged} s {old} "
        f"WHERE s.line BETWEEN $3 AND $4 AND $2::timestamptz IS NOT NULL {unchanged} "
        f"ON CONFLICT (organisation_id, uid) DO UPDATE SET {sets} RETURNING {returned})"
        f"{told.format(rows='written')} "
        f"SELECT count(*) FILTER (WHERE added) AS added, count(*) FILTER (WHERE NOT added) AS changed "
        f"FROM written"
    )


def _stored(name: str, kind: Type, *, used: bool) -> str:
    if kind == "kept" and used:
        return f"coalesce(s.{name}::jsonb, old.{name}, '{{}}')"
    return _STORED.get(kind, "{}").format(f"s.{name}")


def _times(table: Table, stored: dict[str, str], *, used: bool) -> dict[str, str]:
    """Give the times' expressions: as given, else as they are, else the time of the import."""
    made: dict[str, str] = {}
    if "created_at" in table.times:
        kept = "old.created_at, " if used else ""
        made["created_at"] = f"coalesce(to_timestamp(s.created_at), {kept}$2::timestamptz)"
    if "updated_at" in table.times:
        first = (
            "to_timestamp(s.created_at), $2::timestamptz"
            if "created_at" in table.times
            else "$2::timestamptz"
        )
        if used:
            changed = _row_differs(stored)
            made["updated_at"] = (
                f"coalesce(to_timestamp(s.updated_at), CASE WHEN old.uid IS NULL THEN coalesce({first}) "
                f"WHEN {changed} THEN $2::timestamptz ELSE old.updated_at END)"
            )
        else:
            made["updated_at"] = f"coalesce(to_timestamp(s.updated_at), {first})"
    return made


def _row_differs(stored: dict[str, str]) -> str:
    left = ", ".join(f"old.{name}" for name in stored)
    return f"ROW({left}) IS DISTINCT FROM ROW({', '.join(stored.values())})"


def _differs(table: Table, stored: dict[str, str]) -> str:
    times = "".join(
        f" OR (s.{name} IS NOT NULL AND old.{name} <> to_timestamp(s.{name}))" for name in table.times
    )
    return f"({_row_differs(stored)}{times})"
