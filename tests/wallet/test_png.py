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


PALETTE = 3
TWO_COLOURS = chunk(b"PLTE", b"\x00\x00\x00\xff\xff\xff")


def png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = 2,
    interlaced: int = 0,
    pixels: bytes | None = None,
    more: bytes = b"",
) -> bytes:
    """A PNG of one colour, with a palette where there has to be one."""
    if pixels is None:
        samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
        one = b"\x01" if (depth, colour) == (8, PALETTE) else b"\x7f"
        pixels = (b"\x00" + one * -(-width * samples * depth // 8)) * height
    data = zlib.compress(pixels)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    if colour == PALETTE:
        more = TWO_COLOURS + more
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
    [
        (1, 0),
        (2, 0),
        (4, 0),
        (8, 0),
        (16, 0),
        (8, 2),
        (16, 2),
        (1, 3),
        (8, 3),
        (8, 4),
        (16, 4),
        (8, 6),
        (16, 6),
    ],
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
    check(png(10, 10, more=TWO_COLOURS), "logo", 1)  # colours for screens that have few


def test_pixels_may_stand_in_several_chunks() -> None:
    whole = png(10, 10)
    at, end = whole.index(b"IDAT"), whole.index(b"IEND") - 4
    packed = whole[at + 4 : end - 4]
    parts = chunk(b"IDAT", packed[:5]) + chunk(b"IDAT", packed[5:])
    check(whole[: at - 4] + parts + whole[end:], "logo", 1)
    parted = chunk(b"IDAT", packed[:5]) + chunk(b"tEXt", b"") + chunk(b"IDAT", packed[5:])
    with pytest.raises(PngError, match="order"):
        check(whole[: at - 4] + parted + whole[end:], "logo", 1)


# What of 10 x 3 pixels is in each of the seven passes of an interlaced image, as rows and pixels a row.
PASSES = ((1, 2), (1, 1), (0, 3), (1, 2), (1, 5), (2, 5), (1, 10))


def interlaced(filtering: int = 0) -> bytes:
    """The rows of an interlaced image of 10 x 3 pixels, a byte each; the last has that filter."""
    rows = [bytearray(1 + pixels) for count, pixels in PASSES for _ in range(count)]
    rows[-1][0] = filtering
    return b"".join(rows)


def test_interlaced_images() -> None:
    check(png(10, 3, colour=0, interlaced=1, pixels=interlaced(4)), "logo", 1)
    check(png(1, 1, colour=0, interlaced=1, pixels=b"\x00\x00"), "logo", 1)  # six passes are empty
    for pixels in (interlaced()[:-1], interlaced() + b"\x00", interlaced(5)):
        with pytest.raises(PngError, match="its pixels are not"):
            check(png(10, 3, colour=0, interlaced=1, pixels=pixels), "logo", 1)


@pytest.mark.parametrize("filtering", range(6))
def test_the_filters_that_there_are(filtering: int) -> None:
    data = png(2, 2, colour=0, pixels=bytes([0, 255, 255, filtering, 255, 255]))
    if filtering < 5:
        check(data, "logo", 1)
    else:
        with pytest.raises(PngError, match="filtered"):
            check(data, "logo", 1)


@pytest.mark.parametrize(
    "pixels",
    [
        b"\x00" * (40 * 20 * 3),  # no bytes of filters
        b"\x00" * (20 * (1 + 40 * 3) - 1),
        b"\x00" * (20 * (1 + 40 * 3) + 1),
    ],
)
def test_pixels_are_exactly_as_many_as_the_header_says(pixels: bytes) -> None:
    with pytest.raises(PngError, match="not all there, or too many"):
        check(png(40, 20, pixels=pixels), "logo", 1)


def test_rows_end_with_a_whole_byte() -> None:
    check(png(9, 2, depth=1, colour=0, pixels=b"\x00\xff\x80" * 2), "logo", 1)
    with pytest.raises(PngError, match="not all there"):
        check(png(9, 2, depth=1, colour=0, pixels=b"\x00\xff" * 2), "logo", 1)


def filtered(rows: list[list[int]], filtering: int) -> bytes:
    """Rows of bytes as they are filtered where a pixel is one byte."""
    found, above = b"", [0] * len(rows[0])
    for row in rows:
        found += bytes([filtering])
        for place, value in enumerate(row):
            left, corner = (row[place - 1], above[place - 1]) if place else (0, 0)
            up = above[place]
            nearest = min((left, up, corner), key=lambda one: abs(left + up - corner - one))
            foretold = (0, left, up, (left + up) // 2, nearest)[filtering]
            found += bytes([(value - foretold) % 256])
        above = row
    return found


@pytest.mark.parametrize("filtering", range(5))
def test_a_pixel_s_colour_is_one_of_the_palette(filtering: int) -> None:
    rows = [[0, 1, 1, 0], [1, 0, 1, 1], [0, 1, 0, 1]]
    check(png(4, 3, colour=PALETTE, pixels=filtered(rows, filtering)), "logo", 1)
    for row in rows:
        for place, value in enumerate(row):
            for wrong in (2, 255):
                row[place] = wrong
                with pytest.raises(PngError, match="not in its palette"):
                    check(png(4, 3, colour=PALETTE, pixels=filtered(rows, filtering)), "logo", 1)
            row[place] = value


@pytest.mark.parametrize(
    ("depth", "colours", "good", "bad"),
    [
        (1, 1, b"\x00\x7f", b"\x00\x80"),  # the first bit is the ninth pixel's, and the others say nothing
        (2, 3, b"\x1a\x86\x3f", b"\x1b\x86\x3f"),
        (4, 15, b"\xee\xee\xee\xee\xef", b"\xee\xee\xee\xfe\xef"),
        (4, 15, b"\xee\xee\xee\xee\xef", b"\xee\xee\xee\xee\xfe"),
    ],
)
def test_a_pixel_s_colour_where_several_share_a_byte(
    depth: int, colours: int, good: bytes, bad: bytes
) -> None:
    def nine(row: bytes) -> bytes:
        data = png(9, 1, depth=depth, colour=PALETTE, pixels=b"\x00" + row)
        return data.replace(TWO_COLOURS, chunk(b"PLTE", b"\x00\x00\x00" * colours))

    check(nine(good), "logo", 1)
    with pytest.raises(PngError, match="not in its palette"):
        check(nine(bad), "logo", 1)


def test_a_pixel_s_colour_in_an_interlaced_image() -> None:
    check(png(10, 3, colour=PALETTE, interlaced=1, pixels=interlaced(4)), "logo", 1)
    with pytest.raises(PngError, match="not in its palette"):
        check(png(10, 3, colour=PALETTE, interlaced=1, pixels=interlaced(4)[:-1] + b"\x02"), "logo", 1)


def transparent(length: int) -> bytes:
    return chunk(b"tRNS", b"\x00" * length)


@pytest.mark.parametrize(("colour", "length"), [(0, 2), (2, 6), (PALETTE, 1), (PALETTE, 2)])
def test_transparency_is_as_long_as_the_colours_need(colour: int, length: int) -> None:
    check(png(4, 3, colour=colour, more=transparent(length)), "logo", 1)
    for another in (0, 3, 7):
        with pytest.raises(PngError, match="transparency"):
            check(png(4, 3, colour=colour, more=transparent(another)), "logo", 1)


@pytest.mark.parametrize(
    "data",
    [
        png(4, 3, colour=4, more=transparent(2)),
        png(4, 3, colour=6, more=transparent(6)),
        png(4, 3, more=transparent(6) * 2),
        png(4, 3, more=transparent(6) + TWO_COLOURS),
        png(4, 3)[:-12] + transparent(6) + chunk(b"IEND", b""),
    ],
)
def test_transparency_stands_once_and_in_its_place(data: bytes) -> None:
    with pytest.raises(PngError, match="transparency"):
        check(data, "logo", 1)


HEADER = chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 20, 8, 2, 0, 0, 0))


@pytest.mark.parametrize(
    "data",
    [
        png(40, 20, more=HEADER),
        png(40, 20, more=chunk(b"IHDR", b"")),
        png(40, 20, more=chunk(b"ABCD", b"")),
        png(40, 20, colour=PALETTE).replace(TWO_COLOURS, b""),
        png(40, 20, colour=PALETTE, more=TWO_COLOURS),  # two
        png(40, 20, colour=PALETTE).replace(TWO_COLOURS, b"")[:-12] + TWO_COLOURS + chunk(b"IEND", b""),
        png(40, 20, colour=0, more=TWO_COLOURS),
        png(40, 20, colour=4, more=TWO_COLOURS),
        png(40, 20, more=chunk(b"PLTE", b"")),
        png(40, 20, more=chunk(b"PLTE", b"\x00" * 4)),
        png(40, 20, more=chunk(b"PLTE", b"\x00" * 3 * 257)),
        png(40, 20, depth=1, colour=PALETTE).replace(TWO_COLOURS, chunk(b"PLTE", b"\x00" * 9)),
        SIGNATURE + HEADER + chunk(b"IEND", b""),
    ],
)
def test_chunks_that_are_missing_or_not_in_order_or_not_known(data: bytes) -> None:
    with pytest.raises(PngError, match=r"chunks|palette"):
        check(data, "logo", 1)


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
