"""What a holder's browser shows of a pass that is saved in the emulator's Google Wallet."""

from __future__ import annotations

import io
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from html import escape
from typing import Any, Final, NamedTuple

import segno

from rxdesk.wallet.emulator.google import GoogleDouble

_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src {images}; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_STYLE = """
body{margin:0;padding:24px 16px;background:#f1f3f4;color:#202124;font:16px/1.4 system-ui,sans-serif;
display:flex;flex-direction:column;align-items:center}
main{width:100%;max-width:375px}
.card,.note{border-radius:14px;padding:16px;margin:0 0 16px;overflow-wrap:anywhere;background:#fff}
.card{color:#fff}
h1{font-size:24px;margin:8px 0}
dl{display:flex;flex-wrap:wrap;gap:12px 24px;margin:12px 0 0}
dt{font-size:11px;text-transform:uppercase}
dd{margin:0;font-size:17px}
img{display:block}
.code{width:160px;margin:16px auto 0;padding:8px;border-radius:8px;background:#fff}
.logo{max-width:160px;max-height:50px;margin:0 0 8px}
.hero{width:100%;margin:16px 0 0}
button{font:inherit;padding:14px;width:100%;border:0;border-radius:10px}
"""
_MODULE = re.compile(r"object\.textModulesData\['([^']+)'\]")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_PLAIN = "#3c4043"
# An address that a policy can name, whatever stands in it.
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[A-Za-z0-9._:/-]+")


class Page(NamedTuple):
    """A page, and the policy that forbids it all but what it shows."""

    content: str
    policy: str


def of_pass(double: GoogleDouble, object_id: str) -> Page | None:
    """Show a pass as Google has it now, and whether it is saved; None where there is none.

    Google would fetch the images and serve them itself; here the browser loads them from where they are.
    """
    shown = double.kept.get(object_id)
    if shown is None or "classId" not in shown:
        return None
    of_class = double.kept.get(shown["classId"], {})
    saved = object_id in double.saved
    rows = _rows(of_class)
    said = "This pass is saved in the emulated Google Wallet." if saved else "This pass is not in the wallet."
    button = '<form method="post"><button>Delete it from the wallet</button></form>' if saved else ""
    card = _card(shown, of_class, rows)
    body = "".join((f'<p class="note">{said}</p>', *card, *_details(shown, rows), button))
    return _document(body, *_images({**of_class, **shown}).values())


def refused(message: str) -> Page:
    """Show why nothing was done."""
    return _document(f'<p class="note">Refused: {escape(message)}</p>')


def _document(body: str, *images: str) -> Page:
    content = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Google Wallet, emulated</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
    return Page(content, _POLICY.format(images=" ".join(("data:", *images))))


def _text(value: Any) -> str:  # noqa: ANN401 - of Google's documents
    """Give a text, plain or with its translations, in its own language."""
    told = value.get("defaultValue", {}).get("value", "") if isinstance(value, dict) else value
    return escape(str(told))


def _first(document: dict[str, Any], *names: str) -> str:
    return next((_text(document[name]) for name in names if name in document), "")


def _card(shown: dict[str, Any], of_class: dict[str, Any], rows: list[list[str]]) -> Iterator[str]:
    both = {**of_class, **shown}
    images = _images(both)
    colour = both.get("hexBackgroundColor", "")
    yield f'<article class="card" style="background:{colour if _COLOUR.fullmatch(colour) else _PLAIN}">'
    if "logo" in images:
        yield f'<img class="logo" alt="Logo" src="{images["logo"]}">'
    yield f"<div>{_first(both, 'cardTitle', 'issuerName')}</div>"
    yield f"<div>{_first(both, 'subheader', 'programName', 'title', 'eventName')}</div>"
    yield f"<h1>{_first(both, 'header', 'accountName', 'ticketHolderName')}</h1>"
    modules = {module["id"]: module for module in shown.get("textModulesData", [])}
    for row in rows:
        yield from _fields([modules[key] for key in row if key in modules])
    if shown.get("state") == "INACTIVE":
        yield "<p>No longer valid</p>"
    elif "barcode" in shown:
        yield f'<img class="code" alt="QR code" src="{_qr(shown["barcode"]["value"])}">'
    if "hero" in images:
        yield f'<img class="hero" alt="" src="{images["hero"]}">'
    yield "</article>"


def _images(both: dict[str, Any]) -> dict[str, str]:
    """Give the addresses of a pass's logo and of the image below it, of those that it has."""
    logo = both.get("logo") or both.get("programLogo") or {}
    named = {"logo": logo, "hero": both.get("heroImage") or {}}
    addresses = {name: str(image.get("sourceUri", {}).get("uri", "")) for name, image in named.items()}
    return {name: address for name, address in addresses.items() if _ADDRESS.fullmatch(address)}


def _rows(of_class: dict[str, Any]) -> list[list[str]]:
    """Name the text modules of each row of the front."""
    override = of_class.get("classTemplateInfo", {}).get("cardTemplateOverride", {})
    return [_MODULE.findall(json.dumps(row)) for row in override.get("cardRowTemplateInfos", [])]


def _details(shown: dict[str, Any], rows: list[list[str]]) -> Iterator[str]:
    in_rows = {key for row in rows for key in row}
    rest = [module for module in shown.get("textModulesData", []) if module["id"] not in in_rows]
    if rest:
        yield from ('<div class="note">', *_fields(rest), "</div>")
    for message in reversed(shown.get("messages", [])):
        yield f'<p class="note"><b>{_first(message, "header")}</b><br>{_first(message, "body")}</p>'


def _fields(modules: list[dict[str, Any]]) -> Iterator[str]:
    yield "<dl>"
    for module in modules:
        yield f"<div><dt>{_first(module, 'header')}</dt><dd>{_first(module, 'body')}</dd></div>"
    yield "</dl>"


def _qr(content: str) -> str:
    image = io.BytesIO()
    segno.make_qr(content, error="m").save(image, kind="svg", border=2, xmldecl=False, svgns=True)
    return "data:image/svg+xml;base64," + b64encode(image.getvalue()).decode("ascii")
