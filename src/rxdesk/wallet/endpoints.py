"""Routes of wallet templates, passes and push notifications."""

from __future__ import annotations

from rxdesk.permissions import Permission
from rxdesk.wallet import commands, passes, queries, schemas
from rxdesk.wallet.issuing import Issuer
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint


@endpoint(
    "GET",
    "/wallet-passes/templates",
    Permission.WALLET_PASS_TEMPLATE_READ,
    tag="Wallet",
    summary="List a shop's wallet pass templates",
    query=schemas.TemplateSearch,
    answer=schemas.TemplateList,
    answer_example=schemas.TEMPLATES_EXAMPLE,
    errors=(404,),
)
async def list_wallet_templates(call: Call) -> Answer:
    """Answer with all templates of a shop, by name."""
    return await call.read(queries.TEMPLATES, call.query(schemas.TemplateSearch).shop_identifier)


@endpoint(
    "GET",
    "/wallet-passes",
    Permission.WALLET_PASS_READ,
    tag="Wallet",
    summary="List a customer's wallet passes",
    query=schemas.PassSearch,
    answer=schemas.PassList,
    answer_example=schemas.PASSES_EXAMPLE,
    errors=(404,),
)
async def list_wallet_passes(call: Call) -> Answer:
    """Answer with all passes of a shop's customer, newest first."""
    search = call.query(schemas.PassSearch)
    template = search.wallet_pass_template_uid
    return await call.read(
        queries.PASSES, search.shop_identifier, search.shop_customer_id, template, call.now
    )


@endpoint(
    "POST",
    "/wallet-passes",
    Permission.WALLET_PASS_WRITE,
    tag="Wallet",
    summary="Make or change a customer's wallet pass",
    description="There is one for each template and customer: 201 when it is made, 200 when it was there. What is "
    "left out stays as it is; a revoked pass is active again. The answer has the addresses for its holder.",
    status=201,
    updated=200,
    idempotent=True,
    body=schemas.NewPass,
    body_example=schemas.NEW_PASS_EXAMPLE,
    answer=schemas.IssuedPass,
    answer_example=schemas.ISSUED_EXAMPLE,
    errors=(404,),
)
async def put_wallet_pass(call: Call) -> Answer:
    """Make or change a pass."""
    body = await call.body(schemas.NewPass)
    return await call.write(passes.put, body, call.services.part(Issuer))


@endpoint(
    "POST",
    "/wallet-passes/{wallet_pass_uid}/revoke",
    Permission.WALLET_PASS_WRITE,
    tag="Wallet",
    summary="Revoke a wallet pass",
    description="Devices show it as void. One that is revoked stays so.",
    idempotent=True,
    path_parameters={"wallet_pass_uid": "Uid of the pass"},
    answer=schemas.Pass,
    answer_example=schemas.REVOKED_EXAMPLE,
)
async def revoke_wallet_pass(call: Call) -> Answer:
    """Revoke a pass."""
    return await call.write(passes.revoke, call.uid("wallet_pass_uid"))


@endpoint(
    "POST",
    "/wallet-passes/push-notifications",
    Permission.WALLET_PASS_PUSH_NOTIFICATION_WRITE,
    tag="Wallet",
    summary="Send messages to holders of passes",
    description="1 to 1,000 messages. A fault of state fails its element alone; a fault of type or length is "
    "400 for the whole array, and nothing is queued.",
    idempotent=True,
    body=schemas.Pushes,
    body_example=schemas.PUSHES_EXAMPLE,
    answer=schemas.PushResults,
    answer_example=schemas.PUSH_RESULTS_EXAMPLE,
)
async def send_push_notifications(call: Call) -> Answer:
    """Queue the messages, all in one transaction."""
    return await call.write(commands.queue_pushes, await call.body(schemas.Pushes))


ENDPOINTS = (
    list_wallet_templates,
    list_wallet_passes,
    put_wallet_pass,
    send_push_notifications,
    revoke_wallet_pass,
)
