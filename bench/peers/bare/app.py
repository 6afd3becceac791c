"""The limit: a bare ASGI callable on Granian that runs RxDesk's own statements, and does nothing else.

No row security (it connects as the tables' owner), no rate limit, no logs, no time limits, no framework, no
judgement of the input. What RxDesk costs more than this is what those things cost. In the waiting room it is no
limit: it judges the key by a statement of its own, where RxDesk does so in the statement that writes (decision 24).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import asyncpg
import msgspec

from rxdesk.access import _CALLER_ONLY, Read, Transaction, run_command
from rxdesk.doctors import queries as doctors
from rxdesk.errors import ApiError
from rxdesk.kit.keys import KeyReference, read_key
from rxdesk.kit.sealing import Sealer, new_keys, read_keys
from rxdesk.orders import queries as orders
from rxdesk.patients import queries as patients
from rxdesk.permissions import Permission
from rxdesk.prescriptions import queries as prescriptions
from rxdesk.products import queries as products
from rxdesk.waiting_room import commands as waiting_room
from rxdesk.waiting_room import queries as waiting_room_queries
from rxdesk.waiting_room.forecasts import NOTHING
from rxdesk.waiting_room.schemas import Registration
from rxdesk.wallet import commands as wallet
from rxdesk.wallet.schemas import Push

_CONNECTIONS = 8  # as many as RxDesk has
_INTENT_DAYS = 365  # RxDesk's default
_SEALER = Sealer(read_keys(new_keys()))

Scope: TypeAlias = dict[str, Any]
Plan: TypeAlias = tuple[str, Read, tuple[object, ...]]
Command: TypeAlias = Callable[[Transaction], Awaitable[object]]


def _paging(query: dict[str, list[str]]) -> tuple[int, int]:
    limit = int(query.get("limit", ["50"])[0])
    return limit, limit * int(query.get("page", ["0"])[0])


def _read(parts: list[str], query: dict[str, list[str]]) -> Plan:  # noqa: PLR0911 (a table of routes)
    match parts:
        case ["orders", uid]:
            return Permission.ORDER_READ, orders.ORDER, (uid,)
        case ["prescriptions", uid]:
            return Permission.PRESCRIPTION_READ, prescriptions.PRESCRIPTION, (uid,)
        case ["patients"]:
            return Permission.PATIENT_READ, patients.PATIENT_BY_EMAIL, (query["email"][0].casefold(),)
        case ["patients", uid, "intent", intent]:
            now = int(datetime.now(UTC).timestamp())
            return Permission.PATIENT_READ, patients.INTENT, (uid, intent, _INTENT_DAYS, now)
        case ["doctors"]:
            return Permission.DOCTOR_READ, doctors.DOCTORS, _paging(query)
        case ["doctors", uid, "statistics"]:
            first, last = (int(query[name][0]) if name in query else None for name in ("from", "to"))
            return (
                Permission.DOCTOR_STATISTICS_READ,
                doctors.STATISTICS,
                (uid, first, last, datetime.now(UTC)),
            )
        case ["products"]:
            return Permission.PRODUCT_READ, products.PRODUCTS, _paging(query)
        case ["waiting-room", uid, "status"]:
            return Permission.WAITING_ROOM_READ, waiting_room_queries.STATUS, (uid,)
    raise LookupError


def _write(method: str, parts: list[str], body: bytes) -> tuple[int, str, Command]:
    match method, parts:
        case "POST", ["waiting-room", "register"]:
            place = msgspec.json.decode(body, type=Registration)
            return (
                201,
                Permission.WAITING_ROOM_WRITE,
                lambda tx: waiting_room.register(tx, place, NOTHING.next_ones),
            )
        case "DELETE", ["waiting-room", uid]:
            return 204, Permission.WAITING_ROOM_WRITE, lambda tx: waiting_room.cancel(tx, uid)
        case "POST", ["wallet-passes", "push-notifications"]:
            pushes = msgspec.json.decode(body, type=list[Push])
            return (
                200,
                Permission.WALLET_PASS_PUSH_NOTIFICATION_WRITE,
                lambda tx: wallet.queue_pushes(tx, pushes),
            )
    raise LookupError


class App:
    """The whole server."""

    def __init__(self) -> None:
        self.free: asyncio.Queue[asyncpg.Connection[asyncpg.Record]] = (
            asyncio.LifoQueue()
        )  # newest first, as RxDesk
        self.first = True

    async def __call__(self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Any) -> None:  # noqa: ANN401
        """Answer one request."""
        if scope["type"] != "http":
            return
        if self.first:
            self.first = False
            for _ in range(_CONNECTIONS):
                settings = {"jit": "off", "plan_cache_mode": "force_generic_plan", "timezone": "UTC"}
                self.free.put_nowait(await asyncpg.connect(server_settings=settings))
            gc.collect()
            gc.freeze()  # as all the others do
        connection = await self.free.get()
        try:
            status, body = await self._answer(connection, scope, receive)
        finally:
            self.free.put_nowait(connection)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(  # noqa: PLR0911 (an answer each)
        self,
        connection: asyncpg.Connection[asyncpg.Record],
        scope: Scope,
        receive: Callable[[], Awaitable[Any]],
    ) -> tuple[int, bytes]:
        key = _key(scope)
        if key is None:
            return 401, b'{"error": "API key header invalid"}'
        parts = scope["path"].split("/")[3:]
        if scope["method"] == "GET":
            permission, read, arguments = _read(parts, parse_qs(scope["query_string"].decode()))
            row = await connection.fetchrow(
                read.statement, key.organisation_id, key.digest, permission, *arguments
            )
            if row is None:
                return 401, b'{"error": "API key unknown"}'
            if not row["allowed"]:
                return 403, b'{"error": "Forbidden"}'
            return (404, b"{}") if row["body"] is None else (200, row["body"].encode())
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        status, permission, command = _write(scope["method"], parts, body)
        row = await connection.fetchrow(_CALLER_ONLY, key.organisation_id, key.digest, permission)
        if row is None or not row["allowed"]:
            return 403, b'{"error": "Forbidden"}'
        try:
            # As RxDesk does: what is one statement needs no transaction around it.
            async with nullcontext() if "waiting-room" in parts else connection.transaction():
                now = datetime.now(UTC)
                tx = Transaction(connection, key.organisation_id, "key", row["uid"], now, _SEALER)
                answer = await run_command(tx, command)
        except ApiError as error:
            return error.status, msgspec.json.encode(error.body)
        return status, b"" if answer is None else msgspec.json.encode(answer)


def _key(scope: Scope) -> KeyReference | None:
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            return read_key(value.decode("ascii"))
    return None


app = App()
