"""API keys: form, checksum, routing."""

from __future__ import annotations

import hashlib
import random
import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxdesk.kit.keys import MAX_ORGANISATION, KeyReference, _base62, digest_of, hint_of, new_key, read_key

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
organisations = st.integers(1, MAX_ORGANISATION)


@given(organisations, st.booleans())
def test_a_key_names_its_organisation_and_digest(organisation: int, live: bool) -> None:  # noqa: FBT001
    key = new_key(organisation, live=live)
    assert key.startswith("rxd_live_" if live else "rxd_test_")
    assert len(key) == 9 + 44
    assert set(key[9:]) <= set(BASE62)
    assert read_key(key) == KeyReference(organisation, hashlib.sha256(key.encode()).digest())


def test_known_keys() -> None:
    """The form is public: it may not change by accident."""
    key = new_key(1, choose=lambda alphabet: alphabet[0])
    assert key == "rxd_live_000001" + "0" * 32 + key[-6:]
    assert key[-6:] == _crc32_in_base62(key[:-6])
    key = new_key(MAX_ORGANISATION, live=False, choose=lambda alphabet: alphabet[-1])
    assert key[:15] == "rxd_test_2LKcb1"
    assert key[15:47] == "z" * 32
    assert key[-6:] == _crc32_in_base62(key[:-6])


def _crc32_in_base62(text: str) -> str:
    """CRC-32 (ISO-HDLC), bit by bit."""
    crc = 0xFFFFFFFF
    for byte in text.encode():
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    number = crc ^ 0xFFFFFFFF
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits


def test_every_change_of_one_character_is_seen() -> None:
    key = new_key(4711)
    tried = 0
    for position in range(len(key)):
        for character in BASE62 + "_- \x00ä":
            if character != key[position]:
                assert read_key(key[:position] + character + key[position + 1 :]) is None
                tried += 1
    assert tried > 3000


def test_every_swap_of_neighbours_is_seen() -> None:
    key = new_key(123456)
    for position in range(9, len(key) - 1):
        swapped = key[:position] + key[position + 1] + key[position] + key[position + 2 :]
        assert swapped == key or read_key(swapped) is None


@given(
    st.text(max_size=80) | st.text(alphabet=BASE62 + "_", max_size=60).map(lambda text: "rxd_live_" + text)
)
def test_what_is_no_key_is_none(text: str) -> None:
    assert read_key(text) is None


def test_other_spellings_are_no_keys() -> None:
    key = new_key(99)
    for other in (key.lower(), key.upper(), key + "0", key[:-1], " " + key, key + "\n", key * 2):
        assert read_key(other) is None


def test_a_number_that_postgresql_has_not_is_no_key() -> None:
    for number in (0, MAX_ORGANISATION + 1, 62**6 - 1):
        text = "rxd_live_" + _base62(number, 6) + "a" * 32
        assert read_key(text + _base62(zlib.crc32(text.encode()), 6)) is None


@pytest.mark.parametrize("number", [0, -1, MAX_ORGANISATION + 1])
def test_an_organisation_out_of_range_has_no_key(number: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        new_key(number)


def test_keys_are_random() -> None:
    keys = {new_key(1)[15:47] for _ in range(1000)}
    assert len(keys) == 1000
    used = {character for key in keys for character in key}
    assert used == set(BASE62)
    seeded = random.Random(1)
    again = random.Random(1)
    assert new_key(1, choose=seeded.choice) == new_key(1, choose=again.choice)


def test_a_hint_shows_four_characters() -> None:
    key = new_key(1)
    assert hint_of(key) == f"rxd_live_…{key[-4:]}"
    assert key[9:-4] not in hint_of(key)
    assert len(digest_of(key)) == 32
