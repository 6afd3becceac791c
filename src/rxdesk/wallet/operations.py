"""Routes of the Operations API for wallet passes."""

from __future__ import annotations

from rxdesk.permissions import Permission
from rxdesk.wallet import checks, push_schemas, schemas, telling
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


@endpoint(
    "GET",
    "/wallet-passes/push-notifications",
    Permission.WALLET_PASS_READ,
    tag="Wallet",
    summary="List push notifications, newest first",
    description="With what became of each on the devices that held the pass when it was sent.",
    query=push_schemas.NotificationsWanted,
    answer=push_schemas.NotificationPage,
    answer_example=push_schemas.NOTIFICATIONS_EXAMPLE,
)
async def list_push_notifications(call: Call) -> Answer:
    """Answer with a page of push notifications."""
    wanted = call.query(push_schemas.NotificationsWanted)
    return await call.read(
        telling.NOTIFICATIONS, wanted.wallet_pass_uid, wanted.size, wanted.page * wanted.size
    )


ENDPOINTS = (verify_wallet_pass, list_push_notifications)
