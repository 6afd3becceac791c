"""The strict door: what is JSON passes as it is; the rest is refused, with a reason that repeats nothing."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxdesk.kit.strict_json import MAX_DEPTH, MAX_INTEGER, StrictJsonError, loads

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=30)


def _depth(value: object) -> int:
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 0


@given(values, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_json_passes_as_it_is(value: Any, ascii_only: bool, indent: int | str | None) -> None:  # noqa: FBT001
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    if _depth(value) <= MAX_DEPTH:
        assert loads(text.encode()) == json.loads(text) == value


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:\\u0d8e-1.tfn \n', max_size=60).map(str.encode))
def test_any_bytes_are_json_or_refused(data: bytes) -> None:
    try:
        value = loads(data)
    except StrictJsonError as error:
        assert len(str(error)) < 150  # noqa: PT017 (what it says is judged, if it is raised)
    else:
        assert value == json.loads(data)


@given(st.text(alphabet='[]{}"\\a', max_size=300))
def test_depth_is_that_of_the_parser(text: str) -> None:
    """Whatever strings and brackets there are: our count of levels is that of what the parser reads."""
    try:
        value = loads(text.encode())
    except StrictJsonError:
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            return
        assert _depth(value) > MAX_DEPTH or not isinstance(value, list)
    else:
        assert _depth(value) <= MAX_DEPTH


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":', '["]",', '["\\"]",'])
def test_the_deepest(opening: str) -> None:
    levels = opening.count("[") + opening.count("{") - opening.count('"]"') * 0
    number = MAX_DEPTH // levels
    closing = "".join("]" if c == "[" else "}" for c in reversed(opening) if c in "[{")
    fits = opening * number + "1" + closing * number
    assert _depth(loads(fits.encode())) == MAX_DEPTH
    with pytest.raises(StrictJsonError, match="nested deeper than 32"):
        loads(f"[{fits}]".encode())


def test_brackets_in_strings_are_no_depth() -> None:
    text = json.dumps(["[" * 100, {"{[" * 50: "]" * 100}, '"[[' * 40, "\\" * 7 + "[" * 50])
    assert loads(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    "number", ["9007199254740992", "-9007199254740992", "0", "-0", "1.5", "1e308", "1E-400", "-1.0"]
)
def test_numbers_within_bounds(number: str) -> None:
    assert loads(number.encode()) == json.loads(number)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"9007199254740993", "an integer is outside"),
        (b"-9007199254740993", "an integer is outside"),
        (b"1" * 5000, "an integer is outside"),
        (b"1e309", "a number is too large"),
        (b"-1e999", "a number is too large"),
        (b"NaN", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (rb'"\u0000"', "a string holds NUL"),
        (rb'{"a\u0000": 1}', "a string holds NUL"),
        (rb'[[{"a": ["\ud800"]}]]', "a string holds a lone surrogate"),
        (rb'"\udfff\ud800"', "a string holds a lone surrogate"),
        (b'{"a": 1, "a": 1}', "a member name stands twice"),
        (rb'{"\u0061": 1, "a": 2}', "a member name stands twice"),
        (b'[{"b": {"a": 1, "a": 2}}]', "a member name stands twice"),
        (b"\xff", "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\xc0\x80"', "not UTF-8"),
        (b"\xef\xbb\xbf1", "not JSON"),
        (b"", "not JSON"),
        (b"\x00", "not JSON"),
        (b"01", "not JSON"),
        (b"+1", "not JSON"),
        (b".5", "not JSON"),
        (b"1.", "not JSON"),
        (b"0x10", "not JSON"),
        ("٣".encode(), "not JSON"),
        (b"'a'", "not JSON"),
        (b"[1,]", "not JSON"),
        (b"{1: 1}", "not JSON"),
        (b"1 1", "not JSON"),
        (b'"\t"', "not JSON"),
        (rb'"\x41"', "not JSON"),
        (rb'"\u+041"', "not JSON"),
        (b"True", "not JSON"),
        (b"\xc2\xa01", "not JSON"),
        (b"\x0c1", "not JSON"),
    ],
)
def test_refused(text: bytes, reason: str) -> None:
    with pytest.raises(StrictJsonError) as caught:
        loads(text)
    assert str(caught.value).startswith(reason)


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert loads(rb'"\ud83d\udc8a"') == "💊"


MALICE = {
    "strings without an end": b"[" * 40 + b'"' + b'\\"' * 500_000,
    "quotes": b"[" * 40 + b'"' * 1_000_000,
    "backslashes": b"[" * 40 + b"\\" * 1_000_000,
    "openings": b"[" * 1_000_000,
    "empty arrays": b"[]" * 500_000,
    "many empty arrays": b"[" + b"[]," * 330_000 + b"[]]",
    "integers": b"[" + b"1," * 500_000 + b"1]",
    "escapes": b"[" + b'"\\u0061",' * 110_000 + b'"a"]',
    "deep and many": b"[" + (b"[" * 16 + b"]" * 16 + b",") * 30_000 + b"1]",
    "a long fraction": b"[1." + b"1" * 1_000_000 + b"]",
    "a long exponent": b"[1e" + b"1" * 1_000_000 + b"]",
    "a long integer": b"9" * 1_000_000,
    "escaped NULs": b'"' + b"\\u0000" * 170_000 + b'"',
    "members": b"{" + b",".join(b'"%d":1' % number for number in range(100_000)) + b"}",
}


@pytest.mark.parametrize("what", MALICE)
def test_a_megabyte_of_malice_costs_no_time(what: str) -> None:
    started = time.process_time()
    with contextlib.suppress(StrictJsonError):
        loads(MALICE[what])
    assert time.process_time() - started < 5  # what is quadratic takes minutes
