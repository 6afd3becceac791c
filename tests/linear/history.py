"""Histories: what clients asked, when, and what they were answered."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.linear.room import Answer


class Operation(NamedTuple):
    """One call of one client. Times are nanoseconds of the machine's monotonic clock.

    Without an answer its outcome is unknown: it may have happened at any time after it was invoked, or never.
    """

    client: int
    shop: str
    kind: str
    arguments: tuple[str, ...]
    invoked: int
    returned: int | None = None
    answer: Answer | None = None

    def __str__(self) -> str:
        answered = "unknown" if self.answer is None else " ".join(map(str, self.answer))
        return f"client {self.client}: {self.kind}({', '.join(self.arguments)}) → {answered}"


History = tuple[Operation, ...]


def by_shop(history: Iterable[Operation]) -> dict[str, History]:
    """Part a history: shops share nothing, so each is judged alone."""
    parts: dict[str, list[Operation]] = {}
    for operation in history:
        parts.setdefault(operation.shop, []).append(operation)
    return {shop: tuple(part) for shop, part in sorted(parts.items())}


def write(path: Path, history: Iterable[Operation]) -> None:
    """Write a history, one operation a line, as JSON."""
    path.write_text("".join(json.dumps(operation) + "\n" for operation in history), "utf-8")


def read(path: Path) -> History:
    """Read a history that `write` wrote."""
    found = []
    for line in path.read_text("utf-8").splitlines():
        client, shop, kind, arguments, invoked, returned, answer = json.loads(line)
        found.append(
            Operation(
                client,
                shop,
                kind,
                tuple(arguments),
                invoked,
                returned,
                None if answer is None else tuple(answer),
            )
        )
    return tuple(found)
