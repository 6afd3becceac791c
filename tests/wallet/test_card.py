"""What a card refuses, and how its texts are found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rxdesk.wallet.card import Card, Field, Link, Text


def card(**members: Any) -> Card:
    given: dict[str, Any] = {
        "kind": "generic",
        "serial": "wp-1",
        "template": "wpt-1",
        "organisation": "Praxis Nord",
        "description": Text("Patient card"),
        "title": Text("Praxis Nord"),
    }
    return Card(**(given | members))


def field(key: str, **translations: str) -> Field:
    return Field(key=key, label=Text("Name", translations), value=Text("Ada"))


def test_a_text_is_given_in_the_nearest_language() -> None:
    text = Text("Member", {"de": "Mitglied", "en-GB": "Member (UK)"})
    assert [text.in_language(tag) for tag in ("de", "de-AT", "en-GB", "en", "fr")] == [
        "Mitglied",
        "Mitglied",
        "Member (UK)",
        "Member",
        "Member",
    ]


def test_the_languages_are_those_of_all_texts() -> None:
    shown = card(
        primary=(field("name", de="Name"),),
        back=(Field(key="news", label=Text("News"), value=Text(""), change_message=Text("", {"fr": ""})),),
        links=(Link(key="site", label=Text("Site", {"es": "Sitio"}), url="https://example.com"),),
    )
    assert shown.languages() == ["de", "es", "fr"]


@pytest.mark.parametrize(
    "members",
    [
        {"background": "red"},
        {"images": {"logo": b""}},
        {"images": {"logo@4x": b""}},
        {"images": {"../logo@1x": b""}},
        {"language": "deutsch"},
        {"primary": (field("a"),), "back": (field("a"),)},
        {"primary": (field("a b"),)},
        {"expires_at": datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)},
    ],
)
def test_what_is_not_of_its_form_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        card(**members)


def test_a_language_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="language"):
        Text("Member", {"../de": "Mitglied"})
