"""Checks of codes at a counter or a door: what a code is worth, and that it was looked at."""

from __future__ import annotations

from rxdesk.access import Transaction, look
from rxdesk.kit.uids import new_uid
from rxdesk.wallet import pass_queries
from rxdesk.wallet.issuing import Held, Issuer, read_held
from rxdesk.wallet.schemas import CheckedPass, CheckResult
from rxdesk.wallet.tokens import read_token

_RESULTS: dict[str, CheckResult] = {"active": "valid", "revoked": "revoked", "expired": "expired"}
_NOTE = """
INSERT INTO wallet_checks (organisation_id, uid, result, wallet_pass_uid, checked_at, actor_kind, actor_uid)
VALUES ($1, $2, $3, $4, $5, $6, $7)"""


async def verify(tx: Transaction, code: str, issuer: Issuer) -> CheckedPass:
    """Tell whose pass a code is of and what that is worth now, and note the check.

    A code of another organisation's pass is as unknown as one that nobody has made.
    """
    held = await _of_code(tx, code, issuer)
    result: CheckResult = "unknown" if held is None else _RESULTS[held.status]
    uid = None if held is None else held.uid
    actor = tx.actor_kind, tx.actor_uid
    await tx.connection.execute(_NOTE, tx.organisation_id, new_uid("wpc"), result, uid, tx.now, *actor)
    if held is None:
        return CheckedPass(result=result)
    return CheckedPass(
        result=result,
        wallet_pass_uid=held.uid,
        wallet_pass_template_uid=held.template_uid,
        shop_customer_id=held.shop_customer_id,
        display_name=held.personal["display_name"],
        expires_at=held.expires_at,
    )


async def _of_code(tx: Transaction, code: str, issuer: Issuer) -> Held | None:
    reference = read_token(code.strip())
    if reference is None:
        return None
    body = await look(
        tx.connection, tx.organisation_id, pass_queries.BY_PUBLIC_ID, reference.public_id, tx.now, None
    )
    if body is None:
        return None
    held = read_held(body)
    return held if issuer.proves(tx.organisation_id, held, reference, "code") else None
