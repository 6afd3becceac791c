"""Ports that a server of ours listens on: one is taken for a process alone, before anything is started on it."""

from __future__ import annotations

import os
import socket
import sys
import time

_HOLD_ATTEMPTS = 5


class PortInUseError(Exception):
    """The port cannot be had; the message says which and why."""


def hold_port(address: str, port: int) -> socket.socket:
    """Take a port for this process alone, 0 for a free one, and keep it while the socket lives.

    The server binds with SO_REUSEPORT, so two of them would share a port in silence. This socket is bound
    without it, which fails when anybody is there, and is then marked so that only we can join. It does not
    listen. Raises PortInUseError.
    """
    for attempt in range(1, _HOLD_ATTEMPTS + 1):
        try:
            holder = _hold(address, port or _free_port(address))
        except OSError as error:
            # Two that start at the same instant may both be refused, and a free port may be taken in between.
            if attempt < _HOLD_ATTEMPTS and (port == 0 or isinstance(error, _TwinError)):
                time.sleep(int.from_bytes(os.urandom(1)) / 2560)
                continue
            why = error.strerror or str(error)
            message = (
                f"cannot listen on {bracketed(address)}:{port}: {why}. "
                "Choose another with --port (make: PORT=…) or --address"
            )
            raise PortInUseError(message) from error
        os.register_at_fork(after_in_child=holder.close)
        return holder
    raise AssertionError


class _TwinError(OSError):
    """Another took the port in the same instant."""


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bracketed(address: str) -> str:
    """Give an address as it stands before a port: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def _free_port(address: str) -> int:
    with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def _hold(address: str, port: int) -> socket.socket:
    holder = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        # Connections of an earlier server may still be in TIME_WAIT.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((address, port))
        if sys.platform == "linux":
            # Linux lets two sockets with SO_REUSEADDR have one port as long as neither listens. So it listens
            # for an instant, which only one can, gives that option up, and is then alone.
            try:
                holder.listen(1)
            except OSError as error:
                raise _TwinError(error.errno, error.strerror) from error
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.shutdown(socket.SHUT_RD)  # no longer listening, still bound
        else:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except BaseException:
        holder.close()
        raise
    return holder


def base_url(address: str, port: int) -> str:
    """Give the URL under which a server on this machine is reached."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 (compared, not bound to)
    return f"http://{bracketed(local)}:{port}"
