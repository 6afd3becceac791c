"""The strict door for JSON from outside, before any schema sees it.

UTF-8 only, at most 32 levels deep, no NaN or Infinity, no number that overflows, no lone surrogate, no NUL,
no duplicate member names, integers within ±2^53. msgspec lets most of these through, or stops with a
RecursionError.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)
"""What msgspec raises of text that did not come by this door: too deep, or not UTF-8, it is no error of its own."""

MAX_DEPTH = 32
MAX_INTEGER = 2**53
# Possessive, and a string without an end is matched too: so the search is linear whatever is sent.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")
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


def _check_depth(data: bytes) -> None:
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    brackets = _STRING.sub(b"", data).translate(_AS_BRACKETS, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):  # each round takes away the innermost level
        before, brackets = len(brackets), brackets.replace(b"[]", b"")
        if not brackets:
            return
        if len(brackets) == before:
            break
    # What is left is too deep, or does not match, which is the parser's to say.
    if b"[]" in brackets or brackets.count(b"[") > MAX_DEPTH:
        message = f"nested deeper than {MAX_DEPTH} levels"
        raise StrictJsonError(message)


def check_text(value: object) -> None:
    """Look at each text of a value that JSON could be; StrictJsonError for NUL or a lone surrogate in one."""
    if isinstance(value, str):
        if (found := _NOT_TEXT.search(value)) is not None:
            message = "a string holds NUL" if found[0] == "\x00" else "a string holds a lone surrogate"
            raise StrictJsonError(message)
    elif isinstance(value, list):
        for item in value:
            check_text(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            check_text(name)
            check_text(item)


def loads(data: bytes) -> Any:  # noqa: ANN401 (JSON has no narrower type before a schema gives one)
    """Decode one JSON text; StrictJsonError when it is not of the strict kind."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        message = "not UTF-8"
        raise StrictJsonError(message) from error
    _check_depth(data)
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
    if "\\u" in text:  # only an escape can bring NUL or a lone surrogate past the decoders
        check_text(value)
    return value
