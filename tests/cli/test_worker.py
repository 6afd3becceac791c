"""The worker beside a server and the worker alone, as processes: they start, deliver, die, end."""

from __future__ import annotations

import asyncio
import http.server
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest
from tests.cli.processes import SLOW, Server, environment, inside, lives, refused, serving, until
from tests.conftest import ENCRYPTION_KEYS
from tests.ports import free_port

from rxdesk.access import Transaction, run_command
from rxdesk.db import embedded
from rxdesk.kit.clock import utc_now
from rxdesk.kit.sealing import Sealer, read_keys
from rxdesk.webhooks.outbox import emit

ALLOW = "http+127.0.0.0/8:*"
EVENT = "order_updated"


@contextmanager
def hook() -> Iterator[tuple[str, list[str]]]:
    """A receiver in threads; gives its URL and the ids of what it got."""
    got: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            got.append(self.headers["webhook-id"])
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", got
        server.shutdown()


def subscribe(server: Server, url: str) -> None:
    answer = httpx.post(
        server.url + "/notification-subscriptions",
        headers={"X-API-Key": server.key()},
        json={"notification_type": EVENT, "target": url},
        trust_env=False,
        timeout=20,
    )
    assert answer.status_code == 201, answer.text


def happen(folder: Path) -> str:
    """Let one event happen in the first organisation."""

    async def tell() -> str:
        address = embedded.running(folder)
        assert address is not None
        connection = await asyncpg.connect(**address.connect_args(embedded.APP))
        try:
            number: int = await connection.fetchval("SELECT min(id) FROM organisations")
            await connection.execute(f"SET rxdesk.organisation_id = '{number}'")
            async with connection.transaction():
                sealer = Sealer(read_keys(ENCRYPTION_KEYS))
                tx = Transaction(connection, number, "operator", "test", utc_now(), sealer)

                async def command(inner: Transaction) -> str:
                    return emit(inner, EVENT, {"uid": "ord-1", "status": "started"})

                return await run_command(tx, command)
        finally:
            await connection.close()

    return asyncio.run(tell())


@contextmanager
def working(folder: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "rxdesk", "worker", "--data-dir", str(folder)],
        env=environment(env),
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_server_delivers_and_its_worker_is_kept(copy: Path) -> None:
    with (
        serving("demo", "--data-dir", copy, "--port", 0, RXDESK_EGRESS_ALLOW=ALLOW) as it,
        hook() as (url, got),
    ):
        subscribe(it, url)
        first = happen(copy)
        until(lambda: got == [first], what="the first delivery")
        [deliverer] = it.deliverers()
        deliverer.kill()
        second = happen(copy)
        until(lambda: second in got, what="the delivery of another worker")
        [other] = it.deliverers()
        assert other.pid != deliverer.pid
        begun = time.monotonic()
        assert it.stop() == 0
        assert time.monotonic() - begun < 10, "nobody had to be killed"
        until(lambda: not lives(other), what="the worker has ended")


def test_a_killed_server_takes_its_worker_along(copy: Path) -> None:
    with serving("demo", "--data-dir", copy, "--port", 0) as it:
        until(lambda: len(it.deliverers()) == 1)
        [deliverer] = it.deliverers()
        it.process.kill()
        until(lambda: not lives(deliverer), what="the worker has ended")


def test_a_worker_alone_beside_a_server_without(copy: Path) -> None:
    with (
        serving("demo", "--data-dir", copy, "--port", 0, "--no-worker", RXDESK_EGRESS_ALLOW=ALLOW) as it,
        hook() as (url, got),
    ):
        subscribe(it, url)
        event = happen(copy)
        time.sleep(1.5)
        assert it.deliverers() == []
        assert got == []
        with working(copy, RXDESK_EGRESS_ALLOW=ALLOW) as one, working(copy, RXDESK_EGRESS_ALLOW=ALLOW) as two:
            until(lambda: got == [event], what="the delivery")
            for process in (one, two):
                process.send_signal(signal.SIGTERM)
                assert process.wait(SLOW) == 0
        assert it.order() == 200


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"RXDESK_WORKER_CONCURRENCY": "3"}, "worker_concurrency"),
        ({"RXDESK_DATABASE_URL": "postgresql://a:b@127.0.0.1:1/c"}, "encryption_keys is not set"),
        ({}, "there is no database in"),
    ],
)
def test_a_worker_refuses_as_a_server_does(env: dict[str, str], said: str, tmp_path: Path) -> None:
    assert said in refused(inside("worker", "--data-dir", tmp_path / "none", **env))


def test_deliveries_and_the_queue_are_counted(copy: Path) -> None:
    port = free_port()
    with (
        serving(
            "demo", "--data-dir", copy, "--port", 0, RXDESK_METRICS_PORT=str(port), RXDESK_EGRESS_ALLOW=ALLOW
        ) as it,
        hook() as (url, got),
    ):
        subscribe(it, url)
        happen(copy)
        until(lambda: len(got) == 1)

        def metrics() -> str:
            return httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=20).text

        until(lambda: 'rxdesk_deliveries_total{error="",outcome="delivered"} 1.0' in metrics())
        text = metrics()
        assert 'rxdesk_jobs_waiting{lane="first"}' in text
        assert 'rxdesk_jobs_oldest_due_seconds{lane="retry"}' in text
        assert "rxdesk_jobs_in_flight" in text
        assert "/hook" not in text
