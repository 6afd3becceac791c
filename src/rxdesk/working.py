"""The worker's composition root: settings and a database make a process that delivers.

It runs alone as `rxdesk worker`, or beside a server as `python -m rxdesk.working`, which reads its launch from standard
input, so that no secret stands in its arguments.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from rxdesk.access import Access, Transaction
from rxdesk.beside import Launch
from rxdesk.db.pool import Pool, connector
from rxdesk.jobs import queue
from rxdesk.jobs.worker import Worker
from rxdesk.kit import logs
from rxdesk.kit.addresses import AllowList
from rxdesk.kit.clock import Clock, utc_now
from rxdesk.kit.egress import Egress
from rxdesk.kit.parents import end_with_parent
from rxdesk.kit.repeating import now_and_then
from rxdesk.kit.sealing import Sealer, read_keys
from rxdesk.kit.targets import Resolver
from rxdesk.settings import Settings
from rxdesk.waiting_room import calling, habits
from rxdesk.waiting_room.hearing import LOOK_SECONDS, Hearing
from rxdesk.waiting_room.lifecycle import Rules
from rxdesk.wallet import google_pushing, pushing, settling
from rxdesk.wallet.apple.apns import ApnsClient, Pushed, apns_tls
from rxdesk.wallet.issuing import Issuer, google_of, public_url, signer_of
from rxdesk.wallet.saving import giver_of
from rxdesk.web import metrics
from rxdesk.webhooks import retention
from rxdesk.webhooks.delivery import Deliveries, Prepared
from rxdesk.webhooks.outbox import KIND
from rxdesk.webhooks.recording import Recorded

_KEEP_SECONDS = 4.0  # many receivers close an idle connection after five
_TIDY_SECONDS = 3600.0
_RETURN_SECONDS = 30.0
_ANSWER_SECONDS = 2.0
_LEARN_SECONDS = 3600.0
_METRICS_SECONDS = 5.0
_PAUSE_SECONDS = 0.05  # between batches of what is tidied up

_log = structlog.get_logger("rxdesk.worker")


@dataclass(frozen=True, slots=True)
class Composed:
    """A worker and what it stands on."""

    worker: Worker[Prepared, Recorded]
    pusher: Worker[pushing.Prepared, Pushed] | None  # where there is a certificate to push with
    push_client: ApnsClient | None
    google: Worker[google_pushing.Prepared, google_pushing.GooglePushed] | None  # where there is an account
    deliveries: Deliveries
    pool: Pool
    access: Access
    settings: Settings
    clock: Clock
    hearing: Hearing


def compose(
    settings: Settings,
    connect: Mapping[str, Any],
    encryption_keys: str,
    *,
    clock: Clock = utc_now,
    chance: Callable[[], float] = random.random,
    resolver: Resolver | None = None,
) -> Composed:
    """Put a worker together; `connect` are asyncpg's arguments, as the app role."""
    name, seconds = "rxdesk worker", settings.statement_timeout_seconds
    pool = Pool(
        connector(dict(connect), statement_seconds=seconds, name=name, queueing=True),
        size=settings.pool_size(),
    )
    sealer = Sealer(read_keys(encryption_keys))
    access = Access(pool, clock=clock, sealer=sealer, statement_seconds=seconds)
    egress = Egress(
        AllowList.parse(settings.egress_allow),
        ca_file=Path(settings.egress_ca_file) if settings.egress_ca_file else None,
        resolver=resolver,
        keep_seconds=_KEEP_SECONDS,
    )
    deliveries = Deliveries(
        pool=pool,
        access=access,
        sealer=sealer,
        egress=egress,
        clock=clock,
        chance=chance,
        total_seconds=settings.delivery_timeout_seconds,
        connect_seconds=settings.delivery_connect_seconds,
        observe=metrics.delivery_observer(settings),
    )
    to_claim = connector(dict(connect), statement_seconds=seconds, name=name, probed=True, queueing=True)
    worker = Worker(to_claim, deliveries.work(settings.worker_concurrency), clock=clock)
    client = _push_client(settings, egress, clock)
    pusher = None
    if client is not None:
        pusher = Worker(to_claim, pushing.Pushes(access, client, clock, chance).work(), clock=clock)
    issuer = Issuer(sealer, public_url(settings), google=google_of(settings))
    giver = giver_of(settings, issuer, egress, clock)
    google = None
    if giver is not None:
        work = google_pushing.GooglePushes(access, giver, clock, chance).work()
        google = Worker(to_claim, work, clock=clock)
    hearing = Hearing(clock, lambda: pool.answers(_ANSWER_SECONDS))
    return Composed(worker, pusher, client, google, deliveries, pool, access, settings, clock, hearing)


def _push_client(settings: Settings, egress: Egress, clock: Clock) -> ApnsClient | None:
    signer = signer_of(settings)
    if signer is None:
        return None
    tls = apns_tls(
        Path(settings.apple_certificate_file),
        Path(settings.apple_key_file),
        settings.apple_key_password,
        Path(settings.egress_ca_file) if settings.egress_ca_file else None,
    )
    return ApnsClient(egress, settings.apple_push_url, tls, signer.pass_type, clock)


async def run(composed: Composed, stopping: asyncio.Event) -> None:
    """Deliver, tidy up and count until `stopping` is set, and end what is in flight."""
    beside = [
        asyncio.create_task(now_and_then(_TIDY_SECONDS, lambda: tidy(composed), "not_tidied")),
        asyncio.create_task(now_and_then(LOOK_SECONDS, composed.hearing.look, "hearing_not_known")),
        asyncio.create_task(
            now_and_then(_RETURN_SECONDS, lambda: return_patients(composed), "patients_not_returned")
        ),
        asyncio.create_task(
            now_and_then(_RETURN_SECONDS, lambda: tell_of_imports(composed), "imports_not_told")
        ),
        asyncio.create_task(
            now_and_then(_LEARN_SECONDS, lambda: learn_habits(composed), "habits_not_learned")
        ),
        asyncio.create_task(now_and_then(_METRICS_SECONDS, _counter(composed), "not_counted")),
    ]
    try:
        workers = (composed.worker, composed.pusher, composed.google)
        await asyncio.gather(*(one.run(stopping) for one in workers if one is not None))
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        if composed.push_client is not None:
            await composed.push_client.close()
        composed.deliveries.egress.close()
        await composed.pool.close()


async def tidy(composed: Composed) -> None:
    """Prune what is older than the setting, and cancel what waits for subscriptions that have ended.

    An organisation of which that fails does not keep the others from it; its next turn is the next time.
    """
    before = composed.clock() - timedelta(days=composed.settings.event_retention_days)
    for organisation_id in await _organisations(composed):
        for step in (
            lambda tx: retention.prune(tx, before),
            retention.cancel_left_over,
            lambda tx: pushing.prune(tx, before),
        ):
            try:
                await _tidy(composed, organisation_id, step)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this organisation's
                _log.warning("not_tidied", organisation=organisation_id, error=type(error).__name__)


async def return_patients(composed: Composed) -> None:
    """Put the patients of doctors who have vanished back to their queues, where nobody has called meanwhile."""
    rules, hearing = Rules.of(composed.settings), composed.hearing
    for organisation_id in await _organisations(composed):
        try:
            await composed.access.write_as_system(
                organisation_id, "worker", lambda tx: calling.return_vanished(tx, rules, hearing.since)
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this organisation's
            _log.warning("patients_not_returned", organisation=organisation_id, error=type(error).__name__)


async def tell_of_imports(composed: Composed) -> None:
    """Tell devices of what imports changed of their passes, where those were ended before they did."""
    for organisation_id in await _organisations(composed):
        try:
            more = True
            while more:
                more = await composed.access.write_as_system(organisation_id, "worker", settling.settle)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this organisation's
            _log.warning("imports_not_told", organisation=organisation_id, error=type(error).__name__)


async def learn_habits(composed: Composed) -> None:
    """Learn what the waiting rooms that have changed are used to."""
    for organisation_id in await _organisations(composed):
        try:
            await habits.learn(composed.access, organisation_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this organisation's
            _log.warning("habits_not_learned", organisation=organisation_id, error=type(error).__name__)


async def _organisations(composed: Composed) -> list[int]:
    async with composed.pool.acquire_without(timeout_seconds=5) as connection:
        return await retention.organisations(connection)


async def _tidy(
    composed: Composed, organisation_id: int, step: Callable[[Transaction], Awaitable[bool]]
) -> None:
    more = True
    while more:
        more = await composed.access.write_as_system(organisation_id, "worker", step)
        await asyncio.sleep(_PAUSE_SECONDS)


def _counter(composed: Composed) -> Callable[[], Awaitable[None]]:
    """Make the function that counts what is in flight and what waits; of nothing where metrics are off."""
    show = metrics.queue_observer(composed.settings)

    async def count() -> None:
        if show is None:
            return
        async with composed.pool.acquire_without(timeout_seconds=5) as connection:
            found = await queue.backlog(connection, KIND)
        now = composed.clock()
        lanes = {
            lane: (count, max(0.0, (now - due).total_seconds()) if due else 0.0)
            for lane, (count, due) in found.items()
        }
        show(composed.worker.in_flight, lanes)

    return count


# ------------------------------------------------------------------------------------------------- as a process
def work_until_told(settings: Settings, connect: Mapping[str, Any], encryption_keys: str) -> None:
    """Work in this process until SIGTERM, SIGINT or SIGHUP."""
    import uvloop  # noqa: PLC0415 - only a process that works pays for it

    async def main() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
                loop.add_signal_handler(number, stopping.set)
        _log.info("working", concurrency=settings.worker_concurrency)
        composed = compose(settings, connect, encryption_keys)
        # What lives as long as the process is not looked at again by each collection of garbage.
        gc.collect()
        gc.freeze()
        await run(composed, stopping)
        _log.info("ended")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def main() -> None:
    """Work beside a server that started this process, and end when it has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's to judge
    launch: Launch = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started us
    end_with_parent(launch.parent)
    logs.configure(launch.settings.log_level)
    work_until_told(launch.settings, launch.connect, launch.encryption_keys)


if __name__ == "__main__":
    main()
