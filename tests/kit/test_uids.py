"""Uids: form and order."""

from __future__ import annotations

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxdesk.kit.uids import is_uid, new_uid, new_uids

FORM = re.compile(r"ord-[0-9A-HJKMNP-TV-Z]{26}")


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1))
def test_form(milliseconds: int, bits: int) -> None:
    uid = new_uid("ord", milliseconds=milliseconds, random_bits=lambda _: bits)
    assert FORM.fullmatch(uid)
    assert is_uid(uid)


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1))
def test_they_sort_by_time_then_by_chance(one: int, other: int) -> None:
    seeded = random.Random(one)
    first, second = [
        new_uid("ord", milliseconds=moment, random_bits=seeded.getrandbits) for moment in (one, other)
    ]
    if one != other:
        assert (first < second) == (one < other)
    low, high = [new_uid("ord", milliseconds=one, random_bits=lambda _, bits=bits: bits) for bits in (5, 6)]  # type: ignore[misc]
    assert low < high


def test_the_time_can_be_read_back() -> None:
    """ULID's layout: 48 bits of Unix milliseconds, 80 of chance, in Crockford's base 32."""
    assert new_uid("q", milliseconds=0, random_bits=lambda _: 0) == "q-" + "0" * 26
    assert new_uid("q", milliseconds=2**48 - 1, random_bits=lambda _: 2**80 - 1) == "q-7" + "Z" * 25
    assert new_uid("q", milliseconds=1469918176385, random_bits=lambda _: 0) == "q-01ARYZ6S41" + "0" * 16


def test_now_and_all_different() -> None:
    before = new_uid("ord", milliseconds=time.time_ns() // 1_000_000, random_bits=lambda _: 0)
    made = [new_uid("ord") for _ in range(10_000)]
    after = new_uid("ord", milliseconds=time.time_ns() // 1_000_000 + 1, random_bits=lambda _: 0)
    assert len(set(made)) == 10_000
    assert all(before <= uid < after for uid in made)


def test_several_sort_in_their_order() -> None:
    made = new_uids("pn", 1_000)
    assert made == sorted(set(made))
    assert len(made) == 1_000
    assert all(is_uid(uid) and uid.startswith("pn-") for uid in made)
    assert new_uids("pn", 0) == []


@pytest.mark.parametrize("text", ["a", "ord-abc123", "x" * 64, "A.b_c:d-9", "..", "-"])
def test_uids(text: str) -> None:
    assert is_uid(text)


@pytest.mark.parametrize(
    "text", ["", "x" * 65, "a b", "a/b", "a\n", "a\x00", "ä", "٣", "💊", "a%", "a'", "a\ud800"]
)
def test_no_uids(text: str) -> None:
    assert not is_uid(text)
