"""The OpenAPI document: valid, committed, true to the contract's table of routes, with examples that fit."""

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

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = openapi.document(routes.ENDPOINTS, routes.BASE)
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
# The contract's table (section 2): method, path, permission, success. «Any valid key» is null.
TABLE = """
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
DELETE /waiting-room/{queue_uid} waiting_room:write 204
GET /wallet-passes/templates wallet_pass_template:read 200
GET /wallet-passes wallet_pass:read 200
POST /wallet-passes/push-notifications wallet_pass_push_notification:write 200
GET /notification-subscriptions - 200
POST /notification-subscriptions - 201
DELETE /notification-subscriptions - 204
POST /notification-subscriptions/test - 200
GET /health/ - 200
"""


def test_it_is_valid() -> None:
    OpenAPIV31SpecValidator(json.loads(msgspec.json.encode(DOCUMENT))).validate()


def test_the_committed_one_is_the_code_s() -> None:
    committed = (ROOT / "docs/openapi.json").read_bytes()
    assert committed == openapi.encode(routes.ENDPOINTS, routes.BASE), "run `make docs` and commit"


async def test_it_is_served_without_a_key(live: Live) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for path in ("/openapi.json", "/openapi.json/"):
            answer = await client.get(live.url + routes.BASE + path)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json"
            assert answer.content == openapi.encode(routes.ENDPOINTS, routes.BASE)


def test_routes_and_permissions_are_the_contract_s() -> None:
    found = {
        (method, path): (operation["x-permission"], min(operation["responses"]))
        for method, path, operation in OPERATIONS
    }
    wanted = {}
    for line in TABLE.split("\n"):
        if line:
            method, path, permission, status = line.split()
            wanted[method, path] = (None if permission == "-" else permission, status)
    assert found == wanted


def _contents() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for method, path, operation in OPERATIONS:
        if "requestBody" in operation:
            found.append((f"{method} {path} body", operation["requestBody"]["content"]["application/json"]))
        for status, response in operation["responses"].items():
            if status == "204":
                assert "content" not in response
            else:
                found.append((f"{method} {path} {status}", response["content"]["application/json"]))
    return found


@pytest.mark.parametrize(("name", "content"), _contents(), ids=[name for name, _ in _contents()])
def test_each_body_has_examples_that_fit_its_schema(name: str, content: dict[str, Any]) -> None:
    assert content["examples"]
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    for example in content["examples"].values():
        validator.validate(json.loads(msgspec.json.encode(example["value"])))


def test_each_required_parameter_has_an_example_that_fits_and_no_optional_one() -> None:
    """The page sends an example that nobody has touched: of an optional parameter it would spoil the call."""
    for _, path, operation in OPERATIONS:
        named = [p["name"] for p in operation.get("parameters", []) if p["in"] == "path"]
        assert named == re.findall(r"\{(\w+)\}", path)
        for parameter in operation.get("parameters", []):
            if parameter["required"]:
                jsonschema.Draft202012Validator(parameter["schema"]).validate(parameter["example"])
            else:
                assert "example" not in parameter
                assert parameter["description"]


def test_the_example_of_a_registration_names_nothing_that_may_be_left_out() -> None:
    content = DOCUMENT["paths"]["/waiting-room/register"]["post"]["requestBody"]["content"][
        "application/json"
    ]
    given = msgspec.to_builtins(content["examples"]["example"]["value"])
    uids = {name for name, value in given.items() if name.endswith("_uid") and value is not None}
    assert uids == {"shop_uid", "patient_profile_uid"}


async def test_the_page_and_its_files_are_ours(live: Live) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for path in ("/apidocs/", "/apidocs"):
            page = await client.get(live.url + routes.BASE + path)
            assert page.status_code == 200
            assert page.headers["content-type"].startswith("text/html")
            assert "default-src 'none'" in page.headers["content-security-policy"]
            linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
            assert linked
            for link in linked:
                assert link.startswith(routes.BASE)
                assert (await client.get(live.url + link)).status_code == 200
        missing = await client.get(live.url + routes.BASE + "/apidocs/..%2F..%2Fapp.py")
        assert missing.status_code == 404
