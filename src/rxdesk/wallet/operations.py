"""Routes of the Operations API for wallet passes."""

from __future__ import annotations

from rxdesk.permissions import Permission
from rxdesk.wallet import checks, schemas
from rxdesk.wallet.issuing import Issuer
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint


@endpoint(
    "POST",
    "/wallet-passes/verify",
    Permission.WALLET_PASS_VERIFY,
    tag="Wallet",
    summary="Verify the code of a wallet pass",
    description="What the QR code of a pass holds. Each check is noted. A code of another organisation is `unknown`.",
    body=schemas.Code,
    body_example=schemas.CODE_EXAMPLE,
    answer=schemas.CheckedPass,
    answer_example=schemas.CHECKED_EXAMPLE,
)
async def verify_wallet_pass(call: Call) -> Answer:
    """Tell what a code is worth."""
    body = await call.body(schemas.Code)
    return await call.write(checks.verify, body.code, call.services.part(Issuer))


ENDPOINTS = (verify_wallet_pass,)
