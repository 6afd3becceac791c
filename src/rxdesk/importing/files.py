"""Which files are imported, what they hold, and in which order; and their lines, read in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rxdesk.importing.formats import KINDS, Kind

MAX_LINE_BYTES = 1024 * 1024
_NAME = re.compile(rf"(?:[0-9]+[-_.])?({'|'.join(KINDS)})(?:[-_.][0-9]+)?\.(?:ndjson|jsonl)")
_SUFFIXES = (".ndjson", ".jsonl")
_BOM = b"\xef\xbb\xbf"


class ImportFileError(Exception):
    """A path cannot be imported; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file and the kind of its lines."""

    path: Path
    kind: Kind


class Line(NamedTuple):
    """A line that is not blank: its number from 1, its bytes without the end, or what is wrong with it."""

    number: int
    data: bytes
    problem: str | None = None


def find_files(paths: Sequence[Path], kind: Kind | None = None) -> list[ImportFile]:
    """Give the files behind the paths in the order in which they can be imported.

    A folder stands for its files with a name that says their kind (`orders.ndjson`, `orders-2.ndjson`,
    `10-orders.ndjson`); `kind` says it for files that are named otherwise. Raises ImportFileError.
    """
    found: list[ImportFile] = []
    for path in paths:
        if path.is_dir():
            if kind is not None:
                raise ImportFileError(
                    f"{path}: a folder's files are named after their kinds; leave --kind out"
                )
            inside = [file for name in sorted(path.iterdir()) if (file := _known(name)) is not None]
            if not inside:
                raise ImportFileError(f"{path}: no file in it is named after a kind, such as orders.ndjson")
            found += inside
        elif not path.is_file():
            reason = (
                "is no plain file, which is read more than once" if path.exists() else "there is no such file"
            )
            raise ImportFileError(f"{path}: {reason}")
        elif kind is not None:
            found.append(ImportFile(path, kind))
        elif (file := _known(path)) is not None:
            found.append(file)
        else:
            raise ImportFileError(
                f"{path}: its name does not say what it holds; name it like orders.ndjson, or give --kind "
                f"(one of {', '.join(KINDS)})"
            )
    # Stable: files of one kind keep the order in which they were named.
    return sorted(dict.fromkeys(found), key=lambda file: KINDS.index(file.kind))


def ignored_files(paths: Sequence[Path]) -> list[Path]:
    """Give the NDJSON files of the folders among the paths whose names say no kind: `find_files` passes them over."""
    inside = [file for path in paths if path.is_dir() for file in sorted(path.iterdir())]
    return [file for file in inside if file.suffix in _SUFFIXES and file.is_file() and _known(file) is None]


def _known(path: Path) -> ImportFile | None:
    match = _NAME.fullmatch(path.name)
    kind = next((kind for kind in KINDS if match and kind == match[1]), None)
    return ImportFile(path, kind) if kind and path.is_file() else None


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines that are not blank; one that is too long is not held in memory. Raises OSError."""
    with path.open("rb") as file:
        number = 0
        while data := file.readline(MAX_LINE_BYTES + 2):
            number += 1
            if number == 1 and data.startswith(_BOM):
                yield Line(1, b"", "the file begins with a byte order mark; save it as UTF-8 without one")
                data = data.removeprefix(_BOM)
            ended = data.endswith(b"\n")
            data = data.rstrip(b"\r\n")
            if len(data) > MAX_LINE_BYTES:
                while not ended and (rest := file.readline(MAX_LINE_BYTES)):
                    ended = rest.endswith(b"\n")
                yield Line(number, b"", f"longer than {MAX_LINE_BYTES:,} bytes")
            elif data.strip(b" \t"):
                yield Line(number, data)
