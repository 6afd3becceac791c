"""The rules on one SQL statement; `lint_sql.py` lists them, and reads the statements."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TENANT = "organisation_id"
# Has the column and no policy: workers claim from it before they know whose work it is. It holds no payload.
ROUTING_TABLES = frozenset({"jobs"})

HOLE = "rx_hole_"
MAX_HOLES_TRIED = 4
TEMPLATE_FIELD = re.compile(r"\{\w*\}")
SQL_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
CREATE_TABLE = re.compile(
    r"\bCREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?\"?(\w+)\"?\s*\(", re.IGNORECASE
)
ADD_COLUMN = re.compile(
    r"\bALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?\"?(\w+)\"?\s"
    rf"[^;]*\bADD\s+COLUMN\s+(?:IF\s+NOT\s+EXISTS\s+)?{TENANT}\b",
    re.IGNORECASE,
)
UNREADABLE = (
    "This statement cannot be read. Put it together from constants that stand at the top of a module, with "
    "the changing values as parameters."
)

Query = exp.Select | exp.Update | exp.Delete | exp.Insert | exp.Merge


# ------------------------------------------------------------ tables of tenants
def tenant_tables(migrations: Iterable[str]) -> frozenset[str]:
    """The names of all tables with an ``organisation_id`` column, from the texts of SQL migrations."""
    found: set[str] = set()
    for text in migrations:
        bare = SQL_COMMENT.sub(" ", text)
        found.update(match.group(1).lower() for match in ADD_COLUMN.finditer(bare))
        for match in CREATE_TABLE.finditer(bare):
            if re.search(rf"(?:^|,)\s*\"?{TENANT}\"?\s", _in_parentheses(bare, match.end())):
                found.add(match.group(1).lower())
    return frozenset(found - ROUTING_TABLES)


def _in_parentheses(text: str, start: int) -> str:
    depth = 1
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return text[start:position]
    return text[start:]


# ------------------------------------------------------------ one statement
def check_statement(sql: str, tenants: frozenset[str]) -> list[str]:
    """What is wrong with one statement (or several, divided by semicolons): one message for each fault."""
    trees = _parse(_with_fields_as_holes(sql))
    if trees is None or not _mentioned(sql, tenants) <= {
        table.name.lower() for tree in trees for table in tree.find_all(exp.Table)
    }:
        return [UNREADABLE]
    return [message for tree in trees for message in _check_tree(tree, tenants)]


def _mentioned(sql: str, tenants: frozenset[str]) -> set[str]:
    """The tables of tenants that plainly stand in the text: what the parser must not have overlooked."""
    bare = re.sub(r"'[^']*'", "''", SQL_COMMENT.sub(" ", sql))
    return (
        set(re.findall(r'\b(?:from|join|update|into)\s+(?:only\s+)?(?:\w+\.)?"?(\w+)', bare.lower()))
        & tenants
    )


def _with_fields_as_holes(sql: str) -> str:
    """The fields of a ``str.format`` template made holes."""
    numbers = itertools.count(1000)
    return TEMPLATE_FIELD.sub(lambda _: f"{HOLE}{next(numbers)}", sql)


def _parse(sql: str) -> list[exp.Expr] | None:
    """The statement's trees. A hole (what the code fills in) is tried as a query, a name, a CTE, and as nothing."""
    holes = sorted(set(re.findall(rf"{HOLE}\d+", sql)))[:MAX_HOLES_TRIED]
    for choice in itertools.product(("SELECT {}", "{}", "{} AS (SELECT 1)", ""), repeat=len(holes)):
        text = sql
        for hole, form in zip(holes, choice, strict=True):
            text = re.sub(rf"\b{hole}\b", form.format(hole), text)
        try:
            trees = [tree for tree in sqlglot.parse(text, read="postgres") if tree is not None]
        except sqlglot.errors.SqlglotError:
            continue
        if trees and not any(map(_misread, trees)):
            return trees
    return None


def _misread(tree: exp.Expr) -> bool:
    """Whether the parser let something through that is no SQL."""
    bare_queries = (source for source in tree.find_all(exp.From) if isinstance(source.this, exp.Select))
    return isinstance(tree, exp.Command) or next(bare_queries, None) is not None


def _check_tree(tree: exp.Expr, tenants: frozenset[str]) -> Iterator[str]:
    for cte in tree.find_all(exp.CTE):
        if cte.alias.lower() in tenants:
            yield f"A WITH query hides the table {cte.alias} by having its name: give it another one."
    touched = False
    for table in tree.find_all(exp.Table):
        name = table.name.lower()
        if name.startswith(HOLE):
            if not isinstance(table.this, exp.Anonymous):
                yield "A table's name is not a constant here, so nobody sees whose rows these are: spell it."
        elif name in tenants:
            touched = True
            yield from _check_table(table)
    for update in tree.find_all(exp.Update, exp.OnConflict):
        if any(TENANT in _columns(target) for target in _targets(update)):
            yield f"{TENANT} is set here, but a row never changes hands: leave it out of SET."
    if touched and tree.find(exp.ILike, exp.RegexpILike) is not None:
        yield (
            "ILIKE (or ~*) on a table of tenants: under row-level security it reads every row. Compare a "
            "stored, casefolded column instead, or search the table of words."
        )


def _check_table(table: exp.Table) -> Iterator[str]:
    name, alias = table.name, _alias(table)
    query = _query_of(table)
    if isinstance(query, exp.Insert):
        yield from _check_insert(query, name)
    elif query is None:
        yield f"Nothing limits this to one organisation in {name}: write a SELECT, INSERT, UPDATE or DELETE."
    elif isinstance(query, exp.Merge):
        yield f"MERGE into or from {name}: write INSERT … ON CONFLICT, whose organisation can be checked."
    elif not any(_binds(condition, table, query) for condition in _conditions(query, table)):
        yield f"{name} is not bound to the caller's organisation: add `AND {alias}.{TENANT} = $1`, literally."


def _check_insert(insert: exp.Insert, name: str) -> Iterator[str]:
    schema = insert.this
    columns = [column.name.lower() for column in schema.expressions] if isinstance(schema, exp.Schema) else []
    if TENANT not in columns:
        yield f"INSERT INTO {name} does not say whose rows these are: add the column {TENANT} and give it $1."
        return
    position = columns.index(TENANT)
    source = insert.expression
    if isinstance(source, exp.Values):
        rows = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in source.expressions]
    else:
        rows = [query.expressions for query in _outermost(source)]
    for row in rows:
        value = _plain(row[position]) if position < len(row) else None
        if not (_is_caller(value) or (isinstance(value, exp.Column) and value.name.lower() == TENANT)):
            yield f"INSERT INTO {name} gives {TENANT} something else than $1: give it $1."


def _outermost(query: exp.Expr | None) -> Iterator[exp.Select]:
    """The SELECTs whose rows a query gives: itself, or both sides of a UNION."""
    query = query.unnest() if query is not None else None
    if isinstance(query, exp.Select):
        yield query
    elif isinstance(query, exp.SetOperation):
        yield from _outermost(query.left)
        yield from _outermost(query.right)


def _alias(table: exp.Table) -> str:
    alias: str = table.alias_or_name
    return table.name if alias.startswith(HOLE) else alias


def _query_of(node: exp.Expr) -> Query | None:
    found = node.find_ancestor(exp.Select, exp.Update, exp.Delete, exp.Insert, exp.Merge)
    return found if isinstance(found, Query) else None


def _conditions(query: Query, table: exp.Table) -> Iterator[exp.Expr]:
    """Every condition, joined to the others by AND, that holds for each row taken from the table."""
    where = query.args.get("where")
    if isinstance(where, exp.Where):
        yield from _conjuncts(where.this)
    for join in query.find_all(exp.Join):
        condition = join.args.get("on")
        if condition is None or _query_of(join) is not query:
            continue
        brings_it = any(found is table for found in join.this.find_all(exp.Table))
        # An outer join's ON filters the optional side only.
        if join.side in {"", None} or (join.side == "LEFT" and brings_it):
            yield from _conjuncts(condition)


def _conjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        yield from _conjuncts(condition.left)
        yield from _conjuncts(condition.right)
    elif (
        isinstance(condition, exp.EQ)
        and isinstance(condition.left, exp.Tuple)
        and isinstance(condition.right, exp.Tuple)
    ):
        pairs = zip(condition.left.expressions, condition.right.expressions, strict=False)
        yield from (exp.EQ(this=left.copy(), expression=right.copy()) for left, right in pairs)
    else:
        yield condition


def _binds(condition: exp.Expr, table: exp.Table, query: Query) -> bool:
    if not isinstance(condition, exp.EQ):
        return False
    left, right = _plain(condition.left), _plain(condition.right)
    column = right if _is_caller(left) else left if _is_caller(right) else None
    if not isinstance(column, exp.Column) or column.name.lower() != TENANT:
        return False
    if column.table:
        return bool(column.table.lower() == _alias(table).lower())
    # Unqualified: good when there is nothing else it could mean.
    return sum(_query_of(other) is query for other in query.find_all(exp.Table)) == 1


def _plain(node: exp.Expr) -> exp.Expr:
    """The node without parentheses, casts and AS."""
    while isinstance(node, exp.Paren | exp.Cast | exp.Alias):
        node = node.this
    return node


def _is_caller(node: exp.Expr | None) -> bool:
    return isinstance(node, exp.Parameter) and node.name == "1"


def _targets(update: exp.Expr) -> list[exp.Expr]:
    return [pair.this for pair in update.expressions if isinstance(pair, exp.EQ)]


def _columns(node: exp.Expr) -> set[str]:
    return {column.name.lower() for column in node.find_all(exp.Column)}
