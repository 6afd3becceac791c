"""What can be read of a line that is refused, so that its duplicates and references are judged beside its faults.

Nothing of it is ever written: a file with a fault is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from rxdesk.importing.formats import LINES, Kind
from rxdesk.importing.rows import Rows, stage
from rxdesk.importing.statements import staged_columns
from rxdesk.importing.tables import TABLES, Table
from rxdesk.kit.strict_json import StrictJsonError, loads
from rxdesk.kit.uids import is_uid


def stage_legible(kind: Kind, data: bytes, line: int, rows: Rows) -> None:
    """Add the rows of a refused line: whole when only a rule speaks against it, else uids and references."""
    try:
        value = loads(data)
    except StrictJsonError:
        return
    try:
        entity = msgspec.convert(value, LINES[kind])
    except msgspec.ValidationError:
        for table in TABLES[kind]:
            rows[table.name] += _rows(value, line, table)
    else:
        stage(entity, line, rows)


def _rows(value: object, line: int, table: Table) -> Iterator[tuple[Any, ...]]:
    for i, j, item in _places(value, table.path):
        # A uid that cannot be read is replaced by one that no row can have. As if deleted, the row takes part in no
        # rule on what is unique: its members are not known.
        uid = _uid(item.get("uid")) or f"? {line} {i} {j}"
        known: dict[str, Any] = {"line": line, "i": i, "j": j, "uid": uid, "deleted_at": 0}
        known |= {reference.column: _uid(item.get(reference.field)) for reference in table.references}
        yield tuple(known.get(column) for column in staged_columns(table))


def _places(value: object, path: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield the objects at a table's path, with their parent's place and their own."""
    names = [part for part in path.split(".") if part and not part.startswith("{")]
    parents = enumerate(_objects(value, names.pop(0))) if len(names) > 1 else [(0, value)]
    for i, parent in parents:
        if names:
            yield from ((i, j, item) for j, item in enumerate(_objects(parent, names[0])) if item)
        elif isinstance(parent, dict):
            yield 0, 0, parent


def _objects(value: object, name: str) -> list[dict[str, Any]]:
    """Give a member that is a list; what is no object in it is empty, so that the others keep their places."""
    listed = value.get(name) if isinstance(value, dict) else None
    return [item if isinstance(item, dict) else {} for item in listed] if isinstance(listed, list) else []


def _uid(value: object) -> str | None:
    return value if isinstance(value, str) and is_uid(value) else None
