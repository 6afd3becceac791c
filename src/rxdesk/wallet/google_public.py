"""Routes of passes for Google Wallet that are open to everybody: what saves one, what Google says, and the images."""

from __future__ import annotations

import asyncio
import base64
from typing import Final

import structlog

from rxdesk import errors
from rxdesk.errors import ApiError
from rxdesk.kit.targets import TargetRefused
from rxdesk.kit.uids import is_uid
from rxdesk.wallet import page, pass_queries
from rxdesk.wallet.google.callbacks import CallbackRefused, Envelope, verify_callback
from rxdesk.wallet.google.keys import KeysUnavailable
from rxdesk.wallet.public import PRIVATE, html, path_of, proved
from rxdesk.wallet.saving import Saving
from rxdesk.web.answers import Answer
from rxdesk.web.open import Visit, open_endpoint

_log = structlog.get_logger("rxdesk.wallet")

_ACTOR = "google"
_LONGEST_CALLBACK = 16 * 1024
_PATIENCE_SECONDS = 5.0  # for all that Google is asked while the holder waits
_AGAIN_SECONDS = 30
_PNG: Final = b"image/png"


def _saving(visit: Visit) -> Saving | None:
    found: Saving | None = visit.services.parts.get(Saving)
    return found


@open_endpoint(
    "GET",
    "/{token}/google",
    tag="Holder",
    summary="Save a pass to Google Wallet",
    description="Leads to Google, which is given the pass only now. 503 with a page while Google cannot be reached.",
    status=303,
    media_type="text/html",
    path_parameters=path_of("token"),
)
async def save_to_google(visit: Visit) -> Answer:
    """Answer with where Google saves the pass."""
    accepted, saving = visit.header(b"accept-language"), _saving(visit)
    try:
        organisation_id, held = await proved(visit, visit.text("token"), "landing", pass_queries.BY_PUBLIC_ID)
    except ApiError:
        return html(404, *page.render_notice(accepted, "absent"))
    if saving is None or held.status == "revoked" or not held.fits_google:
        return html(404, *page.render_notice(accepted, "absent"))
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            url = await saving.link(organisation_id, held)
    except TimeoutError:
        _log.warning("google_not_given", organisation=organisation_id, status=None, reason="timeout")
        url = None
    if url is None:
        return html(503, *page.render_notice(accepted, "later"), {"Retry-After": str(_AGAIN_SECONDS)})
    return Answer(303, b"", {**PRIVATE, "Location": url, "Cache-Control": "no-store"})


@open_endpoint(
    "POST",
    "/{public_code}/v1/google",
    tag="Google",
    summary="Hear that a holder saved or deleted a pass",
    description="Signed by Google, for the issuer; else 401. The same one may come more than once.",
    path_parameters=path_of("public_code"),
    body=Envelope,
    body_example=Envelope.example(),
    errors=(401, 503),
)
async def hear_google(visit: Visit) -> Answer:
    """Note what Google says."""
    public_code = visit.text("public_code")
    organisation_id = await visit.organisation(public_code)
    saving = _saving(visit)
    if saving is None:
        raise errors.not_found()
    body = await visit.data(_LONGEST_CALLBACK)
    try:
        roots = await saving.keys.current()
        callback = verify_callback(body, saving.google.number, roots, visit.now)
    except (KeysUnavailable, TargetRefused) as error:
        _log.warning("callback_not_verified", organisation=organisation_id, reason=str(error))
        raise errors.unavailable() from error
    except CallbackRefused as refusal:
        _log.info("callback_refused", organisation=organisation_id, reason=str(refusal))
        raise errors.token_invalid() from refusal
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            held = await saving.is_held(organisation_id, public_code, callback)
    except TimeoutError as error:
        raise errors.unavailable() from error
    await visit.services.access.write_as_system(
        organisation_id, _ACTOR, lambda tx: saving.note(tx, public_code, callback, held=held)
    )
    return Answer(200, b"")


@open_endpoint(
    "GET",
    "/{public_code}/images/{template}/{version}/{image}",
    tag="Google",
    summary="An image of a template",
    description="For Google, which fetches images itself: `logo.png` and the like, as large as there is.",
    path_parameters=path_of("public_code", "template", "version", "image"),
    media_type="image/png",
    answer_example="PNG…",
)
async def get_template_image(visit: Visit) -> Answer:
    """Answer with the image. Each change of the template gives it another address, so that it may be kept."""
    organisation_id = await visit.organisation(visit.text("public_code"))
    name, dot, form = visit.text("image").partition(".")
    if not is_uid(name) or (dot, form) != (".", "png"):
        raise errors.not_found()
    found = await visit.services.access.look(organisation_id, pass_queries.IMAGE, visit.uid("template"), name)
    if found is None:
        raise errors.not_found()
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Robots-Tag": "noindex"}
    return Answer(200, base64.b64decode(found), headers, _PNG)


ENDPOINTS = (save_to_google, hear_google, get_template_image)
