"""The goodbye of an HTTP/2 server (GOAWAY), taken out of what it sends before h2 sees it (RFC 9113, section 6.8)."""

from __future__ import annotations

from dataclasses import dataclass

_HEADER = 9
_GOAWAY = 7
_FIXED = 8
_STREAM_BITS = 0x7FFF_FFFF
# What a client that says nothing else takes.
_LONGEST = 1 << 14


class FrameTooLongError(ValueError):
    """A frame announces more than is taken: h2 would wait for all of it before it refuses."""


@dataclass(frozen=True, slots=True)
class GoAway:
    """A goodbye: the last stream that the server looked at, why, and what it says of it (APNs: JSON)."""

    last_stream_id: int
    error_code: int
    debug: bytes


class GoAwayFilter:
    """Splits what comes into frames; bytes may come in any pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> tuple[bytes, GoAway | None]:
        """Give what h2 is to see, and the last goodbye among the whole frames, if there is one.

        Raises FrameTooLongError.
        """
        self._rest += data
        kept: list[bytes] = []
        goodbye: GoAway | None = None
        position = 0
        while len(self._rest) - position >= _HEADER:
            size = int.from_bytes(self._rest[position : position + 3], "big")
            end = position + _HEADER + size
            if size > _LONGEST:
                raise FrameTooLongError
            if end > len(self._rest):
                break
            frame = self._rest[position:end]
            if frame[3] == _GOAWAY and size >= _FIXED:
                goodbye = _read(frame[_HEADER:])
            else:
                kept.append(frame)
            position = end
        self._rest = self._rest[position:]
        return b"".join(kept), goodbye


def _read(payload: bytes) -> GoAway:
    last = int.from_bytes(payload[:4], "big") & _STREAM_BITS
    return GoAway(last, int.from_bytes(payload[4:8], "big"), payload[8:])
