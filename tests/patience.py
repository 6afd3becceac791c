"""Pools of servers that tests start: they wait longer than the product's, for a machine that stands still for a while.

The product's own limits of less than two seconds are proved in tests/faults/, by a server that has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from unittest import mock

from rxdesk import app
from rxdesk.db.pool import Pool


@contextmanager
def patient_pools() -> Iterator[None]:
    """Let applications that are made meanwhile have a pool that waits longer."""
    # Less than the request's eight seconds.
    with mock.patch.object(app, "Pool", partial(Pool, wait_seconds=6.0, connect_seconds=6.0)):
        yield
