"""DER: as much of it as a CMS signature is written and read with (ITU-T X.690)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
NULL: Final = b"\x05\x00"
OBJECT_IDENTIFIER: Final = 0x06
UTC_TIME: Final = 0x17
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONTEXT_0: Final = 0xA0  # constructed

_LONG = 0x80
_MULTIPLE_BYTE_TAG = 0x1F
# X.509 and CMS write years from 2050 on in another type.
_UTC_TIME_ENDS = 2050


class DerError(ValueError):
    """The bytes are not the DER that was expected."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its tag, what it holds, and all its bytes."""

    tag: int
    content: bytes
    encoded: bytes

    def inside(self) -> list[Element]:
        """Give the elements that it is made of. Raises DerError."""
        elements: list[Element] = []
        position = 0
        while position < len(self.content):
            element = read(self.content[position:], whole=False)
            elements.append(element)
            position += len(element.encoded)
        return elements


def write(tag: int, *parts: bytes) -> bytes:
    """Write one element that holds the parts, one after the other."""
    content = b"".join(parts)
    size = len(content)
    if size < _LONG:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG | len(length))) + length + content


def write_integer(value: int) -> bytes:
    """Write an integer that is not negative."""
    return write(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def write_identifier(dotted: str) -> bytes:
    """Write an object identifier such as `1.2.840.113549.1.7.2`."""
    first, second, *rest = (int(number) for number in dotted.split("."))
    content = bytearray()
    for number in (first * 40 + second, *rest):
        group = [number & 0x7F]
        while number := number >> 7:
            group.append(_LONG | number & 0x7F)
        content += bytes(reversed(group))
    return write(OBJECT_IDENTIFIER, bytes(content))


def write_utc_time(moment: datetime) -> bytes:
    """Write an instant to the second. Raises DerError from 2050 on."""
    moment = moment.astimezone(UTC)
    if moment.year >= _UTC_TIME_ENDS:
        raise DerError("a year from 2050 on is not written as UTCTime")
    return write(UTC_TIME, f"{moment:%y%m%d%H%M%SZ}".encode("ascii"))


def read(encoded: bytes, *, whole: bool = True) -> Element:
    """Read one element from the beginning; with `whole` nothing may follow it. Raises DerError."""
    if len(encoded) < 2 or encoded[0] & _MULTIPLE_BYTE_TAG == _MULTIPLE_BYTE_TAG:  # noqa: PLR2004 - tag and length
        raise DerError("no element of DER")
    start, size = 2, encoded[1]
    if size & _LONG:
        start = 2 + (size & ~_LONG)
        size = int.from_bytes(encoded[2:start], "big")
    end = start + size
    if end > len(encoded) or (whole and end < len(encoded)):
        raise DerError("an element is cut short, or something follows it")
    return Element(encoded[0], encoded[start:end], encoded[:end])
