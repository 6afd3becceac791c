"""Limits of servers that tests start: longer than the product's, for a machine that stands still for a while.

How long a request waits for a connection that others have is the product's own everywhere. Its limits of less than a
second, for what is outside, are proved by servers that have them, in tests/faults/ and for a Redis that hangs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from unittest import mock

from rxdesk import app
from rxdesk.db.pool import Pool
from rxdesk.health import endpoints
from rxdesk.web import rate_limit

# Less than the request's eight seconds.
_SECONDS = 6.0


@contextmanager
def patience() -> Iterator[None]:
    """Let applications that are made meanwhile, in this process, wait longer for PostgreSQL and Redis to answer."""
    with (
        mock.patch.object(app, "Pool", partial(Pool, connect_seconds=_SECONDS)),
        mock.patch.object(endpoints, "_DATABASE_SECONDS", _SECONDS),
        mock.patch.object(rate_limit, "_REDIS_SECONDS", _SECONDS),
    ):
        yield
