"""After a history with faults: what certainly never happened is left out, and all visits are looked at once more.

Each operation of unknown outcome doubles the orders that a search may have to try; of most of them the rows, which are
never deleted, say that they did nothing.
"""

from __future__ import annotations

import time
from collections import Counter

import httpx
from tests.factories import Tenant
from tests.linear.calls import CALLS
from tests.linear.history import History, Operation
from tests.webhooks.engine import eventually

# Transactions of processes that were killed may be on their way still.
_AT_WORK = """
SELECT 1 FROM pg_stat_activity
WHERE $1 > 0 AND usename = current_user AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"""
# What each kind of operation leaves when it does something: its shop, its first argument, and how often it was done.
_DONE = {
    "register": "SELECT shop_uid, patient_uid, 1 AS times FROM waiting_room_visits "
    "WHERE organisation_id = $1 AND uid <> ALL ($2::text[])",  # $2: the visits whose registration was answered
    # The third no-show and a doctor's cancellation say so.
    "cancel": "SELECT shop_uid, uid, 1 AS times FROM waiting_room_visits "
    "WHERE organisation_id = $1 AND status = 'cancelled' AND end_reason IS NULL",
    "call_next": "SELECT v.shop_uid, c.reason, count(*) AS times FROM changes c "
    "JOIN waiting_room_visits v ON v.organisation_id = $1 AND v.uid = c.subject_uid "
    "WHERE c.organisation_id = $1 AND c.subject_kind = 'visit' AND c.new_value = 'allocated' GROUP BY 1, 2",
    "complete": "SELECT shop_uid, uid, 1 AS times FROM waiting_room_visits "
    "WHERE organisation_id = $1 AND status = 'completed'",
    "no_show": "SELECT shop_uid, uid, no_shows AS times FROM waiting_room_visits WHERE organisation_id = $1",
}
# The answers of those that did something. A cancellation's tells nothing: again is 204 again.
_DID = {"call_next": 200, "complete": 200, "no_show": 200}

_Mark = tuple[str, str, str]


def _mark(one: Operation) -> _Mark:
    return one.kind, one.shop, one.arguments[0]


async def settled(history: History, tenant: Tenant, url: str) -> History:
    """Give the history without what did nothing, and with a last look at each visit that an answer showed."""

    async def still() -> bool:
        return not await tenant.rows(_AT_WORK)

    await eventually(still, 30, lambda: "a transaction does not end")
    unexplained = await _done(history, tenant)
    unexplained.subtract(_mark(one) for one in history if one.answer and one.answer[0] == _DID.get(one.kind))
    kept = [one for one in history if one.answer is not None or _may_have_happened(one, unexplained)]
    return (*kept, *await _last_look(history, tenant, url))


async def _done(history: History, tenant: Tenant) -> Counter[_Mark]:
    """Count what was done, by the rows; registrations without those that were answered."""
    made = [str(one.answer[1]) for one in history if one.answer and one.answer[0] == 201]
    found: Counter[_Mark] = Counter()
    for kind, query in _DONE.items():
        for row in await tenant.rows(query, *([made] if kind == "register" else [])):
            shop, argument, times = row.values()
            found[kind, shop, argument] += times
    return found


def _may_have_happened(one: Operation, unexplained: Counter[_Mark]) -> bool:
    """Whether more was done than answers explain; a read does nothing, and is kept for what it was asked."""
    return one.kind not in _DONE or unexplained[_mark(one)] > 0


async def _last_look(history: History, tenant: Tenant, url: str) -> list[Operation]:
    shown = {
        (one.shop, part)
        for one in history
        for part in one.answer or ()
        if isinstance(part, str) and part.startswith("q-")
    }
    call, headers, made = CALLS["status"], await tenant.headers(), list[Operation]()
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=15) as client:

        async def looked(shop: str, uid: str) -> bool:
            request = call.request(shop, uid)
            invoked = time.monotonic_ns()
            try:
                answer = await client.request(request.method, request.path, headers=headers)
            except httpx.TransportError:
                return False
            returned = time.monotonic_ns()
            if answer.status_code != 503:
                told = call.answer(answer.status_code, answer.json())
                made.append(Operation(-1, shop, "status", (uid,), invoked, returned, told))
            return answer.status_code != 503

        for shop, uid in sorted(shown):
            await eventually(lambda shop=shop, uid=uid: looked(shop, uid), 30)  # type: ignore[misc] # the loop's
    return made
