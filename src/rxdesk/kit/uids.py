"""Uids: a type prefix, `-`, and a time-ordered random body, as in `ord-01JD3Z…`."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable

# Crockford's base 32: no I, L, O, U, so that a uid can be read out on the telephone.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [
    first + second for first in _ALPHABET for second in _ALPHABET
]  # every request makes one: two at a time
_SHIFTS = range(120, -1, -10)  # 26 characters: 48 bits of milliseconds (10), 80 random bits (16)
_FORM = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def new_uid(
    prefix: str,
    *,
    milliseconds: int | None = None,
    random_bits: Callable[[int], int] = secrets.randbits,
) -> str:
    """Make a new uid; `milliseconds` is the Unix time it is ordered by (default: now)."""
    moment = time.time_ns() // 1_000_000 if milliseconds is None else milliseconds
    number = (moment & (1 << 48) - 1) << 80 | random_bits(80)
    body = "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
    return f"{prefix}-{body}"


def new_uids(prefix: str, count: int) -> list[str]:
    """Make so many uids that sort in the order of the list: within one millisecond, chance alone would order them."""
    return sorted(new_uid(prefix) for _ in range(count))


def is_uid(text: str) -> bool:
    """Tell whether the text has the form of a uid: 1–64 characters of `[A-Za-z0-9._:-]`."""
    return _FORM.fullmatch(text) is not None
