"""The composition root: settings and a database make an ASGI application. No module-level app."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

from rxdesk import routes
from rxdesk.access import Access
from rxdesk.db.pool import Connect, DatabaseUnavailableError, Pool
from rxdesk.kit import logs
from rxdesk.kit.addresses import AllowList
from rxdesk.kit.clock import Clock, utc_now
from rxdesk.kit.egress import Egress
from rxdesk.kit.parents import END_STREAMS
from rxdesk.kit.repeating import now_and_then
from rxdesk.kit.sealing import Sealer, read_keys
from rxdesk.kit.targets import Resolver
from rxdesk.settings import Settings
from rxdesk.waiting_room import live
from rxdesk.waiting_room.forecasts import Forecasts
from rxdesk.waiting_room.hearing import LOOK_SECONDS, Hearing
from rxdesk.wallet.issuing import Issuer, google_of, public_url, signer_of
from rxdesk.wallet.saving import Saving, saving_of
from rxdesk.web import metrics, pages
from rxdesk.web.answers import App
from rxdesk.web.asgi import Outer
from rxdesk.web.call import Services
from rxdesk.web.live import Hub, Limits
from rxdesk.web.rate_limit import RateLimiter, read_networks
from rxdesk.web.routing import router

_USED_KEYS_SECONDS = 30.0
_READY_SECONDS = 1.0


def create_app(
    settings: Settings,
    connect: Connect,
    encryption_keys: str,
    *,
    clock: Clock = utc_now,
    resolver: Resolver | None = None,
) -> Outer:
    """Make the application.

    `connect` opens one connection as the app role; `encryption_keys` is what `sealing.read_keys` reads;
    `resolver` looks up the names of webhook targets (default: the system's).
    """
    connections = settings.pool_size(settings.workers)
    pool = Pool(connect, size=connections)
    sealer = Sealer(read_keys(encryption_keys))
    access = Access(
        pool,
        clock=clock,
        sealer=sealer,
        statement_seconds=settings.statement_timeout_seconds,
    )
    limiter = RateLimiter(
        redis_url=settings.redis_url,
        workers=settings.workers,
        unknown_keys_per_minute=settings.unknown_keys_per_minute,
        public_per_minute=settings.public_requests_per_minute,
        clock=lambda: clock().timestamp(),
    )
    signer = signer_of(settings)
    if signer is not None:
        metrics.show_expiry(settings, signer.expires_at)
    forecasts = Forecasts(access, settings, clock)
    hub = Hub(
        connect,
        live.CHANNEL,
        live.Rooms(access, forecasts, settings, clock).read,
        limits=Limits(
            in_all=settings.streams_per_process,
            of_organisation=settings.streams_per_organisation,
            of_key=settings.streams_per_key,
        ),
        again_seconds=settings.stream_comment_seconds,
        reads=max(1, connections // 4),
        observe=metrics.stream_observer(settings),
    )
    egress = Egress(
        AllowList.parse(settings.egress_allow),
        ca_file=Path(settings.egress_ca_file) if settings.egress_ca_file else None,
        resolver=resolver,
    )
    issuer = Issuer(sealer, public_url(settings), signer, google_of(settings))
    saving = saving_of(settings, access, issuer, egress, clock)
    hearing = Hearing(clock, lambda: pool.answers(_READY_SECONDS))
    services = Services(
        settings=settings,
        access=access,
        clock=clock,
        limiter=limiter,
        egress=egress,
        trusted_proxies=read_networks(settings.trusted_proxies),
        parts={
            Forecasts: forecasts,
            Hearing: hearing,
            Hub: hub,
            Issuer: issuer,
            **({} if saving is None else {Saving: saving}),
        },
    )

    async def close() -> None:
        await hub.close()
        forecasts.close()
        await limiter.close()
        await pool.close()

    @contextlib.asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        beside = [
            asyncio.create_task(
                now_and_then(_USED_KEYS_SECONDS, access.note_used_keys, "used_keys_not_written")
            ),
            asyncio.create_task(now_and_then(LOOK_SECONDS, hearing.look, "hearing_not_known")),
        ]
        asyncio.get_running_loop().add_signal_handler(END_STREAMS, hub.end)
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            with contextlib.suppress(DatabaseUnavailableError):
                await access.note_used_keys()
            await close()
            logs.flush()

    async def ready() -> bool:
        return await pool.answers(_READY_SECONDS)

    handlers: dict[str, dict[str, App]] = {}
    for api in (*routes.APIS, routes.PUBLIC):
        for base, endpoint in itertools.product(api.bases, api.endpoints):
            at = handlers.setdefault(base + endpoint.operation.path, {})
            at[endpoint.operation.method] = endpoint.app(services)
        if not api.open:
            handlers |= pages.documents(api)
    handlers |= pages.probes(ready)
    app = router(handlers, lifespan)
    return Outer(
        app,
        request_seconds=settings.request_timeout_seconds,
        observe=metrics.observer(settings),
        close=close,
    )
