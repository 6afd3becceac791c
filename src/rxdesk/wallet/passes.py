"""Passes are made, changed and revoked; run inside the caller's transaction."""

from __future__ import annotations

import json
from typing import Any

from rxdesk import errors
from rxdesk.access import Transaction, Updated, look
from rxdesk.kit.uids import new_uid
from rxdesk.wallet import pass_queries
from rxdesk.wallet.issuing import Held, Issuer, place_of_secret, read_held
from rxdesk.wallet.schemas import IssuedPass, NewPass, Pass
from rxdesk.wallet.tags import next_tag
from rxdesk.wallet.telling import tell_devices
from rxdesk.wallet.tokens import Identity, new_identity

_TEMPLATE = """
SELECT t.fields FROM wallet_pass_templates t
WHERE t.organisation_id = $1 AND t.uid = $2 AND t.deleted_at IS NULL"""
_PATIENT = "SELECT true FROM patients h WHERE h.organisation_id = $1 AND h.uid = $2 AND h.deleted_at IS NULL"

# What is not given stays as it is; a field that is given as null goes. $14 names the columns that are given.
_NEW = """'active',
  CASE WHEN 'patient_profile_uid' = ANY ($14::text[]) THEN excluded.patient_uid ELSE p.patient_uid END,
  CASE WHEN 'display_name' = ANY ($14::text[]) THEN excluded.display_name ELSE p.display_name END,
  CASE WHEN 'first_name' = ANY ($14::text[]) THEN excluded.first_name ELSE p.first_name END,
  CASE WHEN 'last_name' = ANY ($14::text[]) THEN excluded.last_name ELSE p.last_name END,
  CASE WHEN 'expires_at' = ANY ($14::text[]) THEN excluded.expires_at ELSE p.expires_at END"""
_VALUES = "jsonb_strip_nulls(p.field_values || $10::jsonb)"
# What is as it should be is not written, and gives no row. As texts, since 12.50 and 12.5 are shown so and equal.
_PUT = f"""
INSERT INTO wallet_passes AS p (organisation_id, uid, wallet_pass_template_uid, shop_customer_id, status, patient_uid,
  display_name, first_name, last_name, expires_at, field_values, tag, created_at, updated_at, actor_kind, actor_uid)
VALUES ($1, $2, $3, $4, 'active', $5, $6, $7, $8, to_timestamp($9::bigint), jsonb_strip_nulls($10::jsonb), $11, $12,
  $12, $13, $15)
ON CONFLICT (organisation_id, shop_customer_id, wallet_pass_template_uid) WHERE deleted_at IS NULL DO UPDATE SET
  (status, patient_uid, display_name, first_name, last_name, expires_at) = ROW ({_NEW}),
  field_values = {_VALUES},
  tag = excluded.tag, updated_at = excluded.updated_at, actor_kind = excluded.actor_kind, actor_uid = excluded.actor_uid
WHERE (p.status, p.patient_uid, p.display_name, p.first_name, p.last_name, p.expires_at) IS DISTINCT FROM ({_NEW})
  OR p.field_values::text <> ({_VALUES})::text
RETURNING p.uid, p.uid = $2 AS made"""
_UID = """
SELECT p.uid FROM wallet_passes p
WHERE p.organisation_id = $1 AND p.wallet_pass_template_uid = $2 AND p.shop_customer_id = $3 AND p.deleted_at IS NULL"""

_IDENTIFY = """
UPDATE wallet_passes p SET public_id = $3, sealed_secret = $4, issued_tag = greatest(p.tag, (
  SELECT t.tag FROM wallet_pass_templates t WHERE t.organisation_id = $1 AND t.uid = p.wallet_pass_template_uid))
WHERE p.organisation_id = $1 AND p.uid = $2 AND p.public_id IS NULL RETURNING true"""

_REVOKE = """
UPDATE wallet_passes SET status = 'revoked', tag = $3, updated_at = $4, actor_kind = $5, actor_uid = $6
WHERE organisation_id = $1 AND uid = $2 AND deleted_at IS NULL AND status <> 'revoked' RETURNING true"""


async def put(tx: Transaction, body: NewPass, issuer: Issuer) -> IssuedPass | Updated[IssuedPass]:
    """Make a customer's pass of a template, or change it; a revoked one is active again.

    A change that changes nothing is none: no device is told of it.
    """
    fields = await tx.connection.fetchval(_TEMPLATE, tx.organisation_id, body.wallet_pass_template_uid)
    if fields is None:
        raise errors.not_found("wallet_pass_template_uid")
    given = body.given()
    patient = given.get("patient_profile_uid")
    if patient is not None and not await tx.connection.fetchval(_PATIENT, tx.organisation_id, patient):
        raise errors.not_found("patient_profile_uid")
    values: dict[str, Any] = given.get("field_values") or {}
    for name in values:
        if name not in fields:
            raise errors.simple(422, "The template has no such field", field=f"field_values.{name}"[:100])
    tag = await next_tag(tx)
    row = await tx.connection.fetchrow(
        _PUT,
        tx.organisation_id,
        new_uid("wp"),
        body.wallet_pass_template_uid,
        body.shop_customer_id,
        patient,
        *(given.get(name) for name in ("display_name", "first_name", "last_name", "expires_at")),
        json.dumps(values),
        tag,
        tx.now,
        tx.actor_kind,
        list(given),
        tx.actor_uid,
    )
    if row is None:
        kept = await tx.connection.fetchval(
            _UID, tx.organisation_id, body.wallet_pass_template_uid, body.shop_customer_id
        )
        return Updated(await issue(tx, kept, issuer))
    if not row["made"]:
        await tell_devices(tx, tag, [row["uid"]])
    issued = await issue(tx, row["uid"], issuer)
    return issued if row["made"] else Updated(issued)


async def issue(tx: Transaction, uid: str, issuer: Issuer) -> IssuedPass:
    """Give a pass with its addresses; one that was imported gets them now. 404 when there is none."""
    held, identity = await identified(tx, uid, issuer)
    return IssuedPass(
        uid=held.uid,
        wallet_pass_template_uid=held.template_uid,
        shop_customer_id=held.shop_customer_id,
        status=held.status,
        links=issuer.links(held, identity),
    )


async def identified(tx: Transaction, uid: str, issuer: Issuer) -> tuple[Held, Identity]:
    """Give a pass, and what its tokens are made from, which is made where it has never been issued. 404: no pass."""
    held = await _held(tx, uid)
    if held.public_id is None:
        made = new_identity()
        sealed = tx.sealer.seal(made.secret, place_of_secret(tx.organisation_id, uid))
        await tx.connection.fetchval(_IDENTIFY, tx.organisation_id, uid, made.public_id, sealed)
        held = await _held(tx, uid)  # as it stands now, whoever of two was first
    identity = issuer.identity(tx.organisation_id, held)
    if identity is None:
        message = "a pass that was just identified is not"
        raise RuntimeError(message)
    return held, identity


async def _held(tx: Transaction, uid: str) -> Held:
    body = await look(tx.connection, tx.organisation_id, pass_queries.BY_UID, uid, tx.now, None)
    if body is None:
        raise errors.not_found()
    return read_held(body)


async def revoke(tx: Transaction, uid: str) -> Pass:
    """Revoke a pass: devices show it as void once they have fetched it. One that is revoked stays so."""
    held = await _held(tx, uid)
    if held.status != "revoked":
        tag = await next_tag(tx)
        actor = tx.actor_kind, tx.actor_uid
        # Of two at once one finds it revoked by now.
        if await tx.connection.fetchval(_REVOKE, tx.organisation_id, uid, tag, tx.now, *actor):
            await tell_devices(tx, tag, [uid])
    return Pass(
        uid=held.uid,
        wallet_pass_template_uid=held.template_uid,
        shop_customer_id=held.shop_customer_id,
        status="revoked",
    )
