"""Sockets and names as the operating system gives them; the connector and the resolver of production."""

import asyncio
import contextlib
import socket
import threading
from ipaddress import IPv4Address

from rxdesk.kit.addresses import Address
from rxdesk.kit.targets import Resolver


async def connect_tcp(address: Address, port: int) -> socket.socket:
    """Open a TCP connection: the `Connect` of production."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)  # noqa: FBT003 - the name of the method says it
        await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection


def system_resolver(slots: int = 32) -> Resolver:
    """Make the `Resolver` of production: the operating system's, in threads of its own, `slots` at once.

    Not in the event loop's thread pool: names that do not answer would block all else that runs there. The
    threads are daemons, since the C library cannot be told to give up: a slow name server must not hold up
    the end of the process.
    """
    free = asyncio.Semaphore(slots)

    async def resolve(name: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def settle(addresses: list[str] | None) -> None:
            free.release()
            if answer.done():  # the caller has gone
                return
            if addresses is None:
                answer.set_exception(OSError("the name does not resolve"))
            else:
                answer.set_result(addresses)

        def look_up() -> None:
            addresses = _look_up(name, port)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, addresses)

        await free.acquire()
        try:
            threading.Thread(target=look_up, name="resolver", daemon=True).start()
        except RuntimeError as fault:
            free.release()
            raise OSError("no thread left to resolve a name") from fault
        return await answer

    return resolve


def _look_up(name: str, port: int) -> list[str] | None:
    try:
        infos = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return None
    return [str(info[4][0]) for info in infos]
