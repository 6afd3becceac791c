"""Listening to an organisation's events from beside a running server, and passing them on to a local program."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import asyncpg

from rxdesk.access import look
from rxdesk.cli.common import CliError
from rxdesk.db.location import connected, schema
from rxdesk.db.pool import Connection
from rxdesk.kit.addresses import AllowList
from rxdesk.kit.clock import unix, utc_now
from rxdesk.kit.egress import Egress
from rxdesk.kit.signing import delivery_headers
from rxdesk.kit.targets import TargetRefused, parse_target
from rxdesk.organisations import commands, queries
from rxdesk.settings import Settings
from rxdesk.webhooks import log

# An event without subscriptions wakes nobody, so new ones are looked for; one index look-up each time.
_LOOK_SECONDS = 0.15
_AT_ONCE = 100
_LOOPBACK = "http+127.0.0.0/8:*, http+[::1/128]:*"
_ANY = 2**63 - 1  # no event stands behind it
_PATIENCE_SECONDS = 30.0  # a program that is being written may stand at a breakpoint

Post: TypeAlias = Callable[[bytes, Mapping[str, str]], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Heard:
    """An event, and the time of day it was heard at."""

    event: dict[str, Any]
    clock: str


def forwarding(settings: Settings, url: str) -> Post:
    """Make the function that posts to a local program. Raises CliError for a target that is not allowed."""
    configured = AllowList.parse(settings.egress_allow)
    allow = AllowList((*AllowList.parse(_LOOPBACK).rules, *configured.rules))
    try:
        parse_target(url, allow)
    except TargetRefused as error:
        message = (
            f"--forward-to {error}: a program on this machine, such as http://127.0.0.1:3000/hook, or a target that "
            "`egress_allow` opens"
        )
        raise CliError(message) from error
    egress = Egress(allow)

    async def post(body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        try:
            outcome = await egress.post(url, body, headers, total=_PATIENCE_SECONDS)
        except TargetRefused:  # its name leads elsewhere than to this machine
            return {"status_code": None, "duration_ms": 0, "error": "forbidden"}
        return {
            "status_code": outcome.status,
            "duration_ms": outcome.duration_ms,
            "error": outcome.error,
        }

    return post


@dataclass(frozen=True, slots=True)
class Listener:
    """How to connect, whose events of which type (None: all), and what to do first and with each.

    `tell` is called as an event happens; `answered` once it was posted, with what the program answered. A program that
    takes its time delays what is posted next, and nothing else.
    """

    database: Mapping[str, Any]
    organisation: str
    kind: str | None
    secret: str
    post: Post | None
    begun: Callable[[], None]
    tell: Callable[[Heard], None]
    answered: Callable[[Heard, dict[str, Any]], None]

    async def run(self) -> None:
        """Tell of each event that happens from now on, in order, until cancelled.

        Raises CliError, also when the database can no longer be asked.
        """
        async with connected(self.database) as connection:
            try:
                await self._listen(connection)
            except (
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,  # of a rollback, where the end came amid the statement before it
                OSError,
            ) as error:
                ended = isinstance(error, asyncpg.AdminShutdownError | asyncpg.InternalClientError)
                if not ended and not connection.is_closed():
                    raise
                message = (
                    "the connection to the database has ended: see that the server runs, then listen again"
                )
                raise CliError(message) from error

    async def _listen(self, connection: Connection) -> None:
        finding = await schema(connection)
        if not finding.well:
            raise CliError(finding.message)
        of = await queries.organisation(connection, self.organisation)
        await commands.enter(connection, of.id)
        after, position = await self._newest(connection, of.id)
        self.begun()
        waiting: asyncio.Queue[tuple[Heard, bytes]] = asyncio.Queue()
        forwarder = asyncio.create_task(self._forward(waiting))
        try:
            while not forwarder.done():
                arguments = (after, _AT_ONCE, self.kind, *log.WHOLE_FOR)
                found = await look(connection, of.id, log.EVENTS, *arguments)
                if (
                    found is None
                ):  # the last one is not kept any more; others before it may be, which wait for delivery
                    after, _ = await self._newest(connection, of.id, position)
                    continue
                page = json.loads(found)
                for event in page["data"]:
                    heard = Heard(event, datetime.now().astimezone().strftime("%H:%M:%S"))
                    self.tell(heard)
                    if self.post is not None:
                        waiting.put_nowait((heard, await self._body(connection, of.id, event["uid"])))
                if page["data"]:
                    after = page["next"]
                    position = await self._position(connection, of.id, after) or position
                if len(page["data"]) < _AT_ONCE:
                    await asyncio.sleep(_LOOK_SECONDS)
            forwarder.result()  # it ends by what it cannot deal with only
        finally:
            forwarder.cancel()

    @staticmethod
    async def _newest(connection: Connection, organisation_id: int, until: int = _ANY) -> tuple[str, int]:
        """Give the newest event that is kept, or of those until a position, and where it stands; "" for none."""
        row = await connection.fetchrow(
            "SELECT uid, position FROM events WHERE organisation_id = $1 AND position <= $2 "
            "ORDER BY position DESC LIMIT 1",
            organisation_id,
            until,
        )
        return ("", 0) if row is None else (row["uid"], row["position"])

    @staticmethod
    async def _position(connection: Connection, organisation_id: int, uid: str) -> int | None:
        position: int | None = await connection.fetchval(
            "SELECT position FROM events WHERE organisation_id = $1 AND uid = $2", organisation_id, uid
        )
        return position

    @staticmethod
    async def _body(connection: Connection, organisation_id: int, uid: str) -> bytes:
        body: bytes = await connection.fetchval(
            "SELECT body FROM events WHERE organisation_id = $1 AND uid = $2", organisation_id, uid
        )
        return body

    async def _forward(self, waiting: asyncio.Queue[tuple[Heard, bytes]]) -> None:
        """Post one after the other, as they happened."""
        while True:
            heard, body = await waiting.get()
            headers = delivery_headers(
                event_type=heard.event["event_type"],
                secret=self.secret,
                message_id=heard.event["uid"],
                timestamp=unix(utc_now()),
                body=body,
            )
            if self.post is not None:
                self.answered(heard, await self.post(body, headers))
