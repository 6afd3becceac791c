"""What an import says: its faults, its counts, and how far it is."""

from __future__ import annotations

import heapq
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

MAX_FAULTS = 1000
Phase: TypeAlias = Literal["reading", "checking", "writing"]


class Fault(NamedTuple):
    """What is wrong with a line: its number from 1, the field's dotted path ("" for the line), and why."""

    line: int
    field: str
    reason: str


class Progress(Protocol):
    """Is told how far an import is; called often, so it must be cheap."""

    def __call__(self, phase: Phase, file: str, done: int, total: int, rows: int) -> None:
        """Tell how much is done: bytes while reading, tables while checking, lines while writing."""


def no_progress(phase: Phase, file: str, done: int, total: int, rows: int) -> None:
    """Tell nobody."""


@dataclass
class Written:
    """How many rows of a table were new, changed, and removed because their parent lists them no more."""

    added: int = 0
    changed: int = 0
    removed: int = 0


@dataclass
class FileReport:
    """What became of one file. `faults` are the first 1,000 by line; `fault_count` counts all."""

    path: str
    kind: str
    lines: int = 0
    rows: int = 0
    seconds: float = 0.0
    written: dict[str, Written] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    fault_count: int = 0

    def add_faults(self, faults: list[Fault], count: int | None = None) -> None:
        """Take in faults; `count` when there are more of them than were listed."""
        self.fault_count += len(faults) if count is None else count
        if faults:
            self.faults = heapq.nsmallest(MAX_FAULTS, [*self.faults, *faults])


@dataclass
class ImportReport:
    """What became of an import. With any fault, nothing was changed."""

    files: list[FileReport] = field(default_factory=list)
    seconds: float = 0.0
    events: int = 0  # that were stored, where they were asked for

    @property
    def ok(self) -> bool:
        """Whether the files were imported."""
        return all(file.fault_count == 0 for file in self.files)

    def as_json(self) -> dict[str, Any]:
        """Give the report as plain JSON values."""
        made = asdict(self)
        for file in made["files"]:
            file["faults"] = [fault._asdict() for fault in file["faults"]]
        return {"ok": self.ok, **made}
