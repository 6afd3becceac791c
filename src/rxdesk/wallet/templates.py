"""Templates are made and designed; run inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rxdesk import errors
from rxdesk.access import Transaction
from rxdesk.kit.text import sort_key
from rxdesk.kit.uids import new_uid
from rxdesk.wallet import png
from rxdesk.wallet.card import Kind
from rxdesk.wallet.design import Design, objections
from rxdesk.wallet.png import ImageName
from rxdesk.wallet.tags import next_tag
from rxdesk.wallet.telling import tell_devices_of_template

Images = Mapping[tuple[ImageName, int], bytes]

_SHOP = (
    "SELECT s.uid FROM shops s WHERE s.organisation_id = $1 AND s.identifier = $2 AND s.deleted_at IS NULL"
)
_CREATE = """
INSERT INTO wallet_pass_templates (organisation_id, uid, shop_uid, display_name, sort_key, pass_type, fields, design,
  tag, created_at, updated_at, actor_kind, actor_uid)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, $12)"""
_FIELDS = """
SELECT t.fields, t.pass_type FROM wallet_pass_templates t
WHERE t.organisation_id = $1 AND t.uid = $2 AND t.deleted_at IS NULL"""
_DESIGN = """
UPDATE wallet_pass_templates SET design = $3, fields = $4, tag = $5, updated_at = $6, actor_kind = $7, actor_uid = $8
WHERE organisation_id = $1 AND uid = $2 AND deleted_at IS NULL RETURNING true"""
_CLEAR = "DELETE FROM wallet_template_images WHERE organisation_id = $1 AND wallet_pass_template_uid = $2"
_IMAGES = """
INSERT INTO wallet_template_images (organisation_id, wallet_pass_template_uid, name, scale, png)
SELECT $1, $2, i.name, i.scale, i.png FROM unnest($3::text[], $4::smallint[], $5::bytea[]) AS i (name, scale, png)"""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How a template's passes look: the design, the names of the fields that passes fill, and the images."""

    design: Design = Design()
    fields: tuple[str, ...] = ()
    images: Images = {}


async def create(tx: Transaction, *, shop_identifier: str, display_name: str, kind: Kind, look: Look) -> str:
    """Make a template of a shop; its uid. 404: no such shop; 422: the look is refused, and why."""
    shop = await tx.connection.fetchval(_SHOP, tx.organisation_id, shop_identifier)
    if shop is None:
        raise errors.not_found("shop_identifier")
    _check(look, kind)
    uid = new_uid("wpt")
    tag = await next_tag(tx)
    await tx.connection.execute(
        _CREATE,
        tx.organisation_id,
        uid,
        shop,
        display_name,
        sort_key(display_name),
        kind,
        list(look.fields),
        msgspec.json.encode(look.design).decode(),
        tag,
        tx.now,
        tx.actor_kind,
        tx.actor_uid,
    )
    await _put_images(tx, uid, look.images)
    return uid


async def redesign(tx: Transaction, uid: str, look: Look) -> None:
    """Give a template another look in place of what it has: each of its passes changes by it.

    Without fields it keeps those that it has. 404: no such template; 422: the look is refused, and why.
    """
    tag = await next_tag(tx)
    kept = await tx.connection.fetchrow(_FIELDS, tx.organisation_id, uid)
    if kept is None:
        raise errors.not_found()
    fields = look.fields or tuple(kept["fields"])
    _check(msgspec.structs.replace(look, fields=fields), kept["pass_type"])
    await tx.connection.fetchval(
        _DESIGN,
        tx.organisation_id,
        uid,
        msgspec.json.encode(look.design).decode(),
        list(fields),
        tag,
        tx.now,
        tx.actor_kind,
        tx.actor_uid,
    )
    await tx.connection.execute(_CLEAR, tx.organisation_id, uid)
    await _put_images(tx, uid, look.images)
    await tell_devices_of_template(tx, tag, uid)


def _check(look: Look, kind: Kind) -> None:
    for objection in objections(look.design, list(look.fields), kind):
        raise errors.simple(422, objection)
    for (name, scale), content in look.images.items():
        try:
            png.check(content, name, scale)
        except png.PngError as error:
            raise errors.simple(422, f"{name}@{scale}x is refused: {error}") from error
    together = sum(len(content) for content in look.images.values())
    if together > png.MAX_BYTES_TOGETHER:
        most = png.MAX_BYTES_TOGETHER // 1024
        raise errors.simple(
            422, f"the images are {-(-together // 1024)} KiB together, and {most} KiB at most"
        )


async def _put_images(tx: Transaction, uid: str, images: Images) -> None:
    names, scales = [name for name, _ in images], [scale for _, scale in images]
    await tx.connection.execute(_IMAGES, tx.organisation_id, uid, names, scales, list(images.values()))
