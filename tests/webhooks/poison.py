"""Many endpoints, a few of which are poisonous, and how the others fare."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.factories import Tenant
from tests.webhooks.engine import Receiver, answering, eventually, happen, receiving, subscribe
from tests.webhooks.hostile import BEHAVIOURS, Request, hostile

POISON = ("/hang", "/drip", "/reset", "/fault", "/endless")


@dataclass
class Crowd:
    """Receivers that are well, and those that are not: how many posts of each were open at once at most."""

    tenant: Tenant
    receiver: Receiver
    good: list[str] = field(default_factory=list)  # uids of subscriptions
    busiest: Counter[str] = field(default_factory=Counter)
    _open: dict[str, list[asyncio.StreamReader]] = field(default_factory=lambda: defaultdict(list))

    async def behave(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        # One that the sender has left is not in flight, even if nobody here has noticed.
        path = request.path
        held = [one for one in self._open[path] if not one.at_eof() and one.exception() is None]
        self._open[path] = [*held, reader]
        self.busiest[path] = max(self.busiest[path], len(held) + 1)
        try:
            return await BEHAVIOURS[path.partition("?")[0]](request, reader, writer)
        finally:
            self._open[path] = [one for one in self._open[path] if one is not reader]

    async def missing(self, events: list[str]) -> int:
        """How many posts of these events have not come to those that are well."""
        got = {(post.id, post.path) for post in self.receiver.posts}
        return sum((uid, f"/{number}") not in got for uid in events for number in range(len(self.good)))

    async def recorded(self, events: list[str]) -> None:
        """Wait until the log says of all that they were delivered."""

        async def all_are() -> bool:
            [row] = await self.tenant.rows(
                "SELECT count(*) AS n FROM deliveries WHERE organisation_id = $1 AND status = 'delivered' "
                "AND subscription_uid = ANY ($2::text[]) AND event_uid = ANY ($3::text[])",
                self.good,
                events,
            )
            return bool(row["n"] == len(self.good) * len(events))

        await eventually(all_are, 60)


@contextlib.asynccontextmanager
async def crowd(tenant: Tenant, good: int, poisonous: int) -> AsyncIterator[Crowd]:
    """Subscribe so many endpoints that are well, and so many that are not, to the same events."""
    async with receiving(answering(seconds=0.005)) as receiver:
        made = Crowd(tenant, receiver)
        async with hostile(made.behave, tls=None) as bad:
            for number in range(good):
                made.good.append((await subscribe(tenant, receiver.url(f"/{number}")))[0])
            for number in range(poisonous):
                path = f"{POISON[number % len(POISON)]}?{number}"
                await subscribe(tenant, bad.url(path, host="127.0.0.1"))
            yield made


@dataclass(frozen=True)
class Fared:
    """How those that are well fared: seconds from event to arrival of 99 in 100, and deliveries a second."""

    p99: float
    throughput: float
    lost: int
    busiest: int


async def fare(made: Crowd, *, ticks: int, seconds: float, burst: int) -> Fared:
    """Let events happen one by one, then many at once, while a worker is at work."""
    loop, receiver, good = asyncio.get_running_loop(), made.receiver, len(made.good)
    warm = await happen(made.tenant, 5)
    await receiver.got(5 * good, 60)
    begun: dict[str, float] = {}
    for tick in range(1, ticks + 1):
        now = loop.time()
        [uid] = await happen(made.tenant)
        begun[uid] = now
        await asyncio.sleep(max(0.0, now + seconds - loop.time()))
        if tick == ticks:
            await receiver.got((5 + ticks) * good, 60)
    took = sorted(post.at - begun[post.id] for post in receiver.posts if post.id in begun)
    started = loop.time()
    many = await happen(made.tenant, burst)
    await receiver.got((5 + ticks + burst) * good, 120)
    throughput = burst * good / (max(post.at for post in receiver.posts) - started)
    events = [*warm, *begun, *many]
    await made.recorded(events)
    return Fared(
        p99=took[len(took) * 99 // 100],
        throughput=throughput,
        lost=await made.missing(events),
        busiest=max(made.busiest.values(), default=0),
    )
