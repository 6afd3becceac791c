"""The loop: what it does with work that fails at each step, and with a connection that is lost under it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.webhooks.engine import eventually

from rxdesk.db import embedded
from rxdesk.db.pool import Connection, DatabaseUnavailableError, connector
from rxdesk.jobs import queue
from rxdesk.jobs import worker as loop_module
from rxdesk.jobs.queue import Claim
from rxdesk.jobs.worker import Work, Worker
from rxdesk.kit.clock import utc_now

KIND = "test"


class Bench:
    """A kind of job whose steps can be made to fail; it takes jobs off the queue as a real one does."""

    def __init__(self, owner: Connection) -> None:
        self.owner = owner
        self.lock = asyncio.Lock()
        self.prepared: list[list[str]] = []
        self.performed: Counter[str] = Counter()
        self.recorded: list[str] = []
        self.faults: dict[tuple[str, str], list[Exception]] = {}
        self.go = asyncio.Event()
        self.go.set()

    def fail(self, step: str, uid: str, *faults: Exception) -> None:
        self.faults[step, uid] = list(faults)

    def _raise(self, step: str, uid: str) -> None:
        if self.faults.get((step, uid)):
            raise self.faults[step, uid].pop(0)

    async def prepare(self, _: int, claims: Sequence[Claim]) -> list[tuple[Claim, str]]:
        self.prepared.append([claim.uid for claim in claims])
        for claim in claims:
            self._raise("prepare", claim.uid)
        return [(claim, claim.uid) for claim in claims]

    async def perform(self, uid: str) -> str:
        self.performed[uid] += 1
        await self.go.wait()
        self._raise("perform", uid)
        return uid

    async def record(self, _: int, ended: Sequence[tuple[Claim, str, str]]) -> None:
        for claim, _what, _result in ended:
            self._raise("record", claim.uid)
        async with self.lock:
            for claim, _what, _result in ended:
                done = await self.owner.execute(
                    "DELETE FROM jobs WHERE uid = $1 AND worker_id = $2", claim.uid, claim.worker
                )
                if done == "DELETE 1":
                    self.recorded.append(claim.uid)

    def work(self, slots: int = 8) -> Work[str, str]:
        return Work(KIND, {"first": slots, "retry": slots}, 60.0, self.prepare, self.perform, self.record)

    async def put_one(self, uid: str, endpoint: int, lane: str, due: datetime) -> None:
        """Put a job there, without a notice; the lock is the caller's."""
        await self.owner.execute(
            "INSERT INTO jobs (organisation_id, uid, kind, lane, endpoint, due_at) VALUES (1, $1, $2, $3, $4, $5)",
            uid,
            KIND,
            lane,
            endpoint,
            due,
        )

    async def put(self, *uids: str, due: datetime | None = None) -> None:
        async with self.lock:
            for number, uid in enumerate(uids):
                await self.owner.execute(
                    "INSERT INTO jobs (organisation_id, uid, kind, lane, endpoint, due_at) "
                    "VALUES (1, $1, $2, 'first', $3, $4)",
                    uid,
                    KIND,
                    number,
                    due or datetime.now(UTC),
                )
            await self.owner.execute("SELECT pg_notify('rxdesk_jobs', '')")


@pytest.fixture
def bench(owner: Connection) -> Bench:
    return Bench(owner)


@contextlib.asynccontextmanager
async def working(
    cluster: embedded.Address, bench: Bench, *, slots: int = 8
) -> AsyncIterator[Worker[str, str]]:
    connect = connector(
        cluster.connect_args(embedded.APP), statement_seconds=5, name="loop test", probed=True
    )
    worker = Worker(connect, bench.work(slots), clock=utc_now)
    stopping = asyncio.Event()
    task = asyncio.create_task(worker.run(stopping, stop_seconds=1))
    try:
        yield worker
    finally:
        stopping.set()
        await task


async def cut_off(bench: Bench) -> None:
    """End the worker's connection from the server's side."""
    async with bench.lock:
        ended = await bench.owner.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'loop test'"
        )
    assert ended  # that of a test before may be about to end


async def test_a_fault_of_one_job_is_not_the_others(
    cluster: embedded.Address, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "_SETBACK_SECONDS", 0.05)
    for step in ("prepare", "perform", "record"):
        bench.fail(step, f"{step}-bad", ValueError(), ValueError())
    uids = [f"{step}-{kind}" for step in ("prepare", "perform", "record") for kind in ("bad", "good")]
    await bench.put(*uids)
    async with working(cluster, bench) as worker:
        await eventually(lambda: len(bench.recorded) == 6)
        await eventually(lambda: worker.in_flight == 0)
    assert sorted(bench.recorded) == sorted(uids)


async def test_a_database_that_is_away_for_a_moment_costs_nothing_twice(
    cluster: embedded.Address, bench: Bench
) -> None:
    bench.fail("prepare", "one", DatabaseUnavailableError())
    bench.fail("record", "one", *(DatabaseUnavailableError() for _ in range(3)))
    await bench.put("one")
    async with working(cluster, bench):
        await eventually(lambda: bench.recorded == ["one"])
    assert bench.performed == {"one": 1}


async def test_what_is_in_flight_survives_the_loss_of_the_connection(
    cluster: embedded.Address, bench: Bench
) -> None:
    bench.go.clear()
    await bench.put("one", "two")
    async with working(cluster, bench) as worker:
        await eventually(lambda: len(bench.performed) == 2)
        await cut_off(bench)
        await bench.put("three")
        await eventually(lambda: len(bench.performed) == 3)
        bench.go.set()
        await eventually(lambda: len(bench.recorded) == 3)
        await eventually(lambda: worker.in_flight == 0)
    assert set(bench.performed.values()) == {1}, "it kept its number, and nothing was done twice"


async def test_a_claim_whose_answer_was_lost_is_free_again_at_once(
    cluster: embedded.Address, bench: Bench
) -> None:
    await bench.put("one")
    async with working(cluster, bench):
        await eventually(lambda: bench.recorded == ["one"])
        async with bench.lock:
            number = await bench.owner.fetchval(
                "SELECT objid::int FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND objid <> 0",
                1_920_165_741,
            )
            await bench.owner.execute(
                "INSERT INTO jobs (organisation_id, uid, kind, lane, endpoint, due_at, worker_id, lease_until) "
                "VALUES (1, 'lost', $1, 'first', 1, $2, $3, $4)",
                KIND,
                datetime.now(UTC),
                number,
                datetime.now(UTC) + timedelta(hours=1),
            )
        await cut_off(bench)
        await eventually(lambda: bench.recorded == ["one", "lost"])


async def test_jobs_beyond_the_slots_wait_their_turn(cluster: embedded.Address, bench: Bench) -> None:
    bench.go.clear()
    uids = [f"job-{number}" for number in range(20)]
    await bench.put(*uids)
    async with working(cluster, bench, slots=4) as worker:
        await eventually(lambda: len(bench.performed) == 4)
        assert worker.in_flight == 4
        bench.go.set()
        await eventually(lambda: len(bench.recorded) == 20)
    assert Counter(bench.recorded) == Counter(uids)


async def test_what_cannot_be_claimed_is_not_asked_for_again_and_again(
    cluster: embedded.Address, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty places wait for their retries; one is due, and its place has its share in flight."""
    claims = 0
    claim = queue.claim

    async def counted(*arguments: Any, **more: Any) -> Any:
        nonlocal claims
        claims += 1
        return await claim(*arguments, **more)

    monkeypatch.setattr(queue, "claim", counted)
    monkeypatch.setattr(loop_module, "POLL_SECONDS", 30.0)  # so that it is seen what does without it
    bench.go.clear()
    now = datetime.now(UTC)
    async with bench.lock:
        for place in range(30):
            await bench.put_one(f"waits-{place}", place, "retry", now + timedelta(hours=1))
        for number in range(4):
            await bench.put_one(f"held-{number}", 15, "first", now)
        await bench.put_one("due", 15, "retry", now)
    async with working(cluster, bench):
        await eventually(lambda: len(bench.performed) == 4)
        before = claims
        await asyncio.sleep(1)  # what is counted is what happens in a while
        assert claims - before <= 12
        bench.go.set()
        await eventually(lambda: "due" in bench.recorded)


async def test_without_a_notice_the_table_is_looked_at_all_the_same(
    cluster: embedded.Address, bench: Bench
) -> None:
    async with working(cluster, bench):
        await bench.put("one")
        await eventually(lambda: bench.recorded == ["one"])
        async with bench.lock:
            await bench.owner.execute(
                "INSERT INTO jobs (organisation_id, uid, kind, lane, endpoint, due_at) "
                "VALUES (1, 'silent', $1, 'first', 1, $2)",
                KIND,
                datetime.now(UTC),
            )
        await eventually(lambda: bench.recorded == ["one", "silent"])


async def test_a_notice_during_a_fault_is_heeded(
    cluster: embedded.Address, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lane of first attempts has been walked when the claim of retries fails; then new work comes."""
    claim = queue.claim
    failed = False

    async def fails_once(connection: Connection, kind: str, lane: str, **more: Any) -> Any:
        nonlocal failed
        if lane == "retry" and not failed:
            failed = True
            await bench.put("new")
            raise OSError
        return await claim(connection, kind, lane, **more)

    monkeypatch.setattr(queue, "claim", fails_once)
    monkeypatch.setattr(loop_module, "POLL_SECONDS", 30.0)
    bench.go.clear()
    async with bench.lock:
        await bench.put_one("again", 15, "retry", datetime.now(UTC))
    async with working(cluster, bench):
        await eventually(lambda: len(bench.performed) == 2, 20)
        bench.go.set()
        await eventually(lambda: len(bench.recorded) == 2)
