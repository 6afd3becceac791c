"""Passes for tests, made over HTTP as an integrator makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from tests.conftest import ENCRYPTION_KEYS
from tests.factories import Tenant

from rxdesk.access import look
from rxdesk.kit.clock import utc_now
from rxdesk.kit.sealing import Sealer, read_keys
from rxdesk.wallet import pass_queries
from rxdesk.wallet.issuing import Issuer, read_held
from rxdesk.wallet.tokens import Purpose, make_token


async def make_template(tenant: Tenant, *fields: str, **more: object) -> str:
    """A template of a shop of its own."""
    return await tenant.insert(
        "wallet_pass_templates", shop_uid=await tenant.insert("shops"), fields=list(fields), **more
    )


async def give_images(tenant: Tenant, template: str, images: Mapping[tuple[str, int], bytes]) -> None:
    """Give a template images by name and scale."""
    await tenant.enter()
    statement = "INSERT INTO wallet_template_images VALUES ($1, $2, $3, $4, $5)"
    rows = [(tenant.id, template, name, scale, png) for (name, scale), png in images.items()]
    await tenant.connection.executemany(statement, rows)


async def put(
    client: httpx.AsyncClient, tenant: Tenant, template: str, customer: str = "cust-1", /, **members: Any
) -> httpx.Response:
    """Make or change a customer's pass."""
    body = {"wallet_pass_template_uid": template, "shop_customer_id": customer, **members}
    return await client.post("/wallet-passes", json=body, headers=await tenant.headers("wallet_pass:write"))


async def token_of(tenant: Tenant, uid: str, purpose: Purpose) -> str:
    """A pass's token for a purpose, which only the server can make."""
    await tenant.enter()
    body = await look(tenant.connection, tenant.id, pass_queries.BY_UID, uid, utc_now(), None)
    assert body is not None
    held = read_held(body)
    identity = Issuer(Sealer(read_keys(ENCRYPTION_KEYS)), "").identity(tenant.id, held)
    assert identity is not None
    return make_token(held.public_code, identity, purpose)


_REGISTER = """
INSERT INTO wallet_registrations (organisation_id, device_identifier, wallet_pass_uid, push_token, created_at,
  updated_at)
VALUES ($1, $2, $3, $4, $5, $5)"""


async def register(tenant: Tenant, uid: str, device: str = "phone", pushed_by: str = "ab") -> None:
    """Have a device hold a pass."""
    await tenant.enter()
    await tenant.connection.execute(_REGISTER, tenant.id, device, uid, pushed_by, utc_now())
