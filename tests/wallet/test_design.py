"""How many fields a device shows, by place and kind of card."""

from __future__ import annotations

from typing import Any

import pytest

from rxdesk.wallet.card import Kind
from rxdesk.wallet.design import PLACES, Design, DesignedField, Place, fields_of, objections

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
