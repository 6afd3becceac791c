"""A server in a process of its own, for tests: it ends with the tests, however they end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

from tests.patience import patience

from rxdesk import serving
from rxdesk.kit.parents import end_with_parent

_load_worker = serving.load_worker
_for_ever = ExitStack()


def load_patient_worker(launch: serving.Launch, parent: int) -> Callable[..., Any]:
    """Make the application inside a worker process."""
    _for_ever.enter_context(patience())
    return _load_worker(launch, parent)


def serve(launch: serving.Launch, port: int, parent: int, *, patient: bool) -> None:
    """Serve until told to stop, or until the parent has ended."""
    end_with_parent(parent)
    load = load_patient_worker if patient else _load_worker
    with mock.patch.object(serving, "load_worker", load):
        serving.serve(launch, port)
