"""Register, status, call next and complete with few and with many who wait: what they cost must not grow.

Each number of waiting patients has shops of its own in one database, each shop a doctor and a connection. They take
turns: so many register, ask, are called and are completed, so that as many wait afterwards as before. Processor time
is read around each of these steps. Positions and the order of calls are checked on the way.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from bench import cpu, database, load
from bench.data import Filled
from bench.load import BenchError
from bench.measuring import Plan, pairwise
from bench.servers import BASE, CONTESTANTS, Running, running
from rxdesk.db import embedded

NAME = "bench_waiting"
WAITING = (10, 1000, 10_000)
SHOPS = 2
AT_ONCE = 25  # requests of a step, a shop: so many more wait when all have registered
POLLS = 250  # and of the step that polls: as in a shop, those outnumber the others, and share an estimate of the room
GOAL = 1.3  # at most so many times the processor time with the most who wait as with the fewest
_DESK = "/v1/operations/waiting-room"

_ACTOR = "'system', 'bench'"
# $1 organisation, $2 now, $3 who wait in each shop, $4 shops
_FILL = (
    f"""INSERT INTO shops (organisation_id, uid, identifier, display_name, created_at, updated_at,
      actor_kind, actor_uid)
    SELECT $1, u.uid, u.uid, u.uid, $2, $2, {_ACTOR}
    FROM generate_series(1, $4::int) i, LATERAL (SELECT 'shop-' || $3::int || '-' || i AS uid) u""",
    f"""INSERT INTO doctors (organisation_id, uid, display_name, sort_key, can_sign_prescriptions, active, created_at,
      updated_at, actor_kind, actor_uid)
    SELECT $1, u.uid, u.uid, u.uid, true, true, $2, $2, {_ACTOR}
    FROM generate_series(1, $4::int) i, LATERAL (SELECT 'doc-' || $3::int || '-' || i AS uid) u""",
    f"""INSERT INTO patients (organisation_id, uid, display_name, created_at, updated_at, actor_kind, actor_uid)
    SELECT $1, 'pp-' || $3::int || '-' || n, 'Erika Muster', $2, $2, {_ACTOR}
    FROM generate_series(1, $3::int + {AT_ONCE}) n, (SELECT $4::int) unused""",
    """INSERT INTO waiting_rooms (organisation_id, uid, last_turn)
    SELECT $1, 'shop-' || $3::int || '-' || i, $3::int
    FROM generate_series(1, $4::int) i, (SELECT $2::timestamptz) unused""",
    f"""INSERT INTO waiting_room_visits (organisation_id, uid, shop_uid, patient_uid, status, turn, created_at,
      updated_at, actor_kind, actor_uid)
    SELECT $1, 'q-' || $3::int || '-' || i || '-' || n, 'shop-' || $3::int || '-' || i, 'pp-' || $3::int || '-' || n,
      'waiting', n, $2, $2, {_ACTOR}
    FROM generate_series(1, $4::int) i, generate_series(1, $3::int) n""",
)
Tell = Callable[[str], None]


@dataclass(slots=True)
class Queue:
    """A shop's queue as its client knows it: uids of those who wait, in order; patients who may come again."""

    shop: str
    doctor: str
    waiting: list[str]
    outside: list[str]
    called: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of processor time that a request took of server and of database."""

    server_us: float
    database_us: float

    @property
    def cpu_us(self) -> float:
        """Server and database together."""
        return self.server_us + self.database_us


@dataclass(frozen=True, slots=True)
class Client:
    """Asks as fast as it is answered, `polls` times for statuses; the session has a connection for each shop."""

    session: aiohttp.ClientSession
    polls: int

    async def ask(self, method: str, path: str, wanted: int, body: object = None) -> Any:  # noqa: ANN401 (JSON)
        """Give the answer's body. Raises BenchError for any other status than the wanted one."""
        async with self.session.request(method, path, json=body) as answer:
            if answer.status != wanted:
                message = f"{method} {path} answered {answer.status}: {await answer.text()}"
                raise BenchError(message)
            return await answer.json()


async def _register(client: Client, queue: Queue) -> None:
    for patient in queue.outside:
        body = {"shop_uid": queue.shop, "patient_profile_uid": patient}
        place = await client.ask("POST", f"{BASE}/waiting-room/register", 201, body)
        queue.waiting.append(place["queue_uid"])
        _expect(place["position"], len(queue.waiting))
    queue.outside.clear()


async def _status(client: Client, queue: Queue) -> None:
    """Ask for places all along the queue."""
    for number in range(client.polls):
        at = number % AT_ONCE * len(queue.waiting) // AT_ONCE
        found = await client.ask("GET", f"{BASE}/waiting-room/{queue.waiting[at]}/status", 200)
        _expect(found["position"], at + 1)


async def _call_next(client: Client, queue: Queue) -> None:
    for _ in range(AT_ONCE):
        visit = await client.ask("POST", f"{_DESK}/doctors/{queue.doctor}/call-next", 200)
        _expect(visit["queue_uid"], queue.waiting.pop(0))
        queue.called.append(visit["queue_uid"])
        queue.outside.append(visit["patient_profile_uid"])


async def _complete(client: Client, queue: Queue) -> None:
    body = {"doctor_uid": queue.doctor, "outcome": "treated"}
    for uid in queue.called:
        await client.ask("POST", f"{_DESK}/visits/{uid}/complete", 200, body)
    queue.called.clear()


def _expect(found: object, wanted: object) -> None:
    if found != wanted:
        message = f"the waiting room answers {found!r} where {wanted!r} is due"
        raise BenchError(message)


STEPS: dict[str, Callable[[Client, Queue], Awaitable[None]]] = {
    "status": _status,
    "register": _register,
    "call_next": _call_next,
    "complete": _complete,
}


async def measure(
    address: embedded.Address,
    plan: Plan,
    postmaster: int,
    folder: Path,
    *,
    today: datetime,
    quick: bool,
    tell: Tell,
) -> dict[str, Any]:
    """Measure the steps at each number of waiting patients; gives members of the result."""
    [filled] = await database.fill(address, NAME, {"waiting": 100}, today=today, tell=tell)
    made = database.at(address, NAME)
    await _fill(made, filled, today)
    rounds, turns, polls = (min(plan.rounds, 3), 1, AT_ONCE) if quick else (plan.rounds, 4, POLLS)
    log = folder / "waiting.log"
    with (
        running(CONTESTANTS[0], made, cores=plan.servers, log=log) as server,
        _alone(plan, postmaster, server),
    ):
        async with _opened(server, filled, polls) as client:
            queues = {size: await _on_duty(client, size) for size in WAITING}
            runs = await _rounds(rounds, turns, postmaster, server, client, queues, made, tell)
    return {"waiting": summary(runs)}


async def _fill(address: embedded.Address, filled: Filled, now: datetime) -> None:
    connection = await database.connect(address)
    for size in WAITING:
        for statement in _FILL:
            await connection.execute(statement, filled.organisation_id, now, size, SHOPS)
    await connection.execute("VACUUM (FREEZE, ANALYZE)")
    await connection.close()


@contextmanager
def _alone(plan: Plan, postmaster: int, server: Running) -> Iterator[None]:
    """Bind this process, which is the client, to its cores; server and database are batch processes meanwhile."""
    before = os.sched_getaffinity(0)
    pids = [pid for tree in cpu.trees(postmaster, server.pid) for pid in tree]
    if plan.servers and plan.client:
        os.sched_setaffinity(0, plan.client)
        cpu.schedule(pids, os.SCHED_BATCH)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        if plan.servers:
            pids = [pid for tree in cpu.trees(postmaster, server.pid) for pid in tree]
            cpu.schedule(pids, os.SCHED_OTHER)


@asynccontextmanager
async def _opened(server: Running, filled: Filled, polls: int) -> AsyncIterator[Client]:
    connector = aiohttp.TCPConnector(limit=SHOPS, keepalive_timeout=5)
    async with aiohttp.ClientSession(
        server.url, connector=connector, headers={"X-API-Key": filled.key}
    ) as session:
        yield Client(session, polls)


async def _on_duty(client: Client, size: int) -> list[Queue]:
    """Put the doctors of the shops in which so many wait on duty; gives the queues."""
    queues = []
    for number in range(1, SHOPS + 1):
        queue = Queue(
            shop=f"shop-{size}-{number}",
            doctor=f"doc-{size}-{number}",
            waiting=[f"q-{size}-{number}-{n}" for n in range(1, size + 1)],
            outside=[f"pp-{size}-{n}" for n in range(size + 1, size + AT_ONCE + 1)],
        )
        path = f"{_DESK}/doctors/{queue.doctor}/on-duty"
        await client.ask("POST", path, 200, {"shop_uids": [queue.shop]})
        queues.append(queue)
    return queues


Runs = dict[str, dict[int, list[Cost]]]


async def _rounds(
    rounds: int,
    turns: int,
    postmaster: int,
    server: Running,
    client: Client,
    queues: dict[int, list[Queue]],
    address: embedded.Address,
    tell: Tell,
) -> Runs:
    """Measure every number of waiting patients in every round, each round in an order of its own."""
    runs: Runs = {step: {size: [] for size in queues} for step in STEPS}
    orders = random.Random(1)
    connection = await database.connect(address)
    for number in range(-1, rounds):  # the first is to warm up
        await connection.execute("VACUUM")
        for size in orders.sample([*queues], len(queues)):
            tell(f"waiting room: {size:,} wait, {number + 1} of {rounds}")
            costs: dict[str, list[Cost]] = {step: [] for step in STEPS}
            for _ in range(turns):
                for step in STEPS:
                    costs[step].append(await _cost(step, client, queues[size], postmaster, server.pid))
            for step, found in costs.items():
                if number >= 0:
                    runs[step][size].append(_mean(found))
    await connection.close()
    return runs


async def _cost(step: str, client: Client, queues: Sequence[Queue], postmaster: int, server: int) -> Cost:
    """Let all shops take the step at once; gives what a request of it took."""
    spent = []
    for wanted in (True, False):
        servers, databases = cpu.trees(server, postmaster)
        await asyncio.to_thread(
            load.settled, [*servers, *databases]
        )  # connections are looked after meanwhile
        spent.append((cpu.seconds(servers), cpu.seconds(databases)))
        if wanted:
            await asyncio.gather(*(STEPS[step](client, queue) for queue in queues))
    before, after = spent
    requests = len(queues) * (client.polls if step == "status" else AT_ONCE)
    return Cost(1e6 * (after[0] - before[0]) / requests, 1e6 * (after[1] - before[1]) / requests)


def _mean(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.mean(one.server_us for one in costs), statistics.mean(one.database_us for one in costs)
    )


def summary(runs: Runs) -> dict[str, Any]:
    """Give medians of the rounds, and of each step the ratios to the least number of waiting patients."""
    least, *others = next(iter(runs.values()))
    return {
        "waiting": [least, *others],
        "cpu_us": {
            step: {str(size): _middle(costs) for size, costs in by_size.items()}
            for step, by_size in runs.items()
        },
        "ratios": {
            step: {
                str(size): asdict(
                    pairwise([one.cpu_us for one in by_size[size]], [one.cpu_us for one in by_size[least]])
                )
                for size in others
            }
            for step, by_size in runs.items()
        },
    }


def _middle(costs: Sequence[Cost]) -> dict[str, float]:
    return {
        name: round(statistics.median(getattr(one, name) for one in costs), 1)
        for name in ("cpu_us", "server_us", "database_us")
    }
