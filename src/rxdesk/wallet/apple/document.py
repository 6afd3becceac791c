"""The document of an Apple pass, and the tables of its translations.

Every text in it is looked up on the device in the table of its language and shown as it is where the table has no line.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from typing import Any, Final

from rxdesk.wallet.card import VALUE, Card, Field, Kind, Link, Text

# Apple's least length of an authentication token.
LEAST_TOKEN: Final = 16
# developer.apple.com, Pass Design and Creation: what each style of pass has room for beside icon and logo.
_IMAGES: Final[Mapping[Kind, tuple[str, ...]]] = {
    "generic": ("thumbnail",),
    "storeCard": ("strip",),
    "coupon": ("strip",),
    "eventTicket": ("strip", "thumbnail"),
}
_NEW_VALUE = "%@"
# Shows nothing and joins nothing that stands at a text's end (WORD JOINER).
_INVISIBLE = "\u2060"


class Strings:
    """Gives each text its key, which is the text in the card's own language, and gathers the translations.

    Two texts that read the same but are translated differently (a name that is also a label) get different keys: the
    second one ends in a character that shows nothing.
    """

    def __init__(self) -> None:
        self._texts: dict[str, Text] = {}

    def key(self, text: Text) -> str:
        """Give the key of a text."""
        key = text.default
        while key in self._texts and self._texts[key].translations != text.translations:
            key += _INVISIBLE
        self._texts[key] = text
        return key

    def table(self, language: str) -> bytes:
        """Give the table of one language: a line for each text that has a translation into any."""
        lines = (
            f"{_quoted(key)} = {_quoted(text.in_language(language))};\n"
            for key, text in sorted(self._texts.items())
            if text.translations
        )
        return "".join(lines).encode()


def pass_document(card: Card, pass_type: str, team: str) -> tuple[dict[str, Any], Strings]:
    """Give what pass.json holds, and the texts in it. Raises ValueError when the authentication token is too short."""
    strings = Strings()
    document: dict[str, Any] = {
        "formatVersion": 1,
        "passTypeIdentifier": pass_type,
        "teamIdentifier": team,
        "serialNumber": card.serial,
        "organizationName": strings.key(Text(card.organisation)),
        "description": strings.key(card.description),
        "logoText": strings.key(card.title),
        "backgroundColor": _rgb(card.background),
        "foregroundColor": _rgb(card.foreground),
        "labelColor": _rgb(card.label_colour),
        card.kind: {
            "headerFields": list(_fields(card.header, strings)),
            "primaryFields": list(_fields(card.primary, strings)),
            "secondaryFields": list(_fields(card.secondary, strings)),
            "auxiliaryFields": list(_fields(card.auxiliary, strings)),
            "backFields": [*_fields(card.back, strings), *(_link(link, strings) for link in card.links)],
        },
    }
    if card.barcode is not None:
        code = {
            "format": "PKBarcodeFormatQR",
            "message": card.barcode.content,
            "messageEncoding": _encoding(card.barcode.content),
        }
        if card.barcode.alternative:
            code["altText"] = card.barcode.alternative
        document["barcodes"] = [code]
    if card.expires_at is not None:
        document["expirationDate"] = card.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if card.voided:
        document["voided"] = True
    if card.web_service is not None:
        if len(card.web_service.token) < LEAST_TOKEN:
            raise ValueError(f"an authentication token has at least {LEAST_TOKEN} characters")
        document["webServiceURL"] = card.web_service.url
        document["authenticationToken"] = card.web_service.token
    return document, strings


def images_of(card: Card) -> dict[str, bytes]:
    """Give the images that a device shows on such a card; an event ticket has no thumbnail beside a strip."""
    names = {name.partition("@")[0] for name in card.images}
    shown = {"icon", "logo", *[name for name in _IMAGES[card.kind] if name in names][:1]}
    return {name: content for name, content in card.images.items() if name.partition("@")[0] in shown}


def _fields(fields: Iterable[Field], strings: Strings) -> Iterator[dict[str, Any]]:
    for field in fields:
        entry = {"key": field.key, "label": strings.key(field.label), "value": strings.key(field.value)}
        if field.change_message is not None:
            entry["changeMessage"] = strings.key(_with_escape(field.change_message))
        yield entry


def _link(link: Link, strings: Strings) -> dict[str, Any]:
    shown = link.url.removeprefix("tel:").removeprefix("mailto:")
    return {
        "key": link.key,
        "label": strings.key(link.label),
        "value": shown,
        "attributedValue": f'<a href="{html.escape(link.url)}">{html.escape(shown)}</a>',
    }


def _with_escape(message: Text) -> Text:
    """Write a change message as Apple does."""
    return Text(
        message.default.replace(VALUE, _NEW_VALUE),
        {language: text.replace(VALUE, _NEW_VALUE) for language, text in message.translations.items()},
    )


def _rgb(colour: str) -> str:
    red, green, blue = bytes.fromhex(colour[1:])
    return f"rgb({red}, {green}, {blue})"


def _encoding(content: str) -> str:
    """Name the encoding that readers of codes expect, where it can say the content."""
    try:
        content.encode("iso-8859-1")
    except UnicodeEncodeError:
        return "utf-8"
    return "iso-8859-1"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'
