"""Tokens of a pass: each for one purpose and one pass."""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from rxdesk.wallet.tokens import Purpose, fits, make_token, new_identity, read_token

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


def test_a_token_is_of_its_pass_and_purpose_only() -> None:
    mine, other = new_identity(), new_identity()
    assert mine.secret != other.secret
    for purpose in PURPOSES:
        reference = read_token(make_token("mdv4kx7w", mine, purpose))
        assert reference is not None
        assert (reference.public_code, reference.public_id) == ("mdv4kx7w", mine.public_id)
        assert [fits(reference, mine, one) for one in PURPOSES] == [one == purpose for one in PURPOSES]
        assert not any(fits(reference, other, one) for one in PURPOSES)


def test_nothing_of_the_secret_is_in_a_token() -> None:
    identity = new_identity()
    for purpose in PURPOSES:
        assert identity.secret[:8] not in make_token("mdv4kx7w", identity, purpose)


def test_it_is_what_it_was() -> None:
    """Phones hold these: the same secret must give the same tokens for ever."""
    identity = new_identity(random_bytes=bytes)
    assert make_token("mdv4kx7w", identity, "device") == "mdv4kx7w.AAAAAAAAAAAAAAAA._HTqVfuPNEJfLUYzyrQCtA"


@given(
    st.text(max_size=80)
    | st.from_regex(r"[a-z0-9]{8}\.[A-Za-z0-9_-]{15,17}\.[A-Za-z0-9_-]{21,23}\n?", fullmatch=True)
)
def test_whatever_is_read_is_of_the_form(text: str) -> None:
    reference = read_token(text)
    if reference is not None:
        code, public_id, signature = text.split(".")
        assert (reference.public_code, reference.public_id, reference.signature) == (
            code,
            public_id,
            signature,
        )
        assert (len(public_id), len(signature)) == (16, 22)
        assert text.isascii()
        assert "\n" not in text
