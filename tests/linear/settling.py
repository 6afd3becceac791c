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

_VISITS = """
SELECT uid, shop_uid, patient_uid, status FROM waiting_room_visits WHERE organisation_id = $1"""
# Transactions of processes that were killed may be on their way still.
_AT_WORK = """
SELECT 1 FROM pg_stat_activity
WHERE $1 > 0 AND usename = current_user AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"""


async def settled(history: History, tenant: Tenant, url: str) -> History:
    """Give the history without what did nothing, and with a last look at each visit that an answer showed."""

    async def still() -> bool:
        return not await tenant.rows(_AT_WORK)

    await eventually(still, 30, lambda: "a transaction does not end")
    rows = await tenant.rows(_VISITS)
    made = {str(one.answer[1]) for one in history if one.answer and one.answer[0] == 201}
    more = Counter((row["shop_uid"], row["patient_uid"]) for row in rows if row["uid"] not in made)
    status = {row["uid"]: row["status"] for row in rows}

    def may_have_happened(one: Operation) -> bool:
        if one.kind == "register":
            return more[one.shop, one.arguments[0]] > 0
        return one.kind != "cancel" or status.get(one.arguments[0]) == "cancelled"

    kept = [one for one in history if one.answer is not None or may_have_happened(one)]
    return (*kept, *await _last_look(history, tenant, url))


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
