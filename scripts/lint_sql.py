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

usage: python -m scripts.lint_sql [FOLDER]     (default: src/rxdesk; exit status 1 when a rule is broken)
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

from scripts.sql_rules import HOLE, SQL_COMMENT, TENANT, check_statement, tenant_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STATEMENT = re.compile(r"(?:SELECT|WITH|INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE|COPY)\b")
EXCUSE = re.compile(r"(?:#|--) no-tenant: \S")
UNCLAIMED = (
    "This piece of SQL takes rows of a tenant's table, but no statement was found that it goes into. Make it "
    "a constant at the top of a module and write the statement as an f-string with its name."
)


class Finding(NamedTuple):
    """A broken rule: where, and what to do about it."""

    path: Path
    line: int
    message: str


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
