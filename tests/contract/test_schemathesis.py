"""Schemathesis over each whole document, with a key that may do everything there: it is as the document says.

All checks of Schemathesis are on. Those that are off for an operation stand in `OFF`, with the line of the
contract that says why.
"""

from __future__ import annotations

import re
import secrets
from typing import Any, TypeAlias

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, assume, settings
from schemathesis.checks import CHECKS, load_all_checks
from tests.conftest import ENCRYPTION_KEYS, Live
from tests.contract.documented import DOCUMENTS
from tests.contract.worlds import World, make_world
from tests.factories import make_tenant

from rxdesk import routes
from rxdesk.db.pool import Connection
from rxdesk.web.api import Api

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

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
            *("list_wallet_passes", "remove_subscription", "list_pharmacy_orders", "list_pharmacy_skus"),
            *("get_order_history", "get_prescription_history"),
            *("list_events", "list_deliveries", "list_all_subscriptions"),
            *("get_pharmacy_order_history", "get_pharmacy_sku_history"),
            "list_push_notifications",
            *("get_board", "get_duty_history", "get_visit_history"),
        ),
        "section 1: unknown query parameters are ignored",
    ),
    (
        ACCEPTS,
        (
            "create_order",
            "put_wallet_pass",
            "set_pharmacy_sku_price",
            "set_pharmacy_sku_stock",
            "rotate_secret",
            "pause_duty",
        ),
        "section 1: an integer is written as one; 1.0 is refused",
    ),
    (ACCEPTS, ("replay_deliveries",), "section 1, as for route 5: a time that ends before it begins is 400"),
    (ACCEPTS, ("get_doctor_statistics",), "route 5: `from >= to` is 400"),
    (ACCEPTS, ("find_patient",), "route 6: 400 when `email` is no e-mail address"),
    (
        ACCEPTS,
        ("create_subscription", "send_test", "create_webhook"),
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


@pytest.fixture(scope="module")
async def world(app_connection: Connection) -> World:
    return await make_world(await make_tenant(app_connection), "zq" + secrets.token_hex(5), ENCRYPTION_KEYS)


@pytest.fixture(scope="module")
async def keys(world: World) -> dict[str, str]:
    """By base path, a key that may do everything there."""
    return {api.base: await world.full_key(api.base) for api in routes.APIS}


@pytest.fixture(scope="module")
def session() -> requests.Session:
    opened = requests.Session()
    opened.trust_env = False
    return opened


def _excluded(name: str) -> list[Any]:
    return [CHECKS.get_one(check) for check, operations, _ in OFF if name in operations]


def _is_http(case: Case) -> bool:
    """Tell whether a header's values have no control characters.

    Section 1: what the HTTP server itself refuses has an empty body, which the document does not speak of;
    tests/wire has it.
    """
    return not any(_CONTROL.search(str(value)) for value in (case.headers or {}).values())


def _test_of(api: Api, examples: int) -> Any:
    """Make the test of one document."""
    # A stream has no end that one could wait for; tests/api/waiting_room/test_live.py reads them.
    schema = schemathesis.openapi.from_dict(DOCUMENTS[api.base], config=CONFIG).exclude(
        operation_id=["follow_visit", "follow_board"]
    )

    @schema.parametrize()
    @settings(max_examples=examples, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    def test(case: Case, live: Live, keys: dict[str, str], session: requests.Session) -> None:
        assume(_is_http(case))
        name = case.operation.definition.raw["operationId"]
        case.call_and_validate(
            base_url=live.url + api.base,
            session=session,
            headers={"X-API-Key": keys[api.base]},
            excluded_checks=_excluded(name),
            timeout=10,
        )

    return test


test_the_management_document_is_true = _test_of(routes.MANAGEMENT, 30)
test_the_operations_document_is_true = _test_of(routes.OPERATIONS, 30)
test_the_pharmacy_document_is_true = _test_of(routes.PHARMACY, 30)
test_the_management_document_is_true_at_length = pytest.mark.proof(_test_of(routes.MANAGEMENT, 1000))
test_the_operations_document_is_true_at_length = pytest.mark.proof(_test_of(routes.OPERATIONS, 1000))
test_the_pharmacy_document_is_true_at_length = pytest.mark.proof(_test_of(routes.PHARMACY, 1000))


def test_each_document_is_looked_at() -> None:
    assert routes.APIS == (routes.MANAGEMENT, routes.OPERATIONS, routes.PHARMACY), (
        "a new API needs its two lines above"
    )


def test_each_exception_is_of_an_operation_and_a_check_that_exist() -> None:
    names = {
        described["operationId"]
        for document in DOCUMENTS.values()
        for path in document["paths"].values()
        for described in path.values()
    }
    for check, operations, why in OFF:
        assert check in CHECKS.get_all_names()
        assert set(operations) <= names
        assert why.startswith(("section", "route"))
