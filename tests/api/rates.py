"""What answers say of rate limits, keys that have some, and a clock that stands."""

from __future__ import annotations

import re

import httpx
from tests.factories import Tenant

BODY = b'{"error":"Rate limit exceeded"}'
# A list of strings with integer parameters, as RFC 9651 writes them.
POLICY = re.compile(r'"([\w-]+)";q=(\d{1,15});w=(\d{1,15})(?:, "(\w+)";q=(\d{1,15});w=(\d{1,15}))?')
STATE = re.compile(r'"([\w-]+)";r=(\d{1,15});t=(\d{1,15})(?:, "(\w+)";r=(\d{1,15});t=(\d{1,15}))?')


def policy(answer: httpx.Response) -> dict[str, tuple[int, int]]:
    """Quota and window of each policy."""
    return parsed(POLICY, answer.headers["ratelimit-policy"])


def state(answer: httpx.Response) -> dict[str, tuple[int, int]]:
    """What remains of each policy, and in how many seconds there is more."""
    return parsed(STATE, answer.headers["ratelimit"])


def parsed(form: re.Pattern[str], text: str) -> dict[str, tuple[int, int]]:
    match = form.fullmatch(text)
    assert match is not None, text
    parts = [part for part in match.groups() if part is not None]
    return {parts[at]: (int(parts[at + 1]), int(parts[at + 2])) for at in range(0, len(parts), 3)}


async def header(tenant: Tenant, *permissions: str, second: int = 0, minute: int = 0) -> dict[str, str]:
    return {"X-API-Key": await tenant.key(*permissions, per_second=second, per_minute=minute)}


class Seconds:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
