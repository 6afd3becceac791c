"""Serving: one port, N worker processes, and an end that leaves nothing behind."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rxdesk.kit import logs
from rxdesk.settings import Settings

_PARENT_CHECK_SECONDS = 0.25
_BACKPRESSURE = 1024  # requests in flight a worker; the next ones wait in the socket's backlog
_HEADER_SECONDS = 10
_HEADER_BYTES = 64 * 1024
_STOP_SECONDS = 10


class PortInUseError(Exception):
    """Another server has the port; the message says which."""


@dataclass(frozen=True, slots=True)
class Launch:
    """All that a worker process needs to make its application."""

    settings: Settings
    connect: Mapping[str, Any]
    encryption_keys: str


def hold_port(address: str, port: int) -> socket.socket:
    """Take a port for this process alone, 0 for a free one, and keep it while the socket lives.

    The server binds with SO_REUSEPORT, so two of them would share a port in silence. This socket is bound without
    it, which fails when anybody is there, and is then marked so that only we can join. It never listens.
    Raises PortInUseError.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    holder = socket.socket(family, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((address, port))
    except OSError as error:
        holder.close()
        message = f"cannot listen on {address}:{port}: {error.strerror}. Choose another with --port"
        raise PortInUseError(message) from error
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return holder


def _end_with_parent(parent: int) -> None:
    """End this process when its parent has ended: nothing may go on serving after a `kill -9`."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def load_worker(launch: Launch, parent: int) -> Callable[..., Any]:
    """Make the application inside a worker process."""
    _end_with_parent(parent)
    logs.configure(launch.settings.log_level)
    from rxdesk.app import create_app  # noqa: PLC0415 (the parent does not need what it imports)
    from rxdesk.db.pool import connector  # noqa: PLC0415

    connect = connector(
        dict(launch.connect),
        statement_seconds=launch.settings.statement_timeout_seconds,
        name="rxdesk serve",
    )
    return create_app(launch.settings, connect, launch.encryption_keys)


def serve(launch: Launch, port: int) -> None:
    """Serve until SIGINT or SIGTERM. The caller holds the port."""
    from granian import Granian  # noqa: PLC0415 (only the serving verbs pay for it)
    from granian.constants import HTTPModes, Interfaces, Loops  # noqa: PLC0415
    from granian.http import HTTP1Settings  # noqa: PLC0415

    settings = launch.settings
    server = Granian(
        "rxdesk",
        address=settings.address,
        port=port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        http=HTTPModes.http1,
        websockets=False,
        loop=Loops.uvloop,
        backpressure=_BACKPRESSURE,
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEADER_SECONDS * 1000, max_buffer_size=_HEADER_BYTES
        ),
        log_enabled=False,
        respawn_failed_workers=True,
        respawn_interval=0.5,
        workers_kill_timeout=_STOP_SECONDS,
    )
    server.serve(target_loader=partial(load_worker, launch, os.getpid()), wrap_loader=False)
    sys.stdout.flush()
