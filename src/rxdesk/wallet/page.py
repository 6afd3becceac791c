"""The page of a pass: the card's face as it will look, and what its holder's device can do with it.

One HTML document without scripts and without anything from elsewhere, so that its policy forbids all else.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final, Literal

import msgspec
import segno

from rxdesk.wallet.apple.document import images_of
from rxdesk.wallet.card import Card, Field, Text

Device = Literal["apple", "android", "other"]
MEDIA_TYPE: Final = "text/html; charset=utf-8"

_STYLE = """
*{box-sizing:border-box}
body{margin:0;min-height:100vh;padding:24px 16px;background:#f2f2f7;color:#1c1c1e;
font:16px/1.4 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
display:flex;flex-direction:column;align-items:center}
main{width:100%;max-width:375px}
.card{border-radius:14px;overflow:hidden;box-shadow:0 4px 18px rgba(0,0,0,.18);background:BACKGROUND;color:FOREGROUND}
.gone .card{opacity:.45}
.top{display:flex;align-items:center;gap:12px;padding:14px 16px;min-height:64px}
.top img{max-height:50px;max-width:160px}
.top h1{font-size:17px;font-weight:600;margin:0;flex:1;overflow-wrap:anywhere}
.strip{display:grid}
.strip>*{grid-area:1/1;min-width:0}
.strip img{display:block;width:100%}
.strip dl{align-self:center}
.beside{display:flex;align-items:flex-start;gap:12px;padding-right:16px}
.beside img{flex:none;margin-left:auto;max-width:90px;max-height:90px}
dl{display:flex;flex-wrap:wrap;gap:12px 24px;margin:0;padding:8px 16px}
dl div{min-width:0}
dt{font-size:11px;font-weight:600;letter-spacing:.04em;text-transform:uppercase;color:LABEL}
dd{margin:0;font-size:17px;overflow-wrap:anywhere}
.top dl{padding:0;text-align:right}
.primary dd{font-size:28px;line-height:1.2}
.code{padding:16px;text-align:center}
.code img{display:block;margin:0 auto;width:160px;height:160px;padding:8px;border-radius:8px;background:#fff}
.code p{margin:4px 0 0;font-size:13px}
.code p:empty{display:none}
.note{margin:16px 0;padding:12px 16px;border-radius:10px;background:#fff;overflow-wrap:anywhere}
.add{display:block;margin:16px 0 0;padding:14px;border-radius:10px;background:#000;color:#fff;text-align:center;
font-weight:600;text-decoration:none}
.add:focus-visible{outline:3px solid #0a84ff;outline-offset:2px}
.phone{text-align:center}
.phone p{margin:4px 0 8px}
.phone img{display:block;width:160px;height:160px;margin:0 auto}
"""
_WORDS: Final = {
    "add_apple": Text("Add to Apple Wallet", {"de": "Zu Apple Wallet hinzufügen"}),
    "add_google": Text("Save to Google Wallet", {"de": "In Google Wallet speichern"}),
    "scan": Text("Scan this with your phone.", {"de": "Scannen Sie dies mit Ihrem Telefon."}),
    "show": Text("Show the code on this page.", {"de": "Zeigen Sie den Code auf dieser Seite vor."}),
    "revoked": Text("This card is no longer valid.", {"de": "Diese Karte ist nicht mehr gültig."}),
    "expired": Text("This card has expired.", {"de": "Diese Karte ist abgelaufen."}),
    "absent": Text("There is no such card.", {"de": "Diese Karte gibt es nicht."}),
    "later": Text(
        "Google Wallet cannot be reached at present. Please try again later.",
        {"de": "Google Wallet ist zurzeit nicht erreichbar. Bitte versuchen Sie es später noch einmal."},
    ),
    "code": Text("QR code of the card", {"de": "QR-Code der Karte"}),
    "here": Text("QR code of this page", {"de": "QR-Code dieser Seite"}),
}
# Written by this page, whatever languages the card has.
_OWN_LANGUAGES: Final = ("en", "de")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a page shows: the card, its state, its addresses, and for whom."""

    card: Card
    status: Literal["active", "revoked", "expired"]
    landing_page: str
    apple_wallet: str | None
    google_wallet: str | None
    device: Device
    language: str


def device_of(user_agent: str) -> Device:
    """Tell what kind of device asks, by what its browser says of itself."""
    if any(name in user_agent for name in ("iPhone", "iPad", "iPod")):
        return "apple"
    return "android" if "Android" in user_agent else "other"


def language_of(accepted: str, offered: Sequence[str]) -> str:
    """Choose a language by an Accept-Language header; of those offered, the first is taken where none suits."""
    wanted: list[tuple[float, str]] = []
    for part in accepted[:500].split(","):
        tag, _, parameter = part.strip().partition(";")
        quality = parameter.strip().removeprefix("q=")
        try:
            wanted.append((-float(quality or 1), tag))
        except ValueError:
            continue
    for _, tag in sorted(wanted, key=lambda pair: pair[0]):
        for language in offered:
            if tag.lower() == language.lower() or tag.partition("-")[0].lower() == language.lower():
                return language
    return offered[0]


def languages_of(card: Card) -> list[str]:
    """Name the languages that a page of a card can be read in, the card's own first."""
    return list(dict.fromkeys((card.language, *card.languages(), *_OWN_LANGUAGES)))


def render(shown: Shown) -> tuple[bytes, str]:
    """Make the page, and its Content-Security-Policy."""
    card, language = shown.card, shown.language
    style = (
        _STYLE.replace("BACKGROUND", card.background)
        .replace("FOREGROUND", card.foreground)
        .replace("LABEL", card.label_colour)
    )
    gone = "" if shown.status == "active" else " class=gone"
    body = "".join(
        (f"<main{gone}>", '<article class="card">', *_face(shown), "</article>", *_below(shown), "</main>")
    )
    return _document(card.title.in_language(language), language, style, body)


def render_notice(accepted: str, word: Literal["absent", "later"]) -> tuple[bytes, str]:
    """Make the page where there is no pass, or that Google is away, and its policy."""
    language = language_of(accepted, _OWN_LANGUAGES)
    text = _WORDS[word].in_language(language)
    style = _STYLE.replace("BACKGROUND", "#fff").replace("FOREGROUND", "#000").replace("LABEL", "#000")
    return _document(text, language, style, f'<main><p class="note">{escape(text)}</p></main>')


def _document(title: str, language: str, style: str, body: str) -> tuple[bytes, str]:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    page = (
        f'<!doctype html>\n<html lang="{escape(language)}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex, nofollow">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
    return page.encode(), policy


def _face(shown: Shown) -> Iterator[str]:
    card, language = shown.card, shown.language
    yield '<header class="top">'
    images = images_of(card)
    if logo := _image(images, "logo"):
        yield f'<img src="{logo}" alt="{escape(card.organisation)}">'
    yield f"<h1>{escape(card.title.in_language(language))}</h1>"
    yield from _fields(card.header, language)
    yield "</header>"
    primary = "".join(_fields(card.primary, language, "primary"))
    if strip := _image(images, "strip"):
        yield f'<div class="strip"><img src="{strip}" alt="">{primary}</div>'
    elif thumbnail := _image(images, "thumbnail"):
        yield f'<div class="beside">{primary}<img src="{thumbnail}" alt=""></div>'
    else:
        yield primary
    yield from _fields(card.secondary, language)
    yield from _fields(card.auxiliary, language)
    if card.barcode is not None and shown.status == "active":
        alternative = escape(card.barcode.alternative)
        label = escape(_WORDS["code"].in_language(language))
        yield f'<div class="code"><img src="{_qr(card.barcode.content)}" alt="{label}"><p>{alternative}</p></div>'


def _fields(fields: Sequence[Field], language: str, name: str = "") -> Iterator[str]:
    if not fields:
        return
    yield f'<dl class="{name}">' if name else "<dl>"
    for field in fields:
        label, value = field.label.in_language(language), field.value.in_language(language)
        yield f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>"
    yield "</dl>"


def _below(shown: Shown) -> Iterator[str]:
    """Say what can be done with the card on this device."""
    language = shown.language

    def words(name: str) -> str:
        return escape(_WORDS[name].in_language(language))

    if shown.status != "active":
        yield f'<p class="note">{words(shown.status)}</p>'
        return
    offers = (("add_apple", shown.apple_wallet, "android"), ("add_google", shown.google_wallet, "apple"))
    offered = [(name, address) for name, address, other in offers if address and shown.device != other]
    for name, address in offered:
        yield f'<a class="add" href="{escape(address)}">{words(name)}</a>'
    if not offered and shown.card.barcode is not None:
        yield f'<p class="note">{words("show")}</p>'
    if shown.device == "other":
        image = f'<img src="{_qr(shown.landing_page)}" alt="{words("here")}">'
        yield f'<div class="note phone"><p>{words("scan")}</p>{image}</div>'


def _image(images: Mapping[str, bytes], name: str) -> str | None:
    for scale in ("2x", "3x", "1x"):
        if content := images.get(f"{name}@{scale}"):
            return "data:image/png;base64," + base64.b64encode(content).decode("ascii")
    return None


def _qr(content: str) -> str:
    image = io.BytesIO()
    segno.make_qr(content, error="m").save(image, kind="svg", border=2, xmldecl=False, svgns=True)
    return "data:image/svg+xml;base64," + base64.b64encode(image.getvalue()).decode("ascii")
