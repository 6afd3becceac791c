"""Sealed secrets open in their place only, with a key of the ring only, unchanged only."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxdesk.kit.sealing import Place, Sealer, SealError, keys_beside, new_keys, read_keys

PLACE = Place(1, "ns-1", "notification_subscriptions.sealed_signing_secret")
OLD, NEW = bytes(range(32)), bytes(range(32, 64))


def test_it_opens_again() -> None:
    sealer = Sealer({"k1": OLD})
    for text in ("", "whsec_abc", "ä€💊", "x" * 100_000):
        assert sealer.open(sealer.seal(text, PLACE), PLACE) == text


@given(
    st.text(st.characters(exclude_categories=["Cs"])), st.text("abc-/", min_size=1), st.integers(1, 2**31 - 1)
)
def test_any_text_in_any_place(text: str, uid: str, organisation: int) -> None:
    sealer, place = Sealer({"k": OLD}), Place(organisation, uid, "table.column")
    assert sealer.open(sealer.seal(text, place), place) == text


def test_each_time_is_another_and_shows_nothing() -> None:
    sealer = Sealer({"k1": OLD})
    sealed = {sealer.seal("whsec_abc", PLACE) for _ in range(100)}
    assert len(sealed) == 100
    assert not any(b"whsec" in value for value in sealed)


@pytest.mark.parametrize(
    "place",
    [
        Place(2, PLACE.uid, PLACE.column),
        Place(1, "ns-2", PLACE.column),
        Place(1, PLACE.uid, "notification_subscriptions.sealed_header_value"),
        Place(11, PLACE.uid, PLACE.column),
    ],
)
def test_moved_it_does_not_open(place: Place) -> None:
    sealer = Sealer({"k1": OLD})
    with pytest.raises(SealError):
        sealer.open(sealer.seal("secret", PLACE), place)


def test_changed_it_does_not_open() -> None:
    sealer = Sealer({"k1": OLD, "k2": NEW})
    sealed = sealer.seal("secret", PLACE)
    for position in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[position] ^= 1 << bit
            with pytest.raises(SealError):
                sealer.open(bytes(changed), PLACE)
    for length in range(len(sealed)):
        with pytest.raises(SealError):
            sealer.open(sealed[:length], PLACE)
    with pytest.raises(SealError):
        sealer.open(sealed + b"\x00", PLACE)


@given(st.binary(max_size=80))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(SealError):
        Sealer({"k1": OLD}).open(data, PLACE)


def test_a_key_is_replaced_without_losing_what_the_old_one_sealed() -> None:
    before = Sealer({"k1": OLD})
    sealed = before.seal("secret", PLACE)
    both = Sealer({"k2": NEW, "k1": OLD})
    assert both.open(sealed, PLACE) == "secret"
    fresh = both.seal("secret", PLACE)
    after = Sealer({"k2": NEW})
    assert after.open(fresh, PLACE) == "secret"
    with pytest.raises(SealError, match="not configured"):
        after.open(sealed, PLACE)
    with pytest.raises(SealError):
        Sealer({"k1": NEW}).open(sealed, PLACE)


def test_errors_name_no_secret() -> None:
    sealer = Sealer({"k1": OLD})
    with pytest.raises(SealError) as caught:
        sealer.open(sealer.seal("very secret", PLACE)[:-1], PLACE)
    assert "secret" not in str(caught.value)


def test_a_ring_is_read_in_its_order() -> None:
    text = f"k2:{base64.b64encode(NEW).decode()},k1:{base64.urlsafe_b64encode(OLD).decode()}\n"
    assert list(read_keys(text).items()) == [("k2", NEW), ("k1", OLD)]
    assert read_keys("") == {}
    with pytest.raises(ValueError, match="no encryption key"):
        Sealer({})


@pytest.mark.parametrize(
    "text", ["k1", "k1:", "k1:AAAA", ":" + "A" * 44, "k1:" + "!" * 44, "k1:" + "A" * 45, "ä:" + "A" * 43]
)
def test_a_bad_key_is_refused_unnamed(text: str) -> None:
    with pytest.raises(ValueError, match="encryption key 1 is not of the form") as caught:
        read_keys(text)
    assert text not in str(caught.value)


def test_a_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    first = keys_beside(tmp_path)
    assert keys_beside(tmp_path) == first
    assert len(read_keys(first)) == 1
    assert stat.S_IMODE((tmp_path / "encryption.key").stat().st_mode) == 0o600
    assert new_keys() != new_keys()
