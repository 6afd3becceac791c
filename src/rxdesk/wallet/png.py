"""PNG files: whether one is whole, and of a size that wallets take."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple, get_args

ImageName = Literal["icon", "logo", "strip", "thumbnail"]
IMAGE_NAMES: Final[tuple[ImageName, ...]] = get_args(ImageName)
SCALES: Final = (1, 2, 3)
# The most points that a wallet shows of each, width and height; pixels are these times the scale.
MOST_POINTS: Final[dict[ImageName, tuple[int, int]]] = {
    "icon": (29, 29),
    "logo": (160, 50),
    "strip": (375, 144),
    "thumbnail": (90, 90),
}
MAX_BYTES: Final = 512 * 1024
# Of all images of a template: a device loads them anew with each change of a pass.
MAX_BYTES_TOGETHER: Final = 2 * 1024 * 1024

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
# By colour type: samples a pixel, and the bit depths that there are.
_COLOURS: Final = {
    0: (1, (1, 2, 4, 8, 16)),
    2: (3, (8, 16)),
    3: (1, (1, 2, 4, 8)),
    4: (2, (8, 16)),
    6: (4, (8, 16)),
}
_PALETTE = 3
_GREYS: Final = (0, 4)
_COLOUR_BYTES = 3  # of one in a palette
# By colour type: the bytes that say which colour is transparent. With a palette there is one for each colour, at most.
_TRANSPARENCY: Final = {0: 2, 2: 6}
_SUB, _UP, _AVERAGE, _PAETH = range(1, 5)  # how a row is filtered, beside not at all
# Of each pass: the first pixel's column and row, and how far apart its columns and rows are.
_AT_ONCE: Final = ((0, 0, 1, 1),)
_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filtering: int
    interlaced: int


class _Pass(NamedTuple):
    rows: int
    columns: int
    length: int  # of a row in bytes, its filter among them


class PngError(ValueError):
    """A file is no PNG that wallets take; the message says why."""


def check(data: bytes, name: ImageName, scale: int) -> None:
    """Refuse what is no whole PNG, or is larger than the image of that name may be at that scale (1 to 3)."""
    if len(data) > MAX_BYTES:
        raise PngError(f"it is larger than {MAX_BYTES // 1024} KiB")
    chunks = list(_chunks(data))
    header = _header(chunks)
    # Before anything is unpacked: what unpacking may take follows from these.
    _check_size(header, name, scale)
    _check_order([kind for kind, _ in chunks])
    colours = _colours(header, [content for kind, content in chunks if kind == b"PLTE"])
    _check_transparency(header, chunks, colours)
    pixels = _unpacked(header, b"".join(content for kind, content in chunks if kind == b"IDAT"))
    if header.colour == _PALETTE and colours < 2**header.depth:
        _check_colours(header, pixels, colours)


def _header(chunks: list[tuple[bytes, bytes]]) -> _Header:
    """Give what the first chunk says."""
    if chunks[0][0] != b"IHDR" or len(chunks[0][1]) != _HEADER.size or chunks[-1] != (b"IEND", b""):
        raise PngError("its first or last chunk is not a PNG's")
    header = _Header(*_HEADER.unpack(chunks[0][1]))
    _, depths = _COLOURS.get(header.colour, (0, ()))
    if (
        not header.width
        or not header.height
        or header.depth not in depths
        or header.compression
        or header.filtering
        or header.interlaced > 1
    ):
        raise PngError("its header is not a PNG's")
    return header


def _check_size(header: _Header, name: ImageName, scale: int) -> None:
    width, height = header.width, header.height
    most_width, most_height = (points * scale for points in MOST_POINTS[name])
    if width > most_width or height > most_height:
        raise PngError(
            f"it is {width} x {height} pixels; a {name} @{scale}x is at most {most_width} x {most_height}"
        )
    if name == "icon" and width != height:
        raise PngError(f"it is {width} x {height} pixels, and an icon is a square")


def _check_order(kinds: list[bytes]) -> None:
    """Refuse pixels that are not in one place, and unknown chunks that may not be passed over: those with a capital."""
    needed = [kind for kind in kinds if not kind[:1].islower()]
    palettes, pixels = kinds.count(b"PLTE"), kinds.count(b"IDAT")
    if not pixels or needed != [b"IHDR", *[b"PLTE"] * palettes, *[b"IDAT"] * pixels, b"IEND"]:
        raise PngError("its chunks are not a PNG's, or not in their order")
    first = kinds.index(b"IDAT")
    if kinds[first : first + pixels] != [b"IDAT"] * pixels:
        raise PngError("its chunks of pixels are not in order")


def _colours(header: _Header, palettes: list[bytes]) -> int:
    """Give how many colours the palette has, if there is one."""
    if not palettes and header.colour != _PALETTE:
        return 0
    most = 2**header.depth if header.colour == _PALETTE else 256
    if (
        len(palettes) != 1
        or header.colour in _GREYS
        or len(palettes[0]) % _COLOUR_BYTES
        or not 0 < len(palettes[0]) // _COLOUR_BYTES <= most
    ):
        raise PngError("its palette is not a PNG's")
    return len(palettes[0]) // _COLOUR_BYTES


def _check_transparency(header: _Header, chunks: list[tuple[bytes, bytes]], colours: int) -> None:
    kinds = [kind for kind, _ in chunks]
    if b"tRNS" not in kinds:
        return
    place = kinds.index(b"tRNS")
    length = len(chunks[place][1])
    fits = 0 < length <= colours if header.colour == _PALETTE else length == _TRANSPARENCY.get(header.colour)
    if not fits or b"IDAT" in kinds[:place] or {b"PLTE", b"tRNS"} & set(kinds[place + 1 :]):
        raise PngError("its chunk of transparency is not a PNG's")


def _unpacked(header: _Header, packed: bytes) -> bytes:
    """Unpack the pixels, no more of them than the header says, and refuse them unless they are just those."""
    passes = list(_passes(header))
    size = sum(one.rows * one.length for one in passes)
    unpacker = zlib.decompressobj()
    try:
        pixels = unpacker.decompress(packed, size + 1)
    except zlib.error as error:
        raise PngError("its pixels cannot be unpacked") from error
    if not unpacker.eof or len(pixels) != size:
        raise PngError("its pixels are not all there, or too many")
    position = 0
    for one in passes:
        end = position + one.rows * one.length
        if max(pixels[position : end : one.length]) > _PAETH:
            raise PngError("its pixels are not filtered as a PNG's are")
        position = end
    return pixels


def _check_colours(header: _Header, pixels: bytes, colours: int) -> None:
    """Refuse pixels of which one has a colour that is not in the palette."""
    one_pixel = 2**header.depth - 1
    # Of each byte the highest colour of its pixels.
    highest = bytes(
        max(byte >> shift & one_pixel for shift in range(0, 8, header.depth)) for byte in range(256)
    )
    position = 0
    for one in _passes(header):
        end = position + one.rows * one.length
        rows = (pixels[start : start + one.length] for start in range(position, end, one.length))
        unused = -one.columns * header.depth % 8  # bits at the end of a row, which say nothing
        for row in _unfiltered(rows, one.length - 1):
            row[-1] >>= unused
            if max(row.translate(highest)) >= colours:
                raise PngError("its pixels have colours that are not in its palette")
        position = end


def _unfiltered(rows: Iterable[bytes], length: int) -> Iterator[bytearray]:
    """Give rows as they were before they were filtered, where a pixel has no more than a byte; each is a copy."""
    above = bytes(length)
    for row in rows:
        line = bytearray(row[1:])
        if row[0] == _UP:
            line = bytearray(byte + up & 255 for byte, up in zip(line, above, strict=True))
        elif row[0]:
            left = corner = 0
            for place, up in enumerate(above):
                left = line[place] = line[place] + _foretold(row[0], left, up, corner) & 255
                corner = up
        above = bytes(line)
        yield line


def _foretold(filtering: int, left: int, up: int, corner: int) -> int:
    """Give what a filter expects of a byte by the one before it, the one above, and the one above that before it."""
    if filtering == _SUB:
        return left
    if filtering == _AVERAGE:
        return left + up >> 1
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if to_left <= to_up and to_left <= to_corner:
        return left
    return up if to_up <= to_corner else corner


def _passes(header: _Header) -> Iterator[_Pass]:
    """Give each pass that has pixels. A row begins with a byte, its filter."""
    samples, _ = _COLOURS[header.colour]
    for left, top, across, down in _ADAM7 if header.interlaced else _AT_ONCE:
        columns, rows = -((left - header.width) // across), -((top - header.height) // down)
        if columns > 0 and rows > 0:
            yield _Pass(rows, columns, 1 + -(-columns * samples * header.depth // 8))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not data.startswith(_SIGNATURE):
        raise PngError("it is no PNG file")
    position = len(_SIGNATURE)
    kind = b""
    while kind != b"IEND":
        head = data[position : position + 8]
        if len(head) < 8:  # noqa: PLR2004 (length and kind, four bytes each)
            raise PngError("it ends early")
        (length,), kind = struct.unpack(">I", head[:4]), head[4:]
        end = position + 8 + length
        content, checksum = data[position + 8 : end], data[end : end + 4]
        if checksum != struct.pack(">I", zlib.crc32(kind + content)):
            raise PngError("it is damaged, or ends early")
        yield kind, content
        position = end + 4
    if position != len(data):
        raise PngError("something stands behind its end")
