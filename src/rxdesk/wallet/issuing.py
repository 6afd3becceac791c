"""What a pass is outside the database: its tokens, its addresses, and the card that it shows."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from rxdesk.kit.ports import base_url
from rxdesk.kit.sealing import Place, Sealer
from rxdesk.settings import Settings
from rxdesk.wallet import tokens
from rxdesk.wallet.apple.certificates import CertificateError, PassSigner, load_signer
from rxdesk.wallet.apple.package import build_pass
from rxdesk.wallet.card import VALUE, Barcode, Card, Field, Kind, Link, Text, WebService
from rxdesk.wallet.design import MESSAGE_KEY, PLACES, Design, Words, fields_of
from rxdesk.wallet.google.account import AccountError, GoogleIssuer, load_account
from rxdesk.wallet.naming import Named, name_of
from rxdesk.wallet.placeholders import fill, values_of
from rxdesk.wallet.schemas import Links, PassStatus
from rxdesk.wallet.tokens import Identity, Purpose, Reference

# What the device shows where no message was sent yet: a field must have been there to be seen changing.
_NO_MESSAGE: Final = "–"
_ISSUER: Final = re.compile(r"[0-9]{1,32}", re.ASCII)
# Another one with each change of what a class is made of: then each is given anew.
_CLASS_FORM: Final = 2
_MESSAGE_LABEL: Final = Text("Message", {"de": "Nachricht"})


class Held(msgspec.Struct, kw_only=True):
    """A pass as `pass_queries` read it. `images` is None where the reader has those of this tag."""

    uid: str
    bare_serial: bool
    public_code: str
    organisation: str
    public_id: str | None
    sealed_secret: str | None
    status: PassStatus
    expires_at: int | None
    tag: int
    message: str | None
    shop_customer_id: str
    personal: dict[str, str | None]
    field_values: str
    template_uid: str
    bare_class: bool
    display_name: str
    pass_type: Kind
    fields: list[str]
    design: Design
    template_tag: int
    google_class: str | None
    image_names: list[str]
    images: dict[str, str] | None

    @property
    def serial(self) -> str:
        """What wallets call the pass."""
        return name_of(self.public_code, Named(self.uid, self.bare_serial))

    @property
    def template(self) -> str:
        """What wallets call its template."""
        return name_of(self.public_code, Named(self.template_uid, self.bare_class))

    @property
    def fits_google(self) -> bool:
        """Whether Google Wallet shows such a pass: a store card needs a logo."""
        return self.pass_type != "storeCard" or "logo" in self.image_names  # noqa: S105 (a kind of pass)


def read_held(body: str) -> Held:
    """Read the body that a query of `pass_queries` gave."""
    return msgspec.json.decode(body, type=Held)


def place_of_secret(organisation_id: int, uid: str) -> Place:
    """Tell where a pass's secret is sealed for."""
    return Place(organisation_id, uid, "wallet_passes.sealed_secret")


def public_url(settings: Settings) -> str:
    """Give the address at which phones reach the server."""
    return settings.public_url or base_url(settings.address, settings.port)


def signer_of(settings: Settings) -> PassSigner | None:
    """Give what signs passes for Apple Wallet; None: no certificate is configured.

    Raises CertificateError when one of its files is missing, cannot be read, or does not belong to the others.
    """
    files = {
        "apple_certificate_file": settings.apple_certificate_file,
        "apple_key_file": settings.apple_key_file,
        "apple_intermediate_file": settings.apple_intermediate_file,
    }
    missing = [name for name, file in files.items() if not file]
    if len(missing) == len(files):
        return None
    if missing:
        raise CertificateError(f"{missing[0]} is not set, and the other files are of no use without it")
    certificate, key, intermediate = map(Path, files.values())
    return load_signer(certificate, key, intermediate, settings.apple_key_password)


def google_of(settings: Settings) -> GoogleIssuer | None:
    """Give who issues passes for Google Wallet; None: nobody is configured.

    Raises AccountError when the file cannot be used, or one of the two settings is missing or of wrong form.
    """
    number, file = settings.google_issuer, settings.google_account_file
    if not number and not file:
        return None
    if not file:
        raise AccountError("google_account_file is not set, and google_issuer is of no use without it")
    if _ISSUER.fullmatch(number) is None:
        raise AccountError("google_issuer must be the number of the issuer's account: digits only")
    return GoogleIssuer(number, load_account(Path(file)))


class Issuer:
    """Makes what holders are given.

    `base` is the server's address as phones reach it; without a `signer` there are no passes for Apple Wallet, without
    `google` none for Google Wallet.
    """

    def __init__(
        self,
        sealer: Sealer,
        base: str,
        signer: PassSigner | None = None,
        google: GoogleIssuer | None = None,
    ) -> None:
        self._sealer = sealer
        self._base = base.rstrip("/") + "/w"
        self.signer = signer
        self.google = google

    def identity(self, organisation_id: int, held: Held) -> Identity | None:
        """Open what a pass's tokens are made from; None: it has never been issued."""
        if held.public_id is None or held.sealed_secret is None:
            return None
        sealed = base64.b64decode(held.sealed_secret)
        return Identity(held.public_id, self._sealer.open(sealed, place_of_secret(organisation_id, held.uid)))

    def proves(self, organisation_id: int, held: Held, reference: Reference, purpose: Purpose) -> bool:
        """Tell, in constant time, whether a token is this pass's."""
        identity = self.identity(organisation_id, held)
        same_code = reference.public_code == held.public_code
        return identity is not None and same_code and tokens.fits(reference, identity, purpose)

    def links(self, held: Held, identity: Identity) -> Links:
        """Give a pass's addresses."""
        page = f"{self._base}/{tokens.make_token(held.public_code, identity, 'landing')}"
        return Links(
            landing_page=page,
            apple_wallet=f"{page}/pass.pkpass" if self.signer else None,
            google_wallet=f"{page}/google" if self.google and held.fits_google else None,
        )

    def callback_url(self, public_code: str) -> str:
        """Give the address that Google tells when a holder saves or deletes a pass."""
        return f"{self._base}/{public_code}/v1/google"

    def links_of(self, organisation_id: int, held: Held) -> Links:
        """Give the addresses of a pass that has been issued."""
        identity = self.identity(organisation_id, held)
        if identity is None:
            message = "a pass without an identity has no addresses"
            raise RuntimeError(message)
        return self.links(held, identity)

    def apple_pass(self, organisation_id: int, held: Held, now: datetime) -> bytes:
        """Build a pass's signed file for Apple Wallet."""
        if self.signer is None:
            message = "there is no certificate to sign with"
            raise RuntimeError(message)
        return build_pass(self.card(organisation_id, held), self.signer, now)

    def card(self, organisation_id: int, held: Held) -> Card:
        """Give the card that a pass shows. A pass that has never been issued has neither code nor web service."""
        design = held.design
        identity = self.identity(organisation_id, held)
        return Card(
            kind=held.pass_type,
            serial=held.serial,
            template=held.template,
            organisation=held.organisation,
            description=Text(held.display_name)
            if design.description is None
            else design.text(design.description),
            title=Text(held.display_name) if design.title is None else design.text(design.title),
            language=design.language,
            background=design.background,
            foreground=design.foreground,
            label_colour=design.label_colour,
            images={name: base64.b64decode(text) for name, text in (held.images or {}).items()},
            image_urls=self._image_urls(held),
            **_fields(held, design),
            leading=_leading(held, design),
            links=tuple(
                Link(key=link.key, label=design.text(link.label), url=link.url) for link in design.links
            ),
            barcode=None if identity is None else _barcode(held, identity),
            expires_at=None if held.expires_at is None else datetime.fromtimestamp(held.expires_at, UTC),
            voided=held.status == "revoked",
            web_service=None if identity is None else self._web_service(held, identity),
        )

    def pattern(self, organisation_id: int, held: Held) -> Card:
        """Give a card that has every field of a pass's template, in its place: nothing in it is the holder's."""
        empty: dict[str, Any] = dict.fromkeys(("message", "public_id", "expires_at", "images"))
        personal = dict.fromkeys(held.personal)
        nobody = msgspec.structs.replace(held, personal=personal, field_values="{}", status="active", **empty)
        card = self.card(organisation_id, nobody)
        places: dict[str, list[Field]] = {place: [] for place in PLACES}
        for field in fields_of(held.design, held.fields, held.pass_type):
            label = held.design.text(field.label)
            places[field.place].append(Field(key=field.key, label=label, value=Text(field.key)))
        fields: dict[str, Any] = {place: tuple(of_place) for place, of_place in places.items()}
        return msgspec.structs.replace(card, **fields)

    def class_mark(self, held: Held) -> str:
        """Give what tells apart the class that Google is given now from each that it was given before."""
        number = "" if self.google is None else self.google.number
        return f"{number} {held.template_tag} {self.callback_url(held.public_code)} {_CLASS_FORM}"

    def _image_urls(self, held: Held) -> dict[str, str]:
        """Give the addresses of images; each change of the template gives new ones, since they are kept."""
        folder = f"{self._base}/{held.public_code}/images/{held.template_uid}/{held.template_tag}"
        return {name: f"{folder}/{name}.png" for name in held.image_names}

    def _web_service(self, held: Held, identity: Identity) -> WebService:
        token = tokens.make_token(held.public_code, identity, "device")
        return WebService(url=f"{self._base}/{held.public_code}", token=token)


def _barcode(held: Held, identity: Identity) -> Barcode | None:
    if held.design.barcode == "none":
        return None
    content = tokens.make_token(held.public_code, identity, "code")
    return Barcode(content=content, alternative=held.design.barcode_text)


def _leading(held: Held, design: Design) -> str | None:
    """Give the key of the template's first primary field, whether the holder has something in it or not."""
    return next(
        (field.key for field in fields_of(design, held.fields, held.pass_type) if field.place == "primary"),
        None,
    )


def _fields(held: Held, design: Design) -> dict[str, Any]:
    """Give the fields by place; one whose value is empty once it is filled is left out."""
    values = values_of(held.personal, held.field_values)
    places: dict[str, list[Field]] = {place: [] for place in PLACES}
    for designed in fields_of(design, held.fields, held.pass_type):
        value = _filled(design, designed.value, values)
        if value is not None:
            change = None if designed.change_message is None else design.text(designed.change_message)
            label = design.text(designed.label)
            places[designed.place].append(
                Field(key=designed.key, label=label, value=value, change_message=change)
            )
    label = _MESSAGE_LABEL if design.message_label is None else design.text(design.message_label)
    places["back"].append(
        Field(
            key=MESSAGE_KEY, label=label, value=Text(held.message or _NO_MESSAGE), change_message=Text(VALUE)
        )
    )
    return {place: tuple(fields) for place, fields in places.items()}


def _filled(design: Design, words: Words, values: Mapping[str, str]) -> Text | None:
    text = design.text(words)

    def filled(phrase: str) -> str:
        return fill(phrase, lambda name: values.get(name, "")).strip()

    default = filled(text.default)
    translations = {tag: filled(phrase) for tag, phrase in text.translations.items()}
    return Text(default, {tag: phrase for tag, phrase in translations.items() if phrase}) if default else None
