"""What Google Wallet is given: a class for each template, and an object for each pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from rxdesk.wallet.card import Card, Field, Kind, Text
from rxdesk.wallet.naming import google_id

Family = Literal["generic", "loyalty", "offer", "eventTicket"]

FAMILY: Final[dict[Kind, Family]] = {
    "generic": "generic",
    "storeCard": "loyalty",
    "coupon": "offer",
    "eventTicket": "eventTicket",
}
"""What Google calls each kind of card."""

MOST_ROWS: Final = 3
"""Rows of a card's front that Google takes."""

_MOST_IN_ROW = 3
_ROWS = {1: ("oneItem", ("item",)), 2: ("twoItems", ("startItem", "endItem"))}
_ROW_OF_THREE = ("threeItems", ("startItem", "middleItem", "endItem"))

# One holder's card, on all of the holder's devices: nobody else can save it.
_HELD_BY = "ONE_USER_ALL_DEVICES"

# What a document may hold and need not, by its name: `None`, or the like of what is inside of it.
_Members = Mapping[str, Any]
_OF_TEXT: Final[_Members] = {"translatedValues": None}
_OF_CLASS: Final[dict[Family, _Members]] = {
    "generic": {},
    "loyalty": {"localizedProgramName": _OF_TEXT},
    "offer": {"localizedTitle": _OF_TEXT},
    "eventTicket": {"eventName": _OF_TEXT},
}
_OF_OBJECT: Final[dict[Family, _Members]] = {
    "generic": {"header": _OF_TEXT, "subheader": _OF_TEXT, "logo": None},
    "loyalty": {"accountName": None},
    "offer": {},
    "eventTicket": {"ticketHolderName": None},
}
_OF_ALL_CLASSES: Final[_Members] = {"classTemplateInfo": None, "callbackOptions": None}
_OF_ALL_OBJECTS: Final[_Members] = {
    "textModulesData": None,
    "linksModuleData": None,
    "barcode": {"alternateText": None},
    "validTimeInterval": None,
    "heroImage": None,
}


def class_id(card: Card, issuer: str) -> str:
    """Give the id of a card's class, which is its template's."""
    return google_id(issuer, card.template)


def object_id(card: Card, issuer: str) -> str:
    """Give the id of a card's object, which is its own."""
    return google_id(issuer, card.serial)


def class_document(card: Card, issuer: str, callback_url: str | None = None) -> dict[str, Any]:
    """Give the class of a template by a card that has all of its fields, whatever they say (`Issuer.pattern`).

    `callback_url` is told when a holder saves or deletes a pass. Raises ValueError when Google wants a logo that has no
    public address.
    """
    document: dict[str, Any] = {
        "id": class_id(card, issuer),
        "multipleDevicesAndHoldersAllowedStatus": _HELD_BY,
    }
    if rows := _rows(card):
        document["classTemplateInfo"] = {"cardTemplateOverride": {"cardRowTemplateInfos": rows}}
    if callback_url is not None:
        document["callbackOptions"] = {"url": callback_url}
    family = FAMILY[card.kind]
    if family == "generic":
        return document
    document |= {
        "issuerName": card.organisation,
        "reviewStatus": "UNDER_REVIEW",
        "hexBackgroundColor": card.background,
    }
    if family == "loyalty":
        if "logo" not in card.image_urls:
            raise ValueError("Google Wallet shows no store card without a logo")
        document |= {
            **_text("programName", card.title, card.language),
            "programLogo": _image(card.image_urls["logo"]),
        }
    elif family == "offer":
        document |= {
            **_text("title", card.title, card.language),
            "provider": card.organisation,
            "redemptionChannel": "BOTH",
        }
    else:
        document["eventName"] = localized(card.title, card.language)
    return document


def object_document(card: Card, issuer: str) -> dict[str, Any]:
    """Give the object of a card: what one holder's pass shows."""
    document: dict[str, Any] = {
        "id": object_id(card, issuer),
        "classId": class_id(card, issuer),
        "state": "INACTIVE" if card.voided else "ACTIVE",
    }
    if modules := [_module(field, card.language) for field in _in_modules(card)]:
        document["textModulesData"] = modules
    if card.links:
        document["linksModuleData"] = {
            "uris": [
                {"id": link.key, "uri": link.url, **_text("description", link.label, card.language)}
                for link in card.links
            ]
        }
    if card.barcode is not None:
        code = {"type": "QR_CODE", "value": card.barcode.content}
        document["barcode"] = code | (
            {"alternateText": card.barcode.alternative} if card.barcode.alternative else {}
        )
    if card.expires_at is not None:
        document["validTimeInterval"] = {"end": {"date": card.expires_at.isoformat()}}
    if "strip" in card.image_urls:
        document["heroImage"] = _image(card.image_urls["strip"])
    return document | _of_family(card)


def class_change(document: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """Give what changes a class to the document: null clears what it does not hold, and all else would stay."""
    return _cleared({**_OF_ALL_CLASSES, **_OF_CLASS[family]}, document)


def object_change(document: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """Give what changes an object to the document, likewise; its messages stay."""
    return _cleared({**_OF_ALL_OBJECTS, **_OF_OBJECT[family]}, document)


def _cleared(members: _Members, document: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        name: document.get(name) if inner is None or name not in document else _cleared(inner, document[name])
        for name, inner in members.items()
    }
    return {**document, **found}


def localized(text: Text, language: str) -> dict[str, Any]:
    """Write a text with its translations as Google does."""
    document: dict[str, Any] = {"defaultValue": {"language": language, "value": text.default}}
    if text.translations:
        document["translatedValues"] = [
            {"language": tag, "value": value} for tag, value in sorted(text.translations.items())
        ]
    return document


def _of_family(card: Card) -> dict[str, Any]:
    """Give what an object of one family has and others have not: the first primary field, mostly."""
    first = _leading(card)
    if card.kind == "generic":
        shown: dict[str, Any] = {
            "cardTitle": localized(Text(card.organisation), card.language),
            "header": localized(first.value if first else card.title, card.language),
            "hexBackgroundColor": card.background,
        }
        if first is not None and first.label.default:
            shown["subheader"] = localized(first.label, card.language)
        if "logo" in card.image_urls:
            shown["logo"] = _image(card.image_urls["logo"])
        return shown
    if first is None:
        return {}
    names = {"storeCard": "accountName", "eventTicket": "ticketHolderName"}
    return {names[card.kind]: first.value.default} if card.kind in names else {}


def _leading(card: Card) -> Field | None:
    """Give the field that leads the card, and stands in no row: the template's first primary one, if it is shown."""
    first = card.primary[0] if card.primary and card.kind != "coupon" else None
    return None if first is None or card.leading not in (None, first.key) else first


def _places(card: Card) -> list[tuple[Field, ...]]:
    """Give the fields of the front that stand in rows, by place."""
    taken = 0 if _leading(card) is None else 1
    return [card.header, card.primary[taken:], card.secondary, card.auxiliary]


def _in_modules(card: Card) -> Iterator[Field]:
    """Go through the fields that are shown as text modules; Google takes none without a text."""
    for field in itertools.chain(*_places(card), card.back):
        if field.value.default:
            yield field


def _module(field: Field, language: str) -> dict[str, Any]:
    header = _text("header", field.label, language) if field.label.default else {}
    return {"id": field.key, **header, **_text("body", field.value, language)}


def _text(name: str, text: Text, language: str) -> dict[str, Any]:
    """Write a text that Google takes plainly, and with its translations under another name."""
    if not text.translations:
        return {name: text.default}
    return {name: text.default, f"localized{name[0].upper()}{name[1:]}": localized(text, language)}


def _rows(card: Card) -> list[dict[str, Any]]:
    """Give the rows of the front: a place begins a new one, unless there are too few rows for that.

    What has no place in them is among the details, as what is on the back.
    """
    places = _places(card)
    rows = [chunk for place in places for chunk in _chunks(place)]
    if len(rows) > MOST_ROWS:
        rows = _chunks(tuple(itertools.chain(*places)))[:MOST_ROWS]
    return [_row(fields) for fields in rows]


def _chunks(fields: Sequence[Field]) -> list[Sequence[Field]]:
    return [fields[start : start + _MOST_IN_ROW] for start in range(0, len(fields), _MOST_IN_ROW)]


def _row(fields: Sequence[Field]) -> dict[str, Any]:
    name, slots = _ROWS.get(len(fields), _ROW_OF_THREE)
    return {
        name: {
            slot: {"firstValue": {"fields": [{"fieldPath": f"object.textModulesData['{field.key}']"}]}}
            for slot, field in zip(slots, fields, strict=True)
        }
    }


def _image(url: str) -> dict[str, Any]:
    return {"sourceUri": {"uri": url}}
