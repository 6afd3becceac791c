"""The route that says whether the service is well."""

from __future__ import annotations

from typing import Literal

import msgspec

from rxdesk.db.pool import DatabaseUnavailableError
from rxdesk.web.answers import Answer
from rxdesk.web.call import Call
from rxdesk.web.endpoint import endpoint

_DATABASE_SECONDS = 0.95  # the contract's second, less what the answer itself takes


class Health(msgspec.Struct, kw_only=True):
    """The state of the service."""

    status: Literal["ok"]


@endpoint(
    "GET",
    "/health/",
    None,
    tag="Health",
    summary="Whether the service is well",
    description="503 with `unavailable` when the database does not answer within a second.",
    answer=Health,
    answer_example=Health(status="ok"),
)
async def get_health(call: Call) -> Answer:
    """Answer ok, or unavailable when the database does not answer within a second."""
    try:
        await call.authorise(seconds=_DATABASE_SECONDS)
    except DatabaseUnavailableError:
        return Answer(503, b'{"status":"unavailable"}', {"Retry-After": "1"})
    return Answer(200, b'{"status":"ok"}')


ENDPOINTS = (get_health,)
