"""One task a delivery: read its rows, sign, post with a session that is kept, record the attempt.

A task is acknowledged after its record is committed, so a worker that dies loses none. Each thread keeps one connection
to the database, with prepared statements, and one HTTP session. The proxies of the environment, which requests looks
for at every request, are left out.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import requests
from celery import Celery, Task
from celery.signals import worker_ready

from bench.peers.signing import headers, key_of

_STEPS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)  # seconds after each failure
_TIMEOUTS = (3.0, 5.0)  # to connect, and for the answer
_ANSWER_BYTES = 16_384

app = Celery("deliveries", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    worker_disable_rate_limits=True,
    broker_connection_retry_on_startup=True,
)

_READ = """
SELECT e.uid, e.event_type, e.body, p.url, p.secret FROM deliveries d
JOIN events e ON e.id = d.event_id JOIN endpoints p ON p.id = d.endpoint_id
WHERE d.id = %s AND d.status = 'pending'"""

# One statement and one commit.
_RECORD = """
WITH changed AS (
  UPDATE deliveries SET status = %(fate)s, attempts = attempts + 1, ended_at = %(ended_at)s WHERE id = %(id)s
  RETURNING id, attempts
)
INSERT INTO delivery_attempts (delivery_id, number, started_at, duration_ms, status_code, error, answer)
SELECT id, attempts, %(started_at)s, %(duration_ms)s, %(status_code)s, %(error)s, %(answer)s FROM changed"""


class _Kept(threading.local):
    """A thread's connection and session, made when it first needs them."""

    connection: psycopg.Connection[tuple[Any, ...]] | None = None
    session: requests.Session | None = None

    def both(self) -> tuple[psycopg.Connection[tuple[Any, ...]], requests.Session]:
        if self.connection is None or self.connection.closed:
            self.connection = psycopg.connect(autocommit=True, prepare_threshold=0)  # by PGHOST and its like
        if self.session is None:
            self.session = requests.Session()
            self.session.trust_env = False
        return self.connection, self.session


_kept = _Kept()


@worker_ready.connect
def _ready(**_: object) -> None:
    if "BENCH_READY" in os.environ:
        Path(os.environ["BENCH_READY"]).touch()


def _post(session: requests.Session, url: str, body: bytes, signed: dict[str, str]) -> dict[str, Any]:
    try:
        answer = session.post(url, data=body, headers=signed, timeout=_TIMEOUTS, allow_redirects=False)
    except requests.RequestException as error:
        return {"status_code": None, "error": type(error).__name__, "answer": b""}
    error = None if 200 <= answer.status_code < 300 else "status"
    return {"status_code": answer.status_code, "error": error, "answer": answer.content[:_ANSWER_BYTES]}


@app.task(bind=True, name="deliver", max_retries=len(_STEPS))
def deliver(self: Task, delivery_id: int) -> None:
    """Attempt one delivery and record what became of it; a failure is tried again by the schedule."""
    connection, session = _kept.both()
    row = connection.execute(_READ, (delivery_id,), binary=True).fetchone()
    if row is None:
        return
    uid, event_type, body, url, secret = row
    started_at, begun = datetime.now(UTC), time.monotonic()
    signed = headers(event_type, uid, body, secret.encode(), key_of(secret))
    outcome = _post(session, url, body, signed)
    failed, tried = outcome["error"] is not None, self.request.retries
    over = not failed or tried >= len(_STEPS)
    outcome.update(
        id=delivery_id,
        fate=("failed" if failed else "delivered") if over else "pending",
        started_at=started_at,
        ended_at=datetime.now(UTC) if over else None,
        duration_ms=round((time.monotonic() - begun) * 1000),
    )
    connection.execute(_RECORD, outcome)
    if not over:
        raise self.retry(countdown=_STEPS[tried])
