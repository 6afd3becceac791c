"""A card: what a pass shows, told in neither wallet's words.

It is filled from the database, shown by the landing page, and made into an Apple pass and a Google object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, Literal

import msgspec

Kind = Literal["generic", "storeCard", "eventTicket", "coupon"]

_COLOUR = re.compile(r"#[0-9a-f]{6}")
_IMAGE = re.compile(r"(icon|logo|strip|thumbnail)@[123]x")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")
_KEY = re.compile(r"[A-Za-z0-9_]{1,64}")

# Stands in a change message for the field's new value.
VALUE: Final = "{value}"


class Text(msgspec.Struct, frozen=True):
    """A text and its translations.

    `default` is in the card's own language; `translations` goes by BCP 47 tag (`de`, `en-GB`, `zh-Hans`).
    """

    default: str
    translations: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        for language in self.translations:
            if _LANGUAGE.fullmatch(language) is None:
                raise ValueError("a language is not of the form de, en-GB or zh-Hans")

    def in_language(self, language: str) -> str:
        """Give the text in a language; else in that language without its region; else the default."""
        for tag in (language, language.partition("-")[0]):
            if tag in self.translations:
                return self.translations[tag]
        return self.default


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One labelled value of a card.

    `key` is unique within the card. `change_message` is what the holder's device shows when the value has changed,
    with `{value}` for the new one; without it the device shows nothing.
    """

    key: str
    label: Text
    value: Text
    change_message: Text | None = None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An address that the holder may open: `https:`, `tel:` or `mailto:`."""

    key: str
    label: Text
    url: str


class Barcode(msgspec.Struct, frozen=True, kw_only=True):
    """A QR code: what it holds, and what is written below it."""

    content: str
    alternative: str = ""


class WebService(msgspec.Struct, frozen=True, kw_only=True):
    """Where a device asks for newer versions of the pass, and what it proves itself with."""

    url: str
    token: str


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What a pass shows, and how. ValueError when a colour, an image's name or a key is not of its form.

    `serial` is what wallets call the pass, `template` what they call its template (`naming`). `language` is the one of
    all default texts. Colours are `#rrggbb`, lower case. `images` holds PNG files by name and scale (`icon`, `logo`,
    `strip`, `thumbnail`; `logo@2x`); `image_urls` holds public addresses by name alone, for a wallet that fetches them
    itself. `expires_at` has a time zone. `voided` is a card that was revoked. `leading` is the key of the template's
    first primary field, which is not among `primary` where the holder has nothing in it; None: whichever is the first.
    """

    kind: Kind
    serial: str
    template: str
    organisation: str
    description: Text
    title: Text
    language: str = "en"
    background: str = "#ffffff"
    foreground: str = "#000000"
    label_colour: str = "#000000"
    images: Mapping[str, bytes] = {}
    image_urls: Mapping[str, str] = {}
    header: tuple[Field, ...] = ()
    primary: tuple[Field, ...] = ()
    secondary: tuple[Field, ...] = ()
    auxiliary: tuple[Field, ...] = ()
    back: tuple[Field, ...] = ()
    leading: str | None = None
    links: tuple[Link, ...] = ()
    barcode: Barcode | None = None
    expires_at: datetime | None = None
    voided: bool = False
    web_service: WebService | None = None

    def __post_init__(self) -> None:
        for colour in (self.background, self.foreground, self.label_colour):
            if _COLOUR.fullmatch(colour) is None:
                raise ValueError("a colour is not of the form #rrggbb")
        if not all(_IMAGE.fullmatch(name) for name in self.images):
            raise ValueError("an image's name is not of the form logo@2x")
        if _LANGUAGE.fullmatch(self.language) is None:
            raise ValueError("the card's language is not of the form de, en-GB or zh-Hans")
        keys = [field.key for field in self.fields()] + [link.key for link in self.links]
        if len(set(keys)) < len(keys) or not all(_KEY.fullmatch(key) for key in keys):
            raise ValueError("keys of fields and links are unique, of 1 to 64 letters, digits and _")
        if self.expires_at is not None and self.expires_at.utcoffset() is None:
            raise ValueError("the end of a card has a time zone")

    def fields(self) -> Iterator[Field]:
        """Go through all fields, front to back."""
        for place in (self.header, self.primary, self.secondary, self.auxiliary, self.back):
            yield from place

    def languages(self) -> list[str]:
        """Name the languages of all translations, in order, without the card's own."""
        texts = [self.description, self.title, *(link.label for link in self.links)]
        for field in self.fields():
            texts += [field.label, field.value]
            if field.change_message is not None:
                texts.append(field.change_message)
        return sorted({tag for text in texts for tag in text.translations} - {self.language})
