"""The made-up providers' marks, drawn as PNG files for the designs of their passes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from math import hypot, sqrt
from typing import Final, Literal, TypeAlias

from rxdesk.wallet.png import SCALES, ImageName

Mark: TypeAlias = Literal["leaf", "ring"]
_Distance: TypeAlias = Callable[[float, float], float]

_LOGO_POINTS, _ICON_POINTS = 50, 29
_ICON_SHARE: Final = 0.8  # of an icon's width, for the mark
_HEADER = struct.Struct(">IIBBBBB")
_RGBA = 6


@cache
def images_of(mark: Mark, background: str, foreground: str) -> Mapping[tuple[ImageName, int], bytes]:
    """Give the logo, on nothing, and the icon, on the background, at all scales. Colours are `#rrggbb`."""
    shape = _SHAPES[mark]
    ground, ink = bytes.fromhex(background[1:]), bytes.fromhex(foreground[1:])
    images: dict[tuple[ImageName, int], bytes] = {}
    for scale in SCALES:
        images["logo", scale] = _draw(_LOGO_POINTS * scale, shape, 1.0, None, ink)
        images["icon", scale] = _draw(_ICON_POINTS * scale, shape, _ICON_SHARE, ground, ink)
    return images


def _leaf(x: float, y: float) -> float:
    """Measure to a leaf that stands on its tip, leaning to the right, with its midrib left out."""
    across, along = (x + y) / sqrt(2), (y - x) / sqrt(2)
    blade = max(hypot(across - 0.7, along), hypot(across + 0.7, along)) - 1.4
    rib = max(abs(across) - 0.06, -0.45 - along)
    return max(blade, -rib)


def _ring(x: float, y: float) -> float:
    """Measure to a ring around a cross."""
    ring = abs(hypot(x, y) - 0.84) - 0.09
    upright, level = max(abs(x) - 0.14, abs(y) - 0.48), max(abs(x) - 0.48, abs(y) - 0.14)
    return min(ring, upright, level)


# Each gives the distance to its edge, negative inside, where the picture goes from -1 to 1 to the right and down.
_SHAPES: Final[Mapping[Mark, _Distance]] = {"leaf": _leaf, "ring": _ring}


def _draw(pixels: int, shape: _Distance, share: float, ground: bytes | None, ink: bytes) -> bytes:
    """Draw a square; `share` of it is the shape's."""
    rows = bytearray()
    half = pixels / 2
    for row in range(pixels):
        rows.append(0)  # its pixels are not filtered
        y = (row + 0.5 - half) / (half * share)
        for column in range(pixels):
            distance = shape((column + 0.5 - half) / (half * share), y) * half * share
            cover = min(1.0, max(0.0, 0.5 - distance))
            if ground is None:
                rows += ink + bytes([round(255 * cover)])
            else:
                rows += bytes(round(g + (i - g) * cover) for g, i in zip(ground, ink, strict=True)) + b"\xff"
    return _png(pixels, bytes(rows))


def _png(pixels: int, rows: bytes) -> bytes:
    header = _HEADER.pack(pixels, pixels, 8, _RGBA, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )
