"""A worker with a fault that is planted on purpose: a delivery is recorded before it is sent."""

from __future__ import annotations

import asyncio

from rxdesk import working
from rxdesk.kit.clock import utc_now
from rxdesk.webhooks.delivery import Deliveries, Prepared
from rxdesk.webhooks.recording import Attempt, Recorded

_post = Deliveries.post
# How long a delivery is marked and not sent: so long that a few kills are sure to hit one.
_GAP_SECONDS = 0.02


async def _recorded_first(self: Deliveries, prepared: Prepared) -> Recorded:
    attempt = Attempt(prepared.attempts, prepared.planned_at, utc_now(), utc_now(), 0, 200, None, b"", None)
    await self.record(prepared.claim.organisation_id, [(prepared.claim, prepared, attempt)])
    await asyncio.sleep(_GAP_SECONDS)
    return await _post(self, prepared)


Deliveries.post = _recorded_first  # type: ignore[method-assign] # the fault

if __name__ == "__main__":
    working.main()
