"""What Google Wallet is given: a class for each template, and an object for each pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
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

_MOST_IN_ROW = 3
_ROWS = {1: ("oneItem", ("item",)), 2: ("twoItems", ("startItem", "endItem"))}
_ROW_OF_THREE = ("threeItems", ("startItem", "middleItem", "endItem"))


def class_id(card: Card, issuer: str) -> str:
    """Give the id of a card's class, which is its template's."""
    return google_id(issuer, card.template)


def object_id(card: Card, issuer: str) -> str:
    """Give the id of a card's object, which is its own."""
    return google_id(issuer, card.serial)


def class_document(card: Card, issuer: str, callback_url: str | None = None) -> dict[str, Any]:
    """Give the class of a card: the same for each card of a template.

    `callback_url` is told when a holder saves or deletes a pass. Raises ValueError when Google wants a logo that has no
    public address.
    """
    document: dict[str, Any] = {"id": class_id(card, issuer)}
    if rows := list(_rows(card)):
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
    first = card.primary[0] if card.primary else None
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


def _in_modules(card: Card) -> Iterator[Field]:
    """Go through the fields that are shown as text modules; Google takes none without a text."""
    taken = 0 if card.kind == "coupon" else 1
    for field in itertools.chain(
        card.header, card.primary[taken:], card.secondary, card.auxiliary, card.back
    ):
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


def _rows(card: Card) -> Iterator[dict[str, Any]]:
    """Give the rows of the front: places in their order, up to three fields in a row."""
    taken = 0 if card.kind == "coupon" else 1
    for place in (card.header, card.primary[taken:], card.secondary, card.auxiliary):
        for start in range(0, len(place), _MOST_IN_ROW):
            yield _row(place[start : start + _MOST_IN_ROW])


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
