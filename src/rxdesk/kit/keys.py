"""API keys: their form, their checksum and the organisation they name.

`rxd_live_` or `rxd_test_`, then 44 base62 characters: 6 of the organisation's number, 32 random, 6 of the
CRC32 of all that stands before. A secret scanner can recognise one, and a mistyped one is refused without a
look-up.
The organisation's number is a routing hint and proves nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections.abc import Callable

import msgspec

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Every request reads two numbers: two digits at a time.
_VALUES = {
    first + second: 62 * high + low
    for high, first in enumerate(_ALPHABET)
    for low, second in enumerate(_ALPHABET)
}
_FORM = re.compile(r"rxd_(?:live|test)_[0-9A-Za-z]{44}")
_NUMBER_LENGTH = 6
_NUMBER = slice(9, 9 + _NUMBER_LENGTH)
_RANDOM_LENGTH = 32
_CHECKSUM_LENGTH = 6
MAX_ORGANISATION = 2**31 - 1  # PostgreSQL's integer


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _number(digits: str) -> int:
    """Read six digits of base 62."""
    number = _VALUES[digits[:2]] * 3844 + _VALUES[digits[2:4]]
    return number * 3844 + _VALUES[digits[4:]]


class KeyReference(msgspec.Struct, frozen=True):
    """What a key of right form says of itself: where to look, and for which digest (SHA-256, 32 bytes)."""

    organisation_id: int
    digest: bytes


def digest_of(key: str) -> bytes:
    """Give the SHA-256 of a key; keys are random, so a slow hash would add nothing."""
    return hashlib.sha256(key.encode("ascii")).digest()


def new_key(organisation_id: int, *, live: bool = True, choose: Callable[[str], str] = secrets.choice) -> str:
    """Make a new API key for an organisation."""
    if not 0 < organisation_id <= MAX_ORGANISATION:
        message = f"organisation number {organisation_id} is outside 1–{MAX_ORGANISATION}"
        raise ValueError(message)
    text = "rxd_live_" if live else "rxd_test_"
    text += _base62(organisation_id, _NUMBER_LENGTH)
    text += "".join(choose(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return text + _base62(zlib.crc32(text.encode("ascii")), _CHECKSUM_LENGTH)


def read_key(key: str) -> KeyReference | None:
    """Read a key's reference, or None when it has not our form or its checksum is wrong."""
    if _FORM.fullmatch(key) is None:
        return None
    before, checksum = key[:-_CHECKSUM_LENGTH], key[-_CHECKSUM_LENGTH:]
    if zlib.crc32(before.encode("ascii")) != _number(checksum):
        return None
    number = _number(key[_NUMBER])
    if not 0 < number <= MAX_ORGANISATION:
        return None
    return KeyReference(organisation_id=number, digest=digest_of(key))


def hint_of(key: str) -> str:
    """Give what a list may show of a key: its kind and its last four characters."""
    return f"{key[:9]}…{key[-4:]}"
