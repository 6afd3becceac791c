"""A server in a process of its own, for tests: it ends with the tests, however they end."""

from __future__ import annotations

from rxdesk import serving
from rxdesk.kit.parents import end_with_parent


def serve(launch: serving.Launch, port: int, parent: int) -> None:
    """Serve until told to stop, or until the parent has ended."""
    end_with_parent(parent)
    serving.serve(launch, port)
