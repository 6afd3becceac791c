"""Check every SQL statement of the package against the rules that keep organisations apart.

The rules, for each table that has an ``organisation_id`` column (the migrations are read for them):

1. Where it is read, changed or deleted from, its own condition ``organisation_id = $1`` stands there,
   literally: at the top level of the WHERE, or of the ON that brings the table in. A condition that follows
   from another one (``b.organisation_id = a.organisation_id``, ``USING (organisation_id)``) does not count:
   neither a reader nor a router of shards sees it.
2. An INSERT names ``organisation_id`` as a column and gives it ``$1``, or a source's column of that name.
3. ``organisation_id`` is never set by an UPDATE: a row does not change hands.
4. No ILIKE and no ``~*``: under row-level security they cannot use an index.
5. A statement can be put together by reading the code: constants and f-strings of constants. What cannot
   is refused.

A statement that has to break a rule says why: ``-- no-tenant: REASON`` inside it, or ``# no-tenant: REASON``
on the line before.

usage: python scripts/lint_sql.py [FOLDER]     (default: src/rxdesk; exit status 1 when a rule is broken)
"""

from __future__ import annotations

import ast
import itertools
import logging
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

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
STATEMENT = re.compile(r"(?:SELECT|WITH|INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE|COPY)\b")
SQL_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
EXCUSE = re.compile(r"(?:#|--) no-tenant: \S")
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
UNCLAIMED = (
    "This piece of SQL takes rows of a tenant's table, but no statement was found that it goes into. Make it "
    "a constant at the top of a module and write the statement as an f-string with its name."
)

Query = exp.Select | exp.Update | exp.Delete | exp.Insert | exp.Merge


class Finding(NamedTuple):
    """A broken rule: where, and what to do about it."""

    path: Path
    line: int
    message: str


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


# ------------------------------------------------------------ statements in the code
@dataclass
class Module:
    """A parsed Python file: its constants, and what its imports mean."""

    path: Path
    lines: list[str]
    tree: ast.Module
    constants: dict[str, ast.expr] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)


class Reader:
    """Puts statements together from the constants of all modules, and remembers which literals it used."""

    def __init__(self, modules: dict[str, Module]) -> None:
        self.modules = modules
        self.used: set[int] = set()
        self.holes = itertools.count()

    def text(self, node: ast.expr, module: Module, depth: int = 0) -> str | None:
        """The string that an expression is, with a hole for what is not constant; None if nothing is."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self.used.add(id(node))
            return node.value
        if isinstance(node, ast.JoinedStr):
            return "".join(self._piece(piece, module, depth) for piece in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = [self.text(side, module, depth) for side in (node.left, node.right)]
            return None if sides == [None, None] else "".join(self._hole() if s is None else s for s in sides)
        found = self._constant(node, module) if depth < 20 else None  # noqa: PLR2004  (a cycle of constants ends)
        return self.text(found[0], found[1], depth + 1) if found else None

    def _piece(self, piece: ast.expr, module: Module, depth: int) -> str:
        inner = piece.value if isinstance(piece, ast.FormattedValue) else piece
        text = self.text(inner, module, depth)
        return self._hole() if text is None else text

    def _hole(self) -> str:
        return f"{HOLE}{next(self.holes)}"

    def _constant(self, node: ast.expr, module: Module) -> tuple[ast.expr, Module] | None:
        if isinstance(node, ast.Name):
            if node.id in module.constants:
                return module.constants[node.id], module
            home, _, name = module.imports.get(node.id, "").rpartition(".")
        elif isinstance(node, ast.Attribute):
            home, name = module.imports.get(ast.unparse(node.value), ast.unparse(node.value)), node.attr
        else:
            return None
        other = self.modules.get(home)
        return (other.constants[name], other) if other and name in other.constants else None


def _read_module(path: Path) -> Module:
    source = path.read_text(encoding="utf-8")
    module = Module(path, source.splitlines(), ast.parse(source, str(path)))
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            module.constants[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            module.constants[node.target.id] = node.value
    for found in ast.walk(module.tree):
        if isinstance(found, ast.ImportFrom) and found.module and not found.level:
            for name in found.names:
                module.imports[name.asname or name.name] = f"{found.module}.{name.name}"
        elif isinstance(found, ast.Import):
            for name in found.names:
                module.imports[name.asname or name.name] = name.name
    return module


def _strings(tree: ast.Module) -> Iterator[ast.expr]:
    """Every outermost string expression that is no docstring."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if _is_string(node):
            yield node
        else:
            pending.extend(ast.iter_child_nodes(node))


def _is_string(node: ast.AST) -> TypeGuard[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _is_string(node.left) or _is_string(node.right)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _looks_like_sql(text: str, mention: re.Pattern[str]) -> bool:
    bare = SQL_COMMENT.sub(" ", text).strip()
    return bool(STATEMENT.match(bare) or (STATEMENT.match(bare.upper()) and mention.search(bare.upper())))


def _excused(module: Module, node: ast.expr) -> bool:
    first = max(node.lineno - 2, 0)
    return any(EXCUSE.search(line) for line in module.lines[first : node.end_lineno])


def lint(root: Path) -> tuple[list[Finding], int]:
    """Check a package. Gives the findings in order of place, and how many statements were read."""
    migrations = sorted((root / "db" / "migrations").rglob("*.sql"))
    tenants = tenant_tables(path.read_text(encoding="utf-8") for path in migrations)
    if not tenants:
        message = f"No table with {TENANT} in the migrations: the check would pass whatever the code says."
        return [Finding(root / "db" / "migrations", 1, message)], 0
    names = "|".join(sorted(tenants))
    mention = re.compile(
        rf'\b(?:FROM|JOIN|UPDATE|INTO)\s+(?:ONLY\s+)?(?:\w+\.)?"?(?:{names}|{names.upper()})\b'
    )

    modules = {_dotted(root, path): _read_module(path) for path in sorted(root.rglob("*.py"))}
    reader = Reader(modules)
    findings: list[Finding] = []
    count = 0
    rest: list[tuple[Module, ast.expr]] = []
    for module in modules.values():
        for node in _strings(module.tree):
            before = set(reader.used)
            text = reader.text(node, module)
            rest.append((module, node))
            if text is None or not _looks_like_sql(text, mention):
                reader.used = before
                continue
            count += 1
            if not _excused(module, node):
                findings += [Finding(module.path, node.lineno, m) for m in check_statement(text, tenants)]
    findings += _unread_fragments(rest, reader.used, mention)
    for path in sorted(set(root.rglob("*.sql")) - set(migrations)):
        count += 1
        text = path.read_text(encoding="utf-8")
        if not EXCUSE.search(text):
            findings += [Finding(path, 1, message) for message in check_statement(text, tenants)]
    return sorted(findings), count


def _unread_fragments(
    strings: Iterable[tuple[Module, ast.expr]], used: set[int], mention: re.Pattern[str]
) -> Iterator[Finding]:
    """Pieces of SQL with a tenant's table that went into no statement that was read."""
    for module, node in strings:
        for part in ast.walk(node):
            if not isinstance(part, ast.Constant) or not isinstance(part.value, str) or id(part) in used:
                continue
            if mention.search(part.value) and not _excused(module, node):
                yield Finding(module.path, part.lineno, UNCLAIMED)


def _dotted(root: Path, path: Path) -> str:
    parts = [root.name, *path.relative_to(root).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def main(arguments: list[str]) -> int:
    """Lint the folder named, or src/rxdesk beside this script's folder; print what was found."""
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1] / "src" / "rxdesk"
    findings, count = lint(root)
    for path, line, message in findings:
        print(f"{path}:{line}: {message}")
    if findings:
        print(f"\n{len(findings)} found. The rules and their reasons: {Path(__file__).name}, at its top.")
        return 1
    print(f"SQL: {count} statements read, every table of tenants in them bound to $1.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
