"""Metrics for Prometheus, gathered over all workers and shown on a listener of their own.

Labels are the method, the route's template and the status: never a path, a uid or a key. Nothing is imported or
counted unless `metrics_port` is set, and prometheus-client must find its folder in the environment before it is
imported, so that is done by the main process before there is a worker.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TypeAlias

from rxdesk.settings import Settings, hand_down

Observe: TypeAlias = Callable[[str, str, int, float], None]
ObserveDelivery: TypeAlias = Callable[[str, str | None, int], None]
ObserveStreams: TypeAlias = Callable[[str, int], None]
ObserveQueue: TypeAlias = Callable[[int, Mapping[str, tuple[int, float]]], None]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 8.0)
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def observer(settings: Settings) -> Observe:
    """Give the function that counts one request: method, route template, status, seconds."""
    if not settings.metrics_port:
        return lambda *_: None
    from prometheus_client import Counter, Histogram  # noqa: PLC0415 (only where metrics are on)

    requests = Counter("rxdesk_http_requests", "Requests answered", ["method", "route", "status"])
    seconds = Histogram("rxdesk_http_request_seconds", "Seconds to an answer", ["route"], buckets=_BUCKETS)

    def observe(method: str, route: str, status: int, elapsed: float) -> None:
        requests.labels(method, route, str(status)).inc()
        seconds.labels(route).observe(elapsed)

    return observe


def stream_observer(settings: Settings) -> ObserveStreams:
    """Give the function that counts open streams: their kind, and +1 or -1."""
    if not settings.metrics_port:
        return lambda *_: None
    from prometheus_client import Gauge  # noqa: PLC0415 (as above)

    streams = Gauge(
        "rxdesk_streams_open", "Live streams that are open", ["kind"], multiprocess_mode="livesum"
    )

    def observe(kind: str, change: int) -> None:
        streams.labels(kind).inc(change)

    return observe


def delivery_observer(settings: Settings) -> ObserveDelivery:
    """Give the function that counts deliveries: what became of them, the error or None, how many."""
    if not settings.metrics_port:
        return lambda *_: None
    from prometheus_client import Counter  # noqa: PLC0415 (as above)

    attempts = Counter("rxdesk_deliveries", "Deliveries by what became of them", ["outcome", "error"])

    def observe(outcome: str, error: str | None, count: int) -> None:
        attempts.labels("retried" if outcome == "pending" else outcome, error or "").inc(count)

    return observe


def show_expiry(settings: Settings, expires_at: datetime) -> None:
    """Show until when the certificate for Apple's wallet is good, in Unix seconds."""
    if not settings.metrics_port:
        return
    from prometheus_client import Gauge  # noqa: PLC0415 (as above)

    Gauge(
        "rxdesk_apple_certificate_expiry_timestamp_seconds",
        "When the certificate of passes for Apple Wallet, or its issuer's, runs out",
        multiprocess_mode="mostrecent",
    ).set(expires_at.timestamp())


def queue_observer(settings: Settings) -> ObserveQueue | None:
    """Give the function that shows the queue: jobs in flight here; for each lane how many wait, and their age."""
    if not settings.metrics_port:
        return None
    from prometheus_client import Gauge  # noqa: PLC0415 (as above)

    in_flight = Gauge("rxdesk_jobs_in_flight", "Jobs that workers hold", multiprocess_mode="livesum")
    waiting = Gauge("rxdesk_jobs_waiting", "Jobs that wait", ["lane"], multiprocess_mode="mostrecent")
    age = Gauge(
        "rxdesk_jobs_oldest_due_seconds",
        "Seconds since the oldest job became due",
        ["lane"],
        multiprocess_mode="mostrecent",
    )

    def observe(held: int, lanes: Mapping[str, tuple[int, float]]) -> None:
        in_flight.set(held)
        for lane, (count, seconds) in lanes.items():
            waiting.labels(lane).set(count)
            age.labels(lane).set(seconds)

    return observe


def forget_process(settings: Settings, pid: int) -> None:
    """Take a process that has ended out of what is summed over those that live."""
    if settings.metrics_port:
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 (as above)

        mark_process_dead(pid)  # type: ignore[no-untyped-call] # untyped in the library


@contextmanager
def shown(settings: Settings) -> Iterator[None]:
    """Show the workers' metrics on `metrics_address:metrics_port` while they serve; nothing when the port is 0.

    Enter before a worker starts. Raises OSError when the port cannot be had.
    """
    if not settings.metrics_port:
        yield
        return
    folder = tempfile.mkdtemp(prefix="rxdesk-metrics-")
    hand_down(_FOLDER, folder)
    from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415 (as above)
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call] # untyped in the library
    try:
        server, thread = start_http_server(
            settings.metrics_port, addr=settings.metrics_address, registry=registry
        )
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(1)
        with suppress(OSError):
            shutil.rmtree(folder)
