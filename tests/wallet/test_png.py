"""Which PNG files are taken: whole ones, of sizes that wallets show."""

from __future__ import annotations

import random
import struct
import zlib

import pytest

from rxdesk.wallet.png import MAX_BYTES, MOST_POINTS, SCALES, PngError, check

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = 2,
    pixels: bytes | None = None,
    more: bytes = b"",
) -> bytes:
    """A PNG of one colour."""
    if pixels is None:
        samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
        pixels = (b"\x00" + b"\x7f" * -(-width * samples * depth // 8)) * height
    data = zlib.compress(pixels)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", head) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", MOST_POINTS)
@pytest.mark.parametrize("scale", SCALES)
def test_each_image_may_be_as_large_as_it_is_shown(name: str, scale: int) -> None:
    width, height = (points * scale for points in MOST_POINTS[name])  # type: ignore[index] # a name of ours
    check(png(width, height), name, scale)  # type: ignore[arg-type] # as above
    for larger in ((width + 1, height + 1), (width, height + 1), (width + 1, height)):
        with pytest.raises(PngError, match=f"a {name} @{scale}x is at most {width} x {height}"):
            check(png(*larger), name, scale)  # type: ignore[arg-type] # as above


@pytest.mark.parametrize(
    ("depth", "colour"),
    [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 3), (8, 4), (8, 6), (16, 6)],
)
def test_each_kind_of_colour(depth: int, colour: int) -> None:
    check(png(17, 5, depth=depth, colour=colour), "logo", 1)


def test_what_is_too_large_is_refused_before_it_is_unpacked() -> None:
    for data in (png(2**25, 1, depth=1, colour=0, pixels=b""), png(2**31 - 1, 2**31 - 1, pixels=b"")):
        with pytest.raises(PngError, match="icon @1x is at most 29 x 29"):
            check(data, "icon", 1)


def test_an_icon_is_a_square() -> None:
    check(png(20, 20), "icon", 1)
    with pytest.raises(PngError, match="a square"):
        check(png(20, 19), "icon", 1)


def test_further_chunks_are_no_harm() -> None:
    check(png(10, 10, more=chunk(b"tEXt", b"Comment\x00x")), "logo", 1)


WHOLE = png(40, 20)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        SIGNATURE,
        WHOLE[:-1],
        WHOLE[:-12],
        WHOLE + b"\x00",
        SIGNATURE + chunk(b"IEND", b""),
        SIGNATURE + WHOLE[33:],
        png(0, 20),
        png(40, 0),
        png(40, 20, depth=3),
        png(40, 20, colour=5),
        png(40, 20, pixels=b"\x00" * 10),  # fewer than the header says
        png(40, 20, pixels=b"\x00" * 10_000_000),  # many more: what is unpacked is limited
        png(40, 20).replace(b"IDAT", b"iDAT"),
        png(2**31 - 1, 2**31 - 1, pixels=b""),
        SIGNATURE + chunk(b"IHDR", WHOLE[16:29]) + chunk(b"IDAT", b"no zlib") + chunk(b"IEND", b""),
        SIGNATURE + struct.pack(">I", 2**32 - 1) + b"IHDR",
        WHOLE + b"\x00" * MAX_BYTES,
    ],
)
def test_what_is_no_whole_png(data: bytes) -> None:
    with pytest.raises(PngError):
        check(data, "logo", 3)


def test_no_changed_byte_is_overlooked_and_none_is_a_fault_of_ours() -> None:
    chance = random.Random(1)
    for position in range(len(WHOLE)):
        data = bytearray(WHOLE)
        data[position] ^= 1 << chance.randrange(8)
        with pytest.raises(PngError):
            check(bytes(data), "logo", 3)
