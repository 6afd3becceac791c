"""The OpenAPI documents: valid, committed, true to the contract's tables of routes, with examples that fit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.conftest import Live

from rxdesk import routes
from rxdesk.web import openapi
from rxdesk.web.api import Api

ROOT = Path(__file__).parents[2]
APIS = (*routes.APIS, routes.PUBLIC)
DOCUMENTS: dict[str, dict[str, Any]] = {api.base: openapi.document(api) for api in APIS}
each_api = pytest.mark.parametrize("api", APIS, ids=lambda api: api.document)
each_served = pytest.mark.parametrize("api", routes.APIS, ids=lambda api: api.document)


def operations(api: Api) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each operation."""
    return [
        (method.upper(), path, operation)
        for path, methods in DOCUMENTS[api.base]["paths"].items()
        for method, operation in methods.items()
    ]


# The contract's tables (sections 2 and 4): method, path, permission, success. «Any valid key» is null.
TABLES = {
    routes.MANAGEMENT.base: """
GET /orders/{order_uid} order:read 200
GET /prescriptions/{prescription_uid} prescription:read 200
GET /products product:read 200
GET /doctors doctor:read 200
GET /doctors/{doctor_uid}/statistics doctor_statistics:read 200
GET /patients patient:read 200
GET /patients/{patient_uid} patient:read 200
GET /patients/{patient_uid}/intent/{intent} patient:read 200
POST /waiting-room/register waiting_room:write 201
GET /waiting-room/{queue_uid}/status waiting_room:read 200
GET /waiting-room/{queue_uid}/events waiting_room:read 200
DELETE /waiting-room/{queue_uid} waiting_room:write 204
GET /wallet-passes/templates wallet_pass_template:read 200
GET /wallet-passes wallet_pass:read 200
POST /wallet-passes wallet_pass:write 200
POST /wallet-passes/{wallet_pass_uid}/revoke wallet_pass:write 200
POST /wallet-passes/push-notifications wallet_pass_push_notification:write 200
GET /notification-subscriptions - 200
POST /notification-subscriptions - 201
DELETE /notification-subscriptions - 204
POST /notification-subscriptions/test - 200
GET /health/ - 200
""",
    # Ours, so the contract has no table of them: docs/operations-api.md.
    routes.OPERATIONS.base: """
POST /orders order:write 201
POST /orders/{order_uid}/status order:write 200
POST /orders/{order_uid}/cancel order:write 200
GET /orders/{order_uid}/history order:read 200
POST /prescriptions/{prescription_uid}/assign prescription:write 200
POST /prescriptions/{prescription_uid}/approve prescription:write 200
POST /prescriptions/{prescription_uid}/decline prescription:write 200
POST /prescriptions/{prescription_uid}/hold prescription:write 200
POST /prescriptions/{prescription_uid}/resume prescription:write 200
POST /prescriptions/{prescription_uid}/sign prescription:write 200
POST /prescriptions/{prescription_uid}/cancel prescription:write 200
GET /prescriptions/{prescription_uid}/history prescription:read 200
GET /pharmacy_orders/{pharmacy_order_uid}/history order:read 200
GET /pharmacy_skus/{pharmacy_sku_uid}/history product:read 200
GET /waiting-room/shops/{shop_uid} waiting_room:read 200
GET /waiting-room/events waiting_room:read 200
GET /waiting-room/calibration waiting_room:read 200
GET /waiting-room/doctors/{doctor_uid} waiting_room:operate 200
GET /waiting-room/doctors/{doctor_uid}/history waiting_room:read 200
POST /waiting-room/doctors/{doctor_uid}/on-duty waiting_room:operate 200
POST /waiting-room/doctors/{doctor_uid}/pause waiting_room:operate 200
POST /waiting-room/doctors/{doctor_uid}/resume waiting_room:operate 200
POST /waiting-room/doctors/{doctor_uid}/off-duty waiting_room:operate 200
POST /waiting-room/doctors/{doctor_uid}/heartbeat waiting_room:operate 204
POST /waiting-room/doctors/{doctor_uid}/call-next waiting_room:operate 200
POST /waiting-room/visits/{queue_uid}/complete waiting_room:operate 200
POST /waiting-room/visits/{queue_uid}/no-show waiting_room:operate 200
POST /waiting-room/visits/{queue_uid}/hand-over waiting_room:operate 200
POST /waiting-room/visits/{queue_uid}/cancel waiting_room:operate 200
GET /waiting-room/visits/{queue_uid}/history waiting_room:read 200
POST /wallet-passes/verify wallet_pass:verify 200
GET /wallet-passes/push-notifications wallet_pass:read 200
GET /events event:read 200
GET /events/{event_uid} event:read 200
GET /deliveries delivery:read 200
POST /deliveries/replay delivery:write 202
GET /deliveries/{delivery_uid} delivery:read 200
POST /deliveries/{delivery_uid}/retry delivery:write 202
GET /subscriptions delivery:read 200
POST /subscriptions/{subscription_uid}/enable delivery:write 200
POST /subscriptions/{subscription_uid}/disable delivery:write 204
POST /subscriptions/{subscription_uid}/rotate-secret delivery:write 200
POST /subscriptions/{subscription_uid}/switch-secret delivery:write 204
""",
    routes.PHARMACY.base: """
GET /pharmacy_orders/ orders_read 200
GET /pharmacy_orders/{pharmacy_order_uid} orders_read 200
PATCH /pharmacy_orders/{pharmacy_order_uid}/status orders_write 200
PATCH /pharmacy_orders/{pharmacy_order_uid}/complete_order orders_write 200
GET /pharmacy_skus/ stock_read 200
PATCH /pharmacy_skus/{pharmacy_sku_uid} pharmacy_sku_write 200
PATCH /pharmacy_skus/{pharmacy_sku_uid}/stock stock_write 200
PATCH /pharmacy_skus/{pharmacy_sku_uid}/external_id pharmacy_sku_write 200
GET /webhooks/ webhooks_read 200
POST /webhooks/ webhooks_write 201
DELETE /webhooks/{subscription_uid} webhooks_write 204
""",
    # Apple's PassKit web service, and ours for holders: docs/wallet.md.
    routes.PUBLIC.base: """
GET /{token} open 200
GET /{token}/pass.pkpass open 200
POST /{public_code}/v1/devices/{device}/registrations/{pass_type}/{serial} open 200
DELETE /{public_code}/v1/devices/{device}/registrations/{pass_type}/{serial} open 200
GET /{public_code}/v1/devices/{device}/registrations/{pass_type} open 200
GET /{public_code}/v1/passes/{pass_type}/{serial} open 200
POST /{public_code}/v1/log open 200
GET /{token}/google open 303
POST /{public_code}/v1/google open 200
GET /{public_code}/images/{template}/{version}/{image} open 200
""",
}


@each_api
def test_it_is_valid(api: Api) -> None:
    OpenAPIV31SpecValidator(json.loads(msgspec.json.encode(DOCUMENTS[api.base]))).validate()


@each_api
def test_the_committed_one_is_the_code_s(api: Api) -> None:
    committed = (ROOT / "docs" / api.document).read_bytes()
    assert committed == openapi.encode(api), "run `make docs` and commit"


@each_served
async def test_it_is_served_without_a_key(live: Live, api: Api) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        for path in ("/openapi.json", "/openapi.json/"):
            answer = await client.get(live.url + api.base + path)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json"
            assert answer.content == openapi.encode(api)


@each_api
def test_routes_and_permissions_are_the_contract_s(api: Api) -> None:
    found = {
        (method, path): (operation.get("x-permission", "open"), min(operation["responses"]))
        for method, path, operation in operations(api)
    }
    wanted = {}
    for line in TABLES[api.base].split("\n"):
        if line:
            method, path, permission, status = line.split()
            wanted[method, path] = (None if permission == "-" else permission, status)
    assert found == wanted


def _contents(api: Api) -> list[tuple[str, str, dict[str, Any]]]:
    found = []
    for method, path, operation in operations(api):
        at = f"{method} {api.base}{path}"
        if "requestBody" in operation:
            body = operation["requestBody"]["content"]["application/json"]
            found.append((f"{at} body", api.base, body))
        for status, response in operation["responses"].items():
            if status in ("204", "303", "304"):
                assert "content" not in response
            elif "content" not in response:  # Apple's protocol has none there
                assert (api.open, status[0]) == (True, "2")
            else:
                kinds = response["content"]
                assert len(kinds) == 1 or (status, *kinds) == ("503", "application/json", "text/html")
                found += [(f"{at} {status} {kind}", api.base, content) for kind, content in kinds.items()]
    return found


CONTENTS = [content for api in APIS for content in _contents(api)]


@pytest.mark.parametrize(("name", "base", "content"), CONTENTS, ids=[name for name, _, _ in CONTENTS])
def test_each_body_has_examples_that_fit_its_schema(name: str, base: str, content: dict[str, Any]) -> None:
    assert content["examples"]
    schema = {**content["schema"], "components": DOCUMENTS[base]["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    for example in content["examples"].values():
        validator.validate(json.loads(msgspec.json.encode(example["value"])))


@each_api
def test_each_required_parameter_has_an_example_that_fits_and_no_optional_one(api: Api) -> None:
    """The page sends an example that nobody has touched: of an optional parameter it would spoil the call."""
    for _, path, operation in operations(api):
        named = [p["name"] for p in operation.get("parameters", []) if p["in"] == "path"]
        assert named == re.findall(r"\{(\w+)\}", path)
        for parameter in operation.get("parameters", []):
            if parameter["required"]:
                jsonschema.Draft202012Validator(parameter["schema"]).validate(parameter["example"])
            else:
                assert "example" not in parameter
                assert parameter["description"]


def test_the_example_of_a_registration_names_nothing_that_may_be_left_out() -> None:
    content = openapi.document(routes.MANAGEMENT)["paths"]["/waiting-room/register"]["post"]["requestBody"][
        "content"
    ]["application/json"]
    given = msgspec.to_builtins(content["examples"]["example"]["value"])
    uids = {name for name, value in given.items() if name.endswith("_uid") and value is not None}
    assert uids == {"shop_uid", "patient_profile_uid"}


@each_served
async def test_the_page_and_its_files_are_ours(live: Live, api: Api) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        for path in ("/apidocs/", "/apidocs"):
            page = await client.get(live.url + api.base + path)
            assert page.status_code == 200
            assert page.headers["content-type"].startswith("text/html")
            assert "default-src 'none'" in page.headers["content-security-policy"]
            linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
            assert linked
            for link in linked:
                assert link.startswith(api.base)
                assert (await client.get(live.url + link)).status_code == 200
        missing = await client.get(live.url + api.base + "/apidocs/..%2F..%2Fapp.py")
        assert missing.status_code == 404
