"""POST /v1/operations/wallet-passes/verify: what a scanned code is worth."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.api.wallet.cards import make_template, put, token_of
from tests.conftest import InProcess
from tests.factories import LONG_AGO, Tenant

URL = "http://test/v1/operations/wallet-passes/verify"
UNKNOWN = {
    "result": "unknown",
    "wallet_pass_uid": None,
    "wallet_pass_template_uid": None,
    "shop_customer_id": None,
    "display_name": None,
    "expires_at": None,
}


async def verify(inside: InProcess, tenant: Tenant, code: str) -> dict[str, Any]:
    headers = await tenant.headers("wallet_pass:verify")
    answer = await inside.client.post(URL, json={"code": code}, headers=headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def noted(tenant: Tenant) -> list[tuple[str, str | None, str]]:
    rows = await tenant.rows(
        "SELECT result, wallet_pass_uid, actor_kind FROM wallet_checks WHERE organisation_id = $1 ORDER BY uid"
    )
    return [(row["result"], row["wallet_pass_uid"], row["actor_kind"]) for row in rows]


async def test_valid_expired_revoked_and_noted(inside: InProcess, tenant: Tenant) -> None:
    template = await make_template(tenant)
    expires = inside.clock.moment + timedelta(hours=1)
    made = await put(
        inside.client, tenant, template, display_name="Max M.", expires_at=int(expires.timestamp())
    )
    uid = made.json()["uid"]
    code = await token_of(tenant, uid, "code")
    found = {
        "result": "valid",
        "wallet_pass_uid": uid,
        "wallet_pass_template_uid": template,
        "shop_customer_id": "cust-1",
        "display_name": "Max M.",
        "expires_at": int(expires.timestamp()),
    }
    assert await verify(inside, tenant, code) == found
    assert await verify(inside, tenant, f" {code}\n") == found  # scanners end with a line feed
    inside.clock.moment = expires
    assert await verify(inside, tenant, code) == {**found, "result": "expired"}
    headers = await tenant.headers("wallet_pass:write")
    await inside.client.post(f"/wallet-passes/{uid}/revoke", headers=headers)
    assert await verify(inside, tenant, code) == {**found, "result": "revoked"}
    assert await noted(tenant) == [
        (result, uid, "key") for result in ("valid", "valid", "expired", "revoked")
    ]


async def test_the_holder_is_the_patient(inside: InProcess, tenant: Tenant) -> None:
    patient = await tenant.insert("patients", display_name="Eva Groß")
    made = await put(
        inside.client, tenant, await make_template(tenant), display_name="D", patient_profile_uid=patient
    )
    code = await token_of(tenant, made.json()["uid"], "code")
    assert (await verify(inside, tenant, code))["display_name"] == "Eva Groß"


async def test_what_is_no_code_of_ours(inside: InProcess, tenant: Tenant, other: Tenant) -> None:
    made = await put(inside.client, tenant, await make_template(tenant))
    uid = made.json()["uid"]
    code = await token_of(tenant, uid, "code")
    public_code, public_id, signature = code.split(".")
    theirs = await put(inside.client, other, await make_template(other))
    for wrong in (
        "x",
        uid,
        code[:-1],
        code + "A",
        f"{public_code}.{public_id}.{'A' * len(signature)}",
        f"{public_code}.{'A' * len(public_id)}.{signature}",
        f"{other.organisation.public_code}.{public_id}.{signature}",
        f".{public_id}.{signature}",
        await token_of(tenant, uid, "landing"),
        await token_of(tenant, uid, "device"),
        await token_of(other, theirs.json()["uid"], "code"),
        "ü" * 40,
    ):
        assert await verify(inside, tenant, wrong) == UNKNOWN, wrong
    assert {result for result, *_ in await noted(tenant)} == {"unknown"}
    assert await noted(other) == []
    await tenant.update("wallet_passes", uid, deleted_at=LONG_AGO)
    assert await verify(inside, tenant, code) == UNKNOWN


@pytest.mark.parametrize(
    "body", [{}, {"code": ""}, {"code": 5}, {"code": "x" * 513}, {"code": "x", "more": 1}]
)
async def test_what_is_no_request(inside: InProcess, tenant: Tenant, body: dict[str, object]) -> None:
    headers = await tenant.headers("wallet_pass:verify")
    assert (await inside.client.post(URL, json=body, headers=headers)).status_code == 400
    assert await noted(tenant) == []
