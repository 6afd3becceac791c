"""History from NDJSON: one row a line (`Row`), in the order of what happened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import get_args

import msgspec

from rxdesk.kit.wording import plain
from rxdesk.waiting_room.estimates.room import HistoryError, Kind, Room, Row

_DAY = 86400.0
_NO_CHOICE = "Invalid enum value "


def read(lines: Iterable[bytes]) -> list[Row]:
    """Read and check a history; empty lines are passed over. Raises HistoryError with the number of the line."""
    decoder = msgspec.json.Decoder(Row)
    room, rows = Room(), []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = decoder.decode(line)
            room.apply(row)
        except (msgspec.DecodeError, HistoryError, UnicodeDecodeError) as error:
            raise HistoryError(f"line {number}: {_said(str(error))}") from error
        rows.append(row)
    return rows


def _said(message: str) -> str:
    if message.startswith(_NO_CHOICE):  # a row has one member that is a choice
        given = message.removeprefix(_NO_CHOICE).rpartition(" - at ")[0]
        return f"kind {given} is not known; it is one of: {', '.join(get_args(Kind))}"
    return plain(message)


def write(rows: Iterable[Row]) -> Iterator[bytes]:
    """Give the rows as lines, as `read` takes them."""
    encoder = msgspec.json.Encoder()
    for row in rows:
        yield encoder.encode(row) + b"\n"


def by_day(rows: Iterable[Row]) -> list[list[Row]]:
    """Give the rows of each day, in UTC."""
    return [list(of_day) for _, of_day in groupby(rows, key=lambda row: row.at // _DAY)]
