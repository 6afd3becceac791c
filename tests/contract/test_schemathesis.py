"""Schemathesis over the whole document, with a key that may do everything: it is as the document says.

All checks of Schemathesis are on. Those that are off for an operation stand in `OFF`, with the line of the
contract that says why.
"""

from __future__ import annotations

import secrets
from typing import Any, TypeAlias

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks
from tests.conftest import BASE, ENCRYPTION_KEYS, Live
from tests.contract.worlds import DOCUMENT, World, make_world
from tests.factories import make_tenant

from rxdesk.db.pool import Connection
from rxdesk.permissions import ALL

load_all_checks()
Case: TypeAlias = "schemathesis.Case[Any]"
REJECTS, ACCEPTS = "negative_data_rejection", "positive_data_acceptance"
# Check, operations, and the contract's line that says why it is off there.
OFF: list[tuple[str, tuple[str, ...], str]] = [
    (
        REJECTS,
        (
            *(
                "list_products",
                "list_doctors",
                "get_doctor_statistics",
                "find_patient",
                "list_wallet_templates",
            ),
            *("list_wallet_passes", "remove_subscription"),
        ),
        "section 1: unknown query parameters are ignored",
    ),
    (ACCEPTS, ("get_doctor_statistics",), "route 5: `from >= to` is 400"),
    (ACCEPTS, ("find_patient",), "route 6: 400 when `email` is no e-mail address"),
    (
        ACCEPTS,
        ("create_subscription", "send_test"),
        "routes 16, 18: HTTPS only; a custom header may not be Host, Content-*, …, nor hold line breaks",
    ),
    (
        ACCEPTS,
        ("remove_subscription",),
        "route 17: by `target` and `notification_type`, as query parameters or as a JSON body",
    ),
]
# A valid request may also be told 422: section 1, Idempotency-Key, another body. NUL is refused everywhere,
# which no schema says (architecture, section 5: the strict door).
CONFIG = schemathesis.Config.from_dict(
    {
        "generation": {"allow-x00": False},
        "checks": {
            ACCEPTS: {"expected-statuses": ["2xx", "401", "403", "404", "409", "422", "429", "5xx"]},
        },
    }
)

schema = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG)


@pytest.fixture(scope="module")
async def world(app_connection: Connection) -> World:
    return await make_world(await make_tenant(app_connection), "zq" + secrets.token_hex(5), ENCRYPTION_KEYS)


@pytest.fixture(scope="module")
async def key(world: World) -> str:
    return await world.tenant.key(*ALL)


@pytest.fixture(scope="module")
def session(key: str) -> requests.Session:
    opened = requests.Session()
    opened.trust_env = False
    return opened


def _excluded(name: str) -> list[Any]:
    return [CHECKS.get_one(check) for check, operations, _ in OFF if name in operations]


def _judge(case: Case, live: Live, key: str, session: requests.Session) -> None:
    name = case.operation.definition.raw["operationId"]
    case.call_and_validate(
        base_url=live.url + BASE,
        session=session,
        headers={"X-API-Key": key},
        excluded_checks=_excluded(name),
        timeout=10,
    )


@schema.parametrize()
@settings(max_examples=30, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_document_is_true(case: Case, live: Live, key: str, session: requests.Session) -> None:
    _judge(case, live, key, session)


@pytest.mark.proof
@schema.parametrize()
@settings(max_examples=1000, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_document_is_true_at_length(case: Case, live: Live, key: str, session: requests.Session) -> None:
    _judge(case, live, key, session)


def test_each_exception_is_of_an_operation_and_a_check_that_exist() -> None:
    names = {described["operationId"] for path in DOCUMENT["paths"].values() for described in path.values()}
    for check, operations, why in OFF:
        assert check in CHECKS.get_all_names()
        assert set(operations) <= names
        assert why.startswith(("section", "route"))
