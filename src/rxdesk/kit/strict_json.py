"""The strict door for JSON from outside, before any schema sees it.

UTF-8 only, at most 32 levels deep, no NaN or Infinity, no number that overflows, no lone surrogate, no NUL, no
duplicate member names, integers within ±2^53. msgspec lets most of these through, or stops with a RecursionError.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 32
MAX_INTEGER = 2**53
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_INTEGER_DIGITS = 17  # a sign and the sixteen digits of 2^53


class StrictJsonError(ValueError):
    """The text is not JSON of the strict kind; the message says why, without repeating the text."""


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise StrictJsonError(message)


def _integer(text: str) -> int:
    if len(text) > _INTEGER_DIGITS or abs(number := int(text)) > MAX_INTEGER:
        message = "an integer is outside -2^53 to 2^53"
        raise StrictJsonError(message)
    return number


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        message = "a number is too large"
        raise StrictJsonError(message)
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        message = "a member name stands twice in one object"
        raise StrictJsonError(message)
    return members


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels"
            raise StrictJsonError(message)


def _check_text(value: object) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            message = "a string holds NUL"
            raise StrictJsonError(message)
        if any("\ud800" <= character <= "\udfff" for character in value):
            message = "a string holds a lone surrogate"
            raise StrictJsonError(message)
    elif isinstance(value, list):
        for item in value:
            _check_text(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_text(name)
            _check_text(item)


def loads(data: bytes) -> Any:  # noqa: ANN401 (JSON has no narrower type before a schema gives one)
    """Decode one JSON text; StrictJsonError when it is not of the strict kind."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        message = "not UTF-8"
        raise StrictJsonError(message) from error
    _check_depth(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise StrictJsonError(message) from error
    except RecursionError as error:  # unbalanced brackets inside a broken string can hide depth from the count
        message = f"nested deeper than {MAX_DEPTH} levels"
        raise StrictJsonError(message) from error
    if "\\u" in text:  # only an escape can bring NUL or a lone surrogate past the decoders
        _check_text(value)
    return value
