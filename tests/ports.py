"""Ports for programs that must be told one: free, and left alone until they listen."""

from __future__ import annotations

import itertools
import os
import socket

# Below those that the system gives to connections, and to whoever asks for any: none of these is taken in between.
_FIRST, _COUNT = 20_000, 12_000
# Test runs beside each other begin at places of their own.
_numbers = itertools.count(os.getpid() * 997)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, another one at each call."""
    for number in _numbers:
        port = _FIRST + number % _COUNT
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError
