"""What a template says of the look of its passes: colours, fields in several languages, the barcode, links."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec

from rxdesk.wallet.card import VALUE, Kind, Text
from rxdesk.wallet.placeholders import PERSONAL, names_in

Place = Literal["header", "primary", "secondary", "auxiliary", "back"]
PLACES: Final[tuple[Place, ...]] = get_args(Place)
# What a device shows at most of each place of the front; it leaves out what is more, and says nothing.
MOST_FIELDS: Final[Mapping[Place, int]] = {"header": 3, "primary": 1, "secondary": 4, "auxiliary": 4}
MOST_BESIDE_CODE: Final = (
    4  # of secondary and auxiliary together where a square code takes the second row's place
)
_CODE_BELOW: Final[frozenset[Kind]] = frozenset({"generic", "storeCard", "coupon"})
_LONGEST_KEY = 64
MESSAGE_KEY: Final = "message"
MOST_NAMES: Final = 100
"""Fields of a template, which its passes fill: a pass takes so many values at once."""
MOST_LANGUAGES: Final = 30
MOST_BYTES: Final = 64 * 1024
"""A design as JSON in UTF-8, images aside: each pass holds all of it, and is loaded anew with each change."""
_URL = re.compile(r"(?:https://|tel:|mailto:)[!-~]{1,2000}")

Language = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?(?![\s\S])")]
Colour = Annotated[str, msgspec.Meta(pattern=r"^#[0-9a-f]{6}(?![\s\S])")]
Key = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_]{1,64}(?![\s\S])")]
Phrase = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
# `objections` counts the languages: what was stored before there was a limit can still be read.
_OfLanguages = Annotated[
    dict[Language, Phrase], msgspec.Meta(extra_json_schema={"maxProperties": MOST_LANGUAGES})
]
Words: TypeAlias = Phrase | _OfLanguages
"""A text in the design's own language, or in each of several, that one included."""


class DesignedField(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A labelled value: `value` takes the placeholders that messages take, `change_message` takes `{value}`."""

    key: Key
    place: Place
    label: Words
    value: Words
    change_message: Words | None = None


class DesignedLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address that the holder may open: `https:`, `tel:` or `mailto:`."""

    key: Key
    label: Words
    url: Annotated[str, msgspec.Meta(max_length=2000)]


class Design(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The look of a template's passes; each member may be left out.

    `language` is that of all texts that name none. Without `fields` the holder's name and the template's fields are
    shown under their names. `barcode_text` is written below the code. `message_label` names the field that the last
    message stands in. All of it has at most 64 KiB, and texts in 30 languages; only values take placeholders.
    """

    language: Language = "en"
    title: Words | None = None
    description: Words | None = None
    background: Colour = "#ffffff"
    foreground: Colour = "#1c1c1e"
    label_colour: Colour = "#636366"
    fields: Annotated[list[DesignedField], msgspec.Meta(max_length=40)] | None = None
    links: Annotated[list[DesignedLink], msgspec.Meta(max_length=10)] = []
    barcode: Literal["qr", "none"] = "qr"
    barcode_text: Annotated[str, msgspec.Meta(max_length=64)] = ""
    message_label: Words | None = None

    def text(self, words: Words) -> Text:
        """Give a text of the design with its translations."""
        if isinstance(words, str):
            return Text(words)
        others = {tag: phrase for tag, phrase in words.items() if tag != self.language}
        return Text(words[self.language], others)


def fields_of(design: Design, names: list[str], kind: Kind) -> list[DesignedField]:
    """Give the fields of a design, or those that are shown where it names none; `names` are the template's fields."""
    if design.fields is not None:
        return design.fields
    names = list(dict.fromkeys(names))
    taken = {link.key for link in design.links}
    holder = _free("holder", taken)
    shown = [DesignedField(key=holder, place="primary", label="Name", value="{display_name}")]
    places: list[Place] = ["secondary"] * MOST_FIELDS["secondary"]
    if not _shares_a_row(design, kind):
        places += ["auxiliary"] * MOST_FIELDS["auxiliary"]
    places += ["back"] * len(names)
    for name, place in zip(names, places, strict=False):
        label = name.replace("_", " ").capitalize()
        shown.append(DesignedField(key=_key_of(name, taken), place=place, label=label, value=f"{{{name}}}"))
    return shown


def _key_of(name: str, taken: set[str]) -> str:
    """Give the key of a field that no design names: always the same one, and another for each name."""
    key = f"field_{name}"
    return _free(key if len(key) <= _LONGEST_KEY else _digest(name), taken)


def _free(key: str, taken: set[str]) -> str:
    """Give a key, or one in its place where a link of the design has it."""
    return _digest(key) if key in taken else key


def _digest(text: str) -> str:
    return f"long_{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _shares_a_row(design: Design, kind: Kind) -> bool:
    return design.barcode == "qr" and kind in _CODE_BELOW


def objections(design: Design, names: list[str], kind: Kind) -> Iterator[str]:
    """Say what is wrong with a design beyond its form; `names` are the fields of its template."""
    yield from _too_much(design, names)
    fields = design.fields or []
    shown = fields_of(design, names, kind)
    keys = [MESSAGE_KEY, *(field.key for field in shown), *(link.key for link in design.links)]
    if len(set(keys)) < len(keys):
        yield f"keys of fields and links must be unique, and `{MESSAGE_KEY}` is taken"
    for where, words in _texts(design):
        if isinstance(words, dict) and design.language not in words:
            yield f"{where} has no text in {design.language}, the design's language"
    yield from _unfilled(design)
    yield from _crowded(design, kind)
    for field in fields:
        yield from _field_objections(field, names)
    for link in design.links:
        if _URL.fullmatch(link.url) is None:
            yield f"the url of {link.key} must begin with https://, tel: or mailto:"


def _too_much(design: Design, names: list[str]) -> Iterator[str]:
    """Say what of a design, or of its template's fields, is more than it may have."""
    size = len(msgspec.json.encode(design))
    if size > MOST_BYTES:
        yield f"the design has {-(-size // 1024)} KiB without its images, and may have {MOST_BYTES // 1024} KiB"
    languages = {tag for _, words in _texts(design) if isinstance(words, dict) for tag in words}
    if len(languages) > MOST_LANGUAGES:
        yield f"the design has texts in {len(languages)} languages, and may have them in {MOST_LANGUAGES}"
    if len(names) > MOST_NAMES:
        yield f"the template has {len(names)} fields, and may have {MOST_NAMES}"


def _unfilled(design: Design) -> Iterator[str]:
    """Say which texts have placeholders that nothing fills, so that holders would read them as they stand."""
    for where, words in _labels(design):
        for name in (name for phrase in _phrases(words) for name in names_in(phrase)):
            yield f"{where} has {{{name}}}, and only the values of fields take placeholders"
    for field in design.fields or []:
        for phrase in _phrases(field.change_message or VALUE):
            for name in names_in(phrase.replace(VALUE, "")):
                yield f"the change_message of {field.key} has {{{name}}}, and takes {VALUE} alone"


def _crowded(design: Design, kind: Kind) -> Iterator[str]:
    """Say which places have more fields than a device shows."""
    at: dict[Place, list[str]] = {place: [] for place in PLACES}
    for field in design.fields or []:
        at[field.place].append(field.key)
    for place, most in MOST_FIELDS.items():
        if len(at[place]) > most:
            yield _too_many(place, most, at[place])
    beside = [*at["secondary"], *at["auxiliary"]]
    if len(beside) > MOST_BESIDE_CODE and _shares_a_row(design, kind):
        yield _too_many(f"secondary and auxiliary together of a {kind} with a code", MOST_BESIDE_CODE, beside)


def _too_many(where: str, most: int, keys: list[str]) -> str:
    shown = "field" if most == 1 else "fields"
    return f"a device shows at most {most} {shown} at {where}, and there are {len(keys)}: {', '.join(keys)}"


def _field_objections(field: DesignedField, names: list[str]) -> Iterator[str]:
    for phrase in _phrases(field.value):
        for name in names_in(phrase):
            if name not in PERSONAL and name not in names:
                yield f"the value of {field.key} has {{{name}}}, which is no field of the template"
    if not all(VALUE in phrase for phrase in _phrases(field.change_message or VALUE)):
        yield f"the change_message of {field.key} must hold {VALUE}, or no device shows it"


def _labels(design: Design) -> Iterator[tuple[str, Words]]:
    """Name the texts that all passes of the template have alike."""
    named: dict[str, Words | None] = {
        "title": design.title,
        "description": design.description,
        "barcode_text": design.barcode_text,
        "message_label": design.message_label,
    }
    yield from ((where, words) for where, words in named.items() if words is not None and words != "")
    shown: list[DesignedField | DesignedLink] = [*(design.fields or []), *design.links]
    yield from ((f"the label of {one.key}", one.label) for one in shown)


def _texts(design: Design) -> Iterator[tuple[str, Words]]:
    """Name all texts."""
    yield from _labels(design)
    for field in design.fields or []:
        yield f"the value of {field.key}", field.value
        if field.change_message is not None:
            yield f"the change_message of {field.key}", field.change_message


def _phrases(words: Words) -> list[str]:
    return [words] if isinstance(words, str) else list(words.values())


def decode(value: Mapping[str, object]) -> Design:
    """Read a stored design."""
    return msgspec.convert(value, Design)
