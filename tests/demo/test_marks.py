"""The marks of the made-up providers, as files that wallets take."""

from __future__ import annotations

import struct
import zlib

import pytest

from rxdesk.demo.designs import look_of
from rxdesk.demo.marks import Mark, images_of
from rxdesk.demo.organisations import ORGANISATIONS
from rxdesk.wallet import png
from rxdesk.wallet.card import Kind
from rxdesk.wallet.design import objections


def rows_of(file: bytes) -> list[list[bytes]]:
    """The pixels of a PNG of ours, row by row."""
    [width] = struct.unpack_from(">I", file, 16)
    content = zlib.decompress(file[file.index(b"IDAT") + 4 : file.index(b"IEND") - 8])
    length = 1 + 4 * width
    rows = [content[start + 1 : start + length] for start in range(0, len(content), length)]
    return [[row[at : at + 4] for at in range(0, len(row), 4)] for row in rows]


@pytest.mark.parametrize("mark", ["leaf", "ring"])
def test_a_mark_is_drawn_for_each_scale(mark: Mark) -> None:
    images = images_of(mark, "#1d5c4a", "#ffffff")
    assert set(images) == {(name, scale) for name in ("logo", "icon") for scale in (1, 2, 3)}
    for (name, scale), file in images.items():
        png.check(file, name, scale)
        rows = rows_of(file)
        assert rows[0][0] == (b"\xff\xff\xff\x00" if name == "logo" else b"\x1d\x5c\x4a\xff")
        drawn = [pixel for row in rows for pixel in row if pixel == b"\xff\xff\xff\xff"]
        assert 0.1 < len(drawn) / len(rows) ** 2 < 0.6


@pytest.mark.parametrize("kind", ["generic", "storeCard", "eventTicket", "coupon"])
def test_nothing_is_wrong_with_a_look(kind: Kind) -> None:
    fields = {
        "generic": ["patient_number"],
        "storeCard": ["points", "level"],
        "eventTicket": ["appointment"],
        "coupon": ["code", "discount"],
    }[kind]
    for organisation in ORGANISATIONS.values():
        assert list(objections(look_of(organisation, kind, "Praxis").design, fields, kind)) == []
