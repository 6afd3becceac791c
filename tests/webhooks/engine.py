"""What tests of deliveries share: a receiver with a ledger, subscriptions, events, and a worker in this process."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.conftest import ENCRYPTION_KEYS, settings_for
from tests.factories import Tenant

from rxdesk import working
from rxdesk.access import Transaction, run_command
from rxdesk.db import embedded
from rxdesk.db.pool import Connection
from rxdesk.kit.clock import utc_now
from rxdesk.kit.sealing import Sealer, read_keys
from rxdesk.kit.signing import new_signing_secret
from rxdesk.webhooks.commands import header_place, secret_place
from rxdesk.webhooks.outbox import emit

SEALER = Sealer(read_keys(ENCRYPTION_KEYS))
ALLOW = "http+127.0.0.0/8:*"
EVENT = "order_updated"


@dataclass(frozen=True)
class Post:
    """One delivery as a receiver got it."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Answer = Callable[[Post], Awaitable[bytes]]


def answering(
    status: int = 200,
    *headers: str,
    body: bytes = b"",
    seconds: float = 0.0,
    once: asyncio.Event | None = None,
) -> Answer:
    """Answer each post alike, after a while or once something has happened."""
    head = "\r\n".join([f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]).encode()

    async def answer(_: Post) -> bytes:
        if seconds:
            await asyncio.sleep(seconds)
        if once is not None:
            await once.wait()
        return head + body

    return answer


@dataclass
class Receiver:
    """A receiver that keeps connections, and its ledger."""

    port: int = 0
    answer: Answer = field(default_factory=answering)
    posts: list[Post] = field(default_factory=list)
    accepted: int = 0
    busy: int = 0
    busiest: int = 0

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def got(self, count: int, seconds: float = 30.0) -> None:
        """Wait for so many posts."""
        await eventually(
            lambda: len(self.posts) >= count, seconds, lambda: f"{len(self.posts)} of {count} posts"
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *fields = head.strip().split("\r\n")
                headers = {n.lower(): v.strip() for n, _, v in (one.partition(":") for one in fields)}
                body = await reader.readexactly(int(headers["content-length"]))
                post = Post(line.split(" ")[1], headers, body, asyncio.get_running_loop().time())
                self.posts.append(post)
                self.busy += 1
                self.busiest = max(self.busiest, self.busy)
                try:
                    writer.write(await self.answer(post))
                finally:
                    self.busy -= 1
                await writer.drain()


@contextlib.asynccontextmanager
async def receiving(answer: Answer | None = None) -> AsyncIterator[Receiver]:
    """Receive on a free port of the loopback interface."""
    receiver = Receiver(answer=answer or answering())
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await receiver.serve(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


async def eventually(
    true: Callable[[], Any], seconds: float = 30.0, what: Callable[[], str] = lambda: ""
) -> None:
    """Wait until it is so; what is asked for may be awaited."""
    until = asyncio.get_running_loop().time() + seconds
    while True:
        answer = true()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return
        assert asyncio.get_running_loop().time() < until, f"not within {seconds} s: {what()}"
        await asyncio.sleep(0.005)


async def subscribe(tenant: Tenant, url: str, event_type: str = EVENT, **more: Any) -> tuple[str, str]:
    """Subscribe to events; gives the subscription's uid and its secret."""
    uid, secret = f"ns-{secrets.token_hex(13)}", new_signing_secret(secrets.token_bytes)
    header = more.pop("header", None)
    if header is not None:
        more["header_key"] = header[0]
        more["sealed_header_value"] = SEALER.seal(header[1], header_place(tenant.id, uid))
    columns = {
        "uid": uid,
        "notification_type": event_type,
        "target": url,
        "target_key": url,
        "payload_version": "1",
        "sealed_signing_secret": SEALER.seal(secret, secret_place(tenant.id, uid)),
        "full_data": True,
        "created_at": datetime.now(UTC),
        "actor_kind": "key",
        "actor_uid": "key-1",
        **more,
    }
    names = ", ".join(columns)
    places = ", ".join(f"${position}" for position in range(2, len(columns) + 2))
    await tenant.enter()
    await tenant.connection.execute(
        f"INSERT INTO notification_subscriptions (organisation_id, {names}) VALUES ($1, {places})",
        tenant.id,
        *columns.values(),
    )
    return uid, secret


async def command(
    tenant: Tenant, run: Callable[[Transaction], Awaitable[Any]], now: datetime | None = None
) -> Any:
    """Run a command in a transaction of its own."""
    await tenant.enter()
    async with tenant.connection.transaction():
        tx = Transaction(tenant.connection, tenant.id, "operator", "test", now or utc_now(), SEALER)
        return await run_command(tx, run)


async def happen(
    tenant: Tenant, count: int = 1, event_type: str = EVENT, now: datetime | None = None
) -> list[str]:
    """Let so many events happen, in one transaction; gives their uids."""

    async def tell(tx: Transaction) -> list[str]:
        return [
            emit(tx, event_type, {"uid": f"ord-{number}", "status": "started", "secret": "x" * 40})
            for number in range(count)
        ]

    return list(await command(tenant, tell, now))


@contextlib.asynccontextmanager
async def worker(
    cluster: embedded.Address, *, clock: Any = utc_now, stop_seconds: float = 8.0, **changes: Any
) -> AsyncIterator[working.Composed]:
    """Work in this process."""
    more = {name: changes.pop(name) for name in ("chance", "resolver") if name in changes}
    settings = settings_for(**{"egress_allow": ALLOW, **changes})
    composed = working.compose(
        settings, cluster.connect_args(embedded.APP), ENCRYPTION_KEYS, clock=clock, **more
    )
    stopping = asyncio.Event()
    task = asyncio.create_task(composed.worker.run(stopping, stop_seconds=stop_seconds))
    try:
        yield composed
    finally:
        stopping.set()
        await task
        composed.deliveries.egress.close()
        await composed.pool.close()


async def empty_queue(connection: Connection) -> None:
    """Take away what other tests have left in the queue, which is everybody's."""
    await connection.execute("DELETE FROM jobs")


async def settled(tenant: Tenant, seconds: float = 30.0) -> None:
    """Wait until the tenant has no job."""

    async def none() -> bool:
        return not await tenant.rows("SELECT 1 FROM jobs WHERE organisation_id = $1 LIMIT 1")

    await eventually(none, seconds)
