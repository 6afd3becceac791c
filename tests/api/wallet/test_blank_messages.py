"""Messages of which nothing can be seen are refused, whatever they are made of."""

from __future__ import annotations

import httpx
import pytest
from tests.api.wallet.test_push_notifications import make_pass, message, outcome, push, stored
from tests.factories import Tenant

from rxdesk.kit.text import is_blank

SAID = "must hold something that can be seen"
BLANK = (
    " ",
    " " * 500,
    "\t\r\n",
    "\x1f\x7f\x85",
    "\xa0\u3000\u2009",
    "\xad",
    "\u200b\u2060\ufeff",
    "\u202e \u202c",
    "\u3164",
    "\u2800",
    "\ufe0f",
    "\U0001d173",
    "\U000e0041\U000e007f",
)


@pytest.mark.parametrize("text", BLANK, ids=ascii)
async def test_one_of_them_refuses_the_whole_array(
    client: httpx.AsyncClient, tenant: Tenant, text: str
) -> None:
    uid = await make_pass(tenant)
    answer = await push(client, tenant, [message(uid), message(uid, text)])
    fault = {"field": "1.message", "location": "body", "message": SAID}
    assert (answer.status_code, answer.json()) == (400, {"error": "Validation failed", "details": [fault]})
    assert await stored(tenant) == []


async def test_a_value_of_which_nothing_can_be_seen_is_empty(
    client: httpx.AsyncClient, tenant: Tenant
) -> None:
    uid = await make_pass(tenant, first_name=" \u200b")
    assert await outcome(client, tenant, uid, "{first_name}!") == "empty_placeholder:first_name"


@pytest.mark.parametrize(
    "text", [" x ", "\u200b.", "\u3164💊", "{}", "\u0301", "👩\u200d⚕\ufe0f", "ß"], ids=ascii
)
async def test_what_can_be_seen_is_queued_as_it_is(
    client: httpx.AsyncClient, tenant: Tenant, text: str
) -> None:
    assert await outcome(client, tenant, await make_pass(tenant), text) == text


def test_blank_is_what_no_schema_takes() -> None:
    assert all(is_blank(text) for text in ("", *BLANK))
    assert not is_blank("\U0001faea")  # of a later Unicode than Python knows
