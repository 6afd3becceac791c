"""The forms in which text is compared."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxdesk.kit.text import EMAIL_LENGTH, email_key, is_email, sort_key


def test_names_sort_as_people_look_for_them() -> None:
    names = [
        "Zöllner",
        "Ärzte",
        "anton",
        "Äpfel",
        "Strasse",
        "Straße",
        "Øre",
        "ﬁn",
        "Bär",
        "Bar",
        "İzmir",
        "Çelik",
    ]
    ordered = sorted(names, key=lambda name: (sort_key(name).encode(), name))
    assert ordered == [
        *(
            "anton",
            "Äpfel",
            "Ärzte",
            "Bar",
            "Bär",
            "Çelik",
            "ﬁn",
            "İzmir",
            "Strasse",
            "Straße",
            "Zöllner",
            "Øre",
        )
    ]


@given(st.text())
def test_a_sort_key_knows_no_case_and_no_marks(text: str) -> None:
    key = sort_key(text)
    assert not any(unicodedata.combining(character) for character in key)
    assert key == key.strip()
    assert sort_key(unicodedata.normalize("NFD", text)) == sort_key(unicodedata.normalize("NFC", text))


@given(st.text(st.characters(max_codepoint=0x24F)))
def test_a_sort_key_is_the_same_for_upper_and_lower_case(text: str) -> None:
    assert sort_key(text.casefold()) == sort_key(text)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("Max@Example.COM", "max@example.com"),
        (" max@example.com\n", "max@example.com"),
        ("MÜLLER@example.com", "mu\u0308ller@example.com"),
        ("STRASSE@example.com", "straße@example.com"),
    ],
)
def test_emails_that_are_the_same(one: str, same: str) -> None:
    assert email_key(one) == email_key(same)


@given(st.text())
def test_an_email_s_key_is_its_own_key(text: str) -> None:
    key = email_key(text)
    assert email_key(key) == key
    assert email_key(unicodedata.normalize("NFD", text)) == email_key(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(
    "text",
    [
        "a@b.de",
        "max.mustermann+x@example.co.uk",
        "müller@bücher.example",
        " a@b.de ",
        "a@[1.2.3.4].x",
        "a@b.c.d",
    ],
)
def test_emails(text: str) -> None:
    assert is_email(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "a", "a@", "@b.de", "a@b", "a@b.", "a@@b.de", "a@b@c.de", "a b@c.de", "a@b c.de"),
        *("a@b.de\x00", "a\x00@b.de", "a@b.d\x7f", "a\tb@c.de", "a@b\n.de"),
        "a" * 10_000 + "@example.com",
        "a@" + "b." * 5000 + "de",
    ],
)
def test_no_emails(text: str) -> None:
    assert not is_email(text)


def test_the_longest() -> None:
    longest = "a" * (EMAIL_LENGTH - len("@example.com")) + "@example.com"
    assert is_email(longest)
    assert not is_email("a" + longest)
