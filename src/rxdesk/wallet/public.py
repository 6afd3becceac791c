"""Routes of passes that are open to everybody: a pass's page and file, and the web service that devices ask.

Each address begins with the organisation's public code, and what is behind it is shown to whoever has the token. A
token that is not the pass's, one of a pass that is gone, and a pass that never was get the same answer; but the token
that is inside a pass stays good, so that devices learn that the pass is deleted: they are given it as void.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

import msgspec

from rxdesk import errors
from rxdesk.access import Read
from rxdesk.errors import ApiError
from rxdesk.kit.uids import is_uid
from rxdesk.wallet import page, pass_queries, passkit, telling
from rxdesk.wallet.apple import package
from rxdesk.wallet.issuing import Held, Issuer, read_held
from rxdesk.wallet.naming import named_by
from rxdesk.wallet.tokens import Purpose, Reference, read_token
from rxdesk.web.answers import Answer
from rxdesk.web.open import Visit, open_endpoint

_ACTOR = "passkit"
_SCHEME: Final = "ApplePass "
_PASS_TYPE = package.MEDIA_TYPE.encode()
_PATH = {
    "public_code": "The organisation's public code, with which all of its addresses begin",
    "device": "What the device calls itself",
    "pass_type": "Pass type identifier",
    "serial": "Serial number of the pass",
    "token": "The pass's token, unguessable",
    "template": "Uid of the template",
    "version": "Of the template; any is answered with the newest",
    "image": "Name of the image, and .png",
}
_TOKEN = {"Authorization": "`ApplePass` and the token that the pass holds"}
PRIVATE = {"X-Robots-Tag": "noindex, nofollow", "Referrer-Policy": "no-referrer"}


def path_of(*names: str) -> dict[str, str]:
    """Describe parameters of a path."""
    return {name: _PATH[name] for name in names}


async def proved(
    visit: Visit, token: str, purpose: Purpose, read: Read, uid: str | None = None, unless: int | None = None
) -> tuple[int, Held]:
    """Give the organisation and the pass that a token proves. 404: it proves none.

    It is read by `uid`, or by what the token says; `unless` is the tag for which no images are wanted.
    """
    reference: Reference | None = read_token(token)
    if reference is None:
        raise errors.not_found()
    organisation_id = await visit.organisation(reference.public_code)
    found = await visit.services.access.look(
        organisation_id, read, reference.public_id if uid is None else uid, visit.now, unless
    )
    if found is None:
        raise errors.not_found()
    held = read_held(found)
    if not visit.services.part(Issuer).proves(organisation_id, held, reference, purpose):
        raise errors.not_found()
    return organisation_id, held


# -------------------------------------------------------------------------------------------------- the holder
@open_endpoint(
    "GET",
    "/{token}",
    tag="Holder",
    summary="The page of a pass",
    description="Shows the card's face, and offers what the device can do with it.",
    path_parameters=path_of("token"),
    media_type="text/html",
    answer_example="<!doctype html>…",
)
async def show_wallet_page(visit: Visit) -> Answer:
    """Answer with the page."""
    accepted = visit.header(b"accept-language")
    try:
        organisation_id, held = await proved(visit, visit.text("token"), "landing", pass_queries.BY_PUBLIC_ID)
    except ApiError:
        content, policy = page.render_notice(accepted, "absent")
        return html(404, content, policy)
    issuer = visit.services.part(Issuer)
    card = issuer.card(organisation_id, held)
    links = issuer.links_of(organisation_id, held)
    content, policy = page.render(
        page.Shown(
            card=card,
            status=held.status,
            landing_page=links.landing_page,
            apple_wallet=links.apple_wallet,
            google_wallet=links.google_wallet,
            device=page.device_of(visit.header(b"user-agent")),
            language=page.language_of(accepted, page.languages_of(card)),
        )
    )
    return html(200, content, policy)


def html(status: int, content: bytes, policy: str, more: Mapping[str, str] | None = None) -> Answer:
    """Answer with a page under its policy."""
    own = {"Content-Security-Policy": policy, "Vary": "Accept-Language, User-Agent"}
    headers = {**PRIVATE, **own, **(more or {})}
    return Answer(status, content, headers, page.MEDIA_TYPE.encode())


@open_endpoint(
    "GET",
    "/{token}/pass.pkpass",
    tag="Holder",
    summary="A pass for Apple Wallet",
    path_parameters=path_of("token"),
    media_type=package.MEDIA_TYPE,
    answer_example="PK…",
)
async def get_apple_pass(visit: Visit) -> Answer:
    """Answer with the signed file of a pass that is not revoked."""
    issuer = visit.services.part(Issuer)
    organisation_id, held = await proved(visit, visit.text("token"), "landing", pass_queries.BY_PUBLIC_ID)
    if issuer.signer is None or held.status == "revoked":
        raise errors.not_found()
    return Answer(200, issuer.apple_pass(organisation_id, held, visit.now), PRIVATE, _PASS_TYPE)


# ------------------------------------------------------------------------------------------------- the device
async def _device_s(visit: Visit, unless: int | None = None) -> tuple[int, Held]:
    """Give the organisation and the pass of the path that the request's token proves. 401: it proves none."""
    header = visit.header(b"authorization")
    signer = visit.services.part(Issuer).signer
    if signer is None or visit.text("pass_type") != signer.pass_type or not header.startswith(_SCHEME):
        raise errors.token_invalid()
    token = header.removeprefix(_SCHEME).strip()
    public_code, serial = visit.text("public_code"), visit.text("serial")
    named = named_by(public_code, serial)
    if named is None or not token.startswith(public_code + "."):
        raise errors.token_invalid()
    try:
        found = await proved(visit, token, "device", pass_queries.HELD_BY_UID, named.uid, unless)
    except ApiError as error:
        raise errors.token_invalid() from error
    if found[1].serial != serial:
        raise errors.token_invalid()
    return found


def _device(visit: Visit) -> str:
    device = visit.text("device")
    if not is_uid(device) or device == telling.GOOGLE:
        raise errors.not_found()
    return device


@open_endpoint(
    "POST",
    "/{public_code}/v1/devices/{device}/registrations/{pass_type}/{serial}",
    tag="Device",
    summary="Register a pass on a device",
    description="201 when it is new, 200 when it was registered; the push token is replaced.",
    status=201,
    updated=200,
    path_parameters=path_of("public_code", "device", "pass_type", "serial"),
    header_parameters=_TOKEN,
    body=passkit.Registration,
    body_example=passkit.Registration(push_token="8f3c1b0a9d2e4f50"),  # noqa: S106 (an example)
    errors=(401, 409),
)
async def register_device(visit: Visit) -> Answer:
    """Register a pass on a device."""
    device = _device(visit)
    organisation_id, held = await _device_s(visit)
    body = await visit.body(passkit.Registration)
    made = await visit.services.access.write_as_system(
        organisation_id, _ACTOR, lambda tx: passkit.register(tx, device, held.uid, body.push_token)
    )
    return Answer(201 if made else 200, b"")


@open_endpoint(
    "DELETE",
    "/{public_code}/v1/devices/{device}/registrations/{pass_type}/{serial}",
    tag="Device",
    summary="End a pass's registration on a device",
    path_parameters=path_of("public_code", "device", "pass_type", "serial"),
    header_parameters=_TOKEN,
    errors=(401,),
)
async def unregister_device(visit: Visit) -> Answer:
    """End a registration."""
    device = _device(visit)
    organisation_id, held = await _device_s(visit)
    await visit.services.access.write_as_system(
        organisation_id, _ACTOR, lambda tx: passkit.unregister(tx, device, held.uid)
    )
    return Answer(200, b"")


@open_endpoint(
    "GET",
    "/{public_code}/v1/devices/{device}/registrations/{pass_type}",
    tag="Device",
    summary="List a device's passes that have changed",
    description="204 when there are none, and for a device that is not known. A `passesUpdatedSince` that was never "
    "given counts as none.",
    nothing=204,
    path_parameters=path_of("public_code", "device", "pass_type"),
    query=passkit.Since,
    answer=passkit.Serials,
    answer_example=passkit.Serials(serial_numbers=["mdv4kx7w_wp-abc123"], last_updated="1711700000"),
)
async def list_changed_passes(visit: Visit) -> Answer:
    """Answer with the serials of what has changed."""
    device, since = _device(visit), visit.query(passkit.Since)
    signer = visit.services.part(Issuer).signer
    organisation_id = await visit.organisation(visit.text("public_code"))
    if signer is None or visit.text("pass_type") != signer.pass_type:
        return Answer(204, b"")
    found = await visit.services.access.look(organisation_id, passkit.CHANGED, device, since.tag())
    if found is None:
        return Answer(204, b"")
    changed = msgspec.json.decode(found, type=passkit.Changed)
    if not visit.only_looks:
        uids = [one.uid for one in changed.passes]
        await visit.services.access.rows(organisation_id, telling.TOLD, device, uids, changed.tag)
    return Answer(200, msgspec.json.encode(changed.serials(visit.text("public_code"))))


@open_endpoint(
    "GET",
    "/{public_code}/v1/passes/{pass_type}/{serial}",
    tag="Device",
    summary="The newest version of a pass",
    description="304 when it is that of `If-Modified-Since`.",
    path_parameters=path_of("public_code", "pass_type", "serial"),
    header_parameters={
        **_TOKEN,
        "If-Modified-Since": "The `Last-Modified` of the version that the device has",
    },
    media_type=package.MEDIA_TYPE,
    answer_example="PK…",
    dated=True,
    errors=(401,),
)
async def get_newest_pass(visit: Visit) -> Answer:
    """Answer with the signed file, or that it has not changed."""
    known = _seconds(visit.header(b"if-modified-since"))
    organisation_id, held = await _device_s(visit, known)
    if not visit.only_looks:
        fetched = held.uid, held.tag, visit.now, held.message, held.images is not None
        await visit.services.access.rows(organisation_id, telling.FETCHED, *fetched)
    headers = {"Last-Modified": format_datetime(datetime.fromtimestamp(held.tag, UTC), usegmt=True)}
    if held.images is None:
        return Answer(304, b"", headers)
    issuer = visit.services.part(Issuer)
    return Answer(200, issuer.apple_pass(organisation_id, held, visit.now), headers, _PASS_TYPE)


def _seconds(date: str) -> int | None:
    """Read an HTTP date as Unix seconds; None for what is none."""
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, OverflowError):
        return None


@open_endpoint(
    "POST",
    "/{public_code}/v1/log",
    tag="Device",
    summary="Report an error of the device's",
    description="The newest are kept for the operator: `rxdesk wallet logs`.",
    path_parameters=path_of("public_code"),
    body=passkit.Logs,
    body_example=passkit.Logs(logs=["[2026-03-04 10:00:00 +0000] Get pass task … encountered error: …"]),
)
async def log_device_errors(visit: Visit) -> Answer:
    """Keep what a device reports."""
    organisation_id = await visit.organisation(visit.text("public_code"))
    body = await visit.body(passkit.Logs)
    await visit.services.access.write_as_system(
        organisation_id, _ACTOR, lambda tx: passkit.note_logs(tx, body.logs)
    )
    return Answer(200, b"")


ENDPOINTS = (
    show_wallet_page,
    get_apple_pass,
    register_device,
    unregister_device,
    list_changed_passes,
    get_newest_pass,
    log_device_errors,
)
