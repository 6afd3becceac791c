"""What a design may not be: more than a device shows, or a pass should hold; and texts that nothing fills."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rxdesk.wallet.card import Kind
from rxdesk.wallet.design import (
    MESSAGE_KEY,
    MOST_BYTES,
    MOST_LANGUAGES,
    MOST_NAMES,
    PLACES,
    Design,
    DesignedField,
    DesignedLink,
    Place,
    fields_of,
    objections,
)

KINDS: tuple[Kind, ...] = ("generic", "storeCard", "coupon", "eventTicket")


def design(counts: dict[Place, int], **members: Any) -> Design:
    fields = [
        DesignedField(key=f"{place}_{number}", place=place, label="X", value="x")
        for place, count in counts.items()
        for number in range(count)
    ]
    return Design(fields=fields, **members)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("place", "most"), [("header", 3), ("primary", 1), ("secondary", 4), ("auxiliary", 4)]
)
def test_a_place_has_room_for_so_many(kind: Kind, place: Place, most: int) -> None:
    assert list(objections(design({place: most}), [], kind)) == []
    said = "".join(objections(design({place: most + 1}, barcode="none"), [], kind))
    assert f"at {place}, and there are {most + 1}: {place}_0" in said


@pytest.mark.parametrize("kind", KINDS)
def test_a_square_code_takes_the_room_of_a_row(kind: Kind) -> None:
    full: dict[Place, int] = {"secondary": 4, "auxiliary": 1}
    said = list(objections(design(full), [], kind))
    if kind == "eventTicket":
        assert said == []
    else:
        [objection] = said
        assert f"at most 4 fields at secondary and auxiliary together of a {kind} with a code" in objection
        assert "there are 5: secondary_0, secondary_1, secondary_2, secondary_3, auxiliary_0" in objection
    assert list(objections(design({"secondary": 4, "auxiliary": 4}, barcode="none"), [], kind)) == []


def test_the_back_has_room_for_all() -> None:
    assert list(objections(design({"back": 40}), [], "generic")) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("barcode", ["qr", "none"])
def test_what_no_design_places_fits(kind: Kind, barcode: Any) -> None:
    names = [f"name{number}" for number in range(12)]
    fields = fields_of(Design(barcode=barcode), names, kind)
    assert [field.value for field in fields] == ["{display_name}", *(f"{{{name}}}" for name in names)]
    placed = Design(fields=fields, barcode=barcode)
    assert list(objections(placed, names, kind)) == []
    front = {place: sum(field.place == place for field in fields) for place in PLACES}
    assert front["secondary"] == 4
    assert front["auxiliary"] == (4 if kind == "eventTicket" or barcode == "none" else 0)


@pytest.mark.parametrize("names", [["points"], ["points", "points"], ["holder", "points"]])
def test_what_no_design_places_has_keys_that_no_link_has(names: list[str]) -> None:
    links = [DesignedLink(key=key, label="Help", url="tel:1") for key in ("holder", "field_points", "points")]
    placed = fields_of(Design(links=links), names, "generic")
    keys = [*(field.key for field in placed), *(link.key for link in links), MESSAGE_KEY]
    assert len(set(keys)) == len(keys)
    assert [field.value for field in placed] == [
        "{display_name}",
        *(f"{{{name}}}" for name in dict.fromkeys(names)),
    ]
    assert list(objections(Design(links=links), names, "generic")) == []


def test_a_link_that_no_field_can_be_told_from_is_refused() -> None:
    """It has the very key that a field has where its own is a link's."""
    first = DesignedLink(key="holder", label="Help", url="tel:1")
    [holder] = fields_of(Design(links=[first]), [], "generic")
    both = Design(links=[first, DesignedLink(key=holder.key, label="Help", url="tel:1")])
    assert list(objections(both, [], "generic")) == [
        "keys of fields and links must be unique, and `message` is taken"
    ]


def labelled(**members: Any) -> Design:
    """A design with one field, whose members are given, and a link."""
    field = {"key": "points", "place": "back", "label": "Points", "value": "{points} of {first_name}"}
    link = DesignedLink(key="help", label=members.pop("link", "Help"), url="tel:1")
    names = ("label", "value", "change_message")
    given = {name: members.pop(name) for name in names if name in members}
    return Design(fields=[DesignedField(**field | given)], links=[link], **members)


@pytest.mark.parametrize(
    ("member", "where"),
    [
        ("label", "the label of points"),
        ("link", "the label of help"),
        ("title", "title"),
        ("description", "description"),
        ("message_label", "message_label"),
    ],
)
@pytest.mark.parametrize("name", ["first_name", "points", "no_such"])
def test_only_values_take_placeholders(member: str, where: str, name: str) -> None:
    said = f"{where} has {{{name}}}, and only the values of fields take placeholders"
    assert list(objections(labelled(**{member: f"Of {{{name}}}"}), ["points"], "generic")) == [said]
    words = {"en": "Points", "de": f"Punkte {{ {name} }}"}
    assert list(objections(labelled(**{member: words}), ["points"], "generic")) == [said]
    assert list(objections(labelled(**{member: "Braces: {} { }"}), ["points"], "generic")) == []


def test_the_text_below_the_code_takes_none_either() -> None:
    said = "barcode_text has {points}, and only the values of fields take placeholders"
    assert list(objections(labelled(barcode_text="Nr. {points}"), ["points"], "generic")) == [said]


def test_a_change_message_takes_the_value_alone() -> None:
    assert list(objections(labelled(change_message="Now {value}"), ["points"], "generic")) == []
    said = "the change_message of points has {first_name}, and takes {value} alone"
    both = labelled(change_message="{first_name}: {value}")
    assert list(objections(both, ["points"], "generic")) == [said]


def languages(count: int) -> list[str]:
    return ["en", *(f"{chr(97 + number // 26)}{chr(97 + number % 26)}y" for number in range(count - 1))]


def test_a_design_has_so_many_languages() -> None:
    tags = languages(MOST_LANGUAGES + 1)
    assert list(objections(labelled(title=dict.fromkeys(tags[:-1], "x")), ["points"], "generic")) == []
    said = "the design has texts in 31 languages, and may have them in 30"
    assert list(objections(labelled(title=dict.fromkeys(tags, "x")), ["points"], "generic")) == [said]
    spread = labelled(title=dict.fromkeys(tags[:20], "x"), label=dict.fromkeys(["en", *tags[20:]], "x"))
    assert list(objections(spread, ["points"], "generic")) == [said]


def test_a_template_has_so_many_fields() -> None:
    names = [f"name{number}" for number in range(MOST_NAMES + 1)]
    assert list(objections(Design(), names[:-1], "generic")) == []
    said = "the template has 101 fields, and may have 100"
    assert list(objections(Design(), names, "generic")) == [said]


def test_a_design_is_so_large_as_json() -> None:
    """It is counted in bytes of UTF-8."""
    texts = dict.fromkeys(languages(MOST_LANGUAGES), "ß" * 500)
    fields = [
        DesignedField(key=f"f{number}", place="back", label=texts, value="x", change_message=None)
        for number in range(2)
    ]

    def of_size(size: int) -> Design:
        base = Design(fields=fields, title="x")
        return msgspec.structs.replace(base, title="x" * (size - len(msgspec.json.encode(base)) + 1))

    assert list(objections(of_size(MOST_BYTES), [], "generic")) == []
    said = "the design has 65 KiB without its images, and may have 64 KiB"
    assert list(objections(of_size(MOST_BYTES + 1), [], "generic")) == [said]
