"""Clients of live streams, on connections of their own, and a waiting room that is asked over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
from tests.factories import Tenant

MANAGEMENT = "/v1/management/waiting-room"
OPERATIONS = "/v1/operations/waiting-room"
ENOUGH = 30.0  # seconds that nothing here takes


@dataclass(frozen=True)
class Event:
    """One event as it came."""

    name: str
    id: str
    text: str

    @property
    def data(self) -> Any:
        return json.loads(self.text)


@dataclass
class Follower:
    """One stream as EventSource would read it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    comments: int = 0
    retry: int | None = None
    last_id: str | None = None
    _text: str = ""
    _size: int | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        path: str,
        headers: dict[str, str],
        last: object = None,
        *,
        method: str = "GET",
        limit: int = 65536,
    ) -> Follower:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=limit)
        given = {**headers, **({} if last is None else {"Last-Event-ID": str(last)})}
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: test",
            *(f"{name}: {value}" for name, value in given.items()),
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        made = cls(reader, writer)
        try:
            async with asyncio.timeout(ENOUGH):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except BaseException:
            made.cut()
            raise
        first, *fields = head.strip().split("\r\n")
        made.status = int(first.split(" ")[1])
        made.headers = {
            name.lower(): value.strip() for name, _, value in (one.partition(":") for one in fields)
        }
        return made

    async def body(self) -> Any:
        """The body of an answer that is no stream."""
        return json.loads(await self.reader.readexactly(int(self.headers["content-length"])))

    async def next(self, seconds: float = ENOUGH) -> Event | None:
        """The next event; None when the stream has come to its end. ConnectionError when it was cut."""
        async with asyncio.timeout(seconds):
            while True:
                while "\n\n" not in self._text:
                    try:
                        if self._size is None:  # else a time limit came between a chunk and its size
                            self._size = int(await self.reader.readuntil(b"\r\n"), 16)
                        chunk = await self.reader.readexactly(self._size + 2)
                    except asyncio.IncompleteReadError as error:
                        raise ConnectionError from error
                    if self._size == 0:
                        return None
                    self._size = None
                    self._text += chunk[:-2].decode()
                block, self._text = self._text.split("\n\n", 1)
                event = self._read(block)
                if event is not None:
                    return event

    def _read(self, block: str) -> Event | None:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments += 1
            else:
                fields[name] = fields[name] + "\n" + value if name in fields else value
        if "retry" in fields:
            self.retry = int(fields["retry"])
        if "data" not in fields:
            return None
        self.last_id = fields["id"]
        return Event(fields["event"], fields["id"], fields["data"])

    async def until(self, name: str) -> list[Event]:
        """All events up to the first of a name."""
        found: list[Event] = []
        while True:
            event = await self.next()
            assert event is not None, found
            found.append(event)
            if event.name == name:
                return found

    async def rest(self) -> list[Event]:
        """All events to the stream's end."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found

    def cut(self) -> None:
        """End the connection without a word."""
        self.writer.transport.abort()


@dataclass
class Desk:
    """A waiting room over HTTP: of one organisation, with a key that may do all."""

    url: str
    http: httpx.AsyncClient
    tenant: Tenant
    headers: dict[str, str]
    followers: list[Follower] = field(default_factory=list)

    async def shop(self) -> str:
        return await self.tenant.insert("shops")

    async def done(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.http.request(method, self.url + path, json=body, headers=self.headers)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def patient(self, shop: str, patient: str | None = None) -> str:
        """Register a patient; gives the queue_uid."""
        body = {"shop_uid": shop, "patient_profile_uid": patient or await self.tenant.insert("patients")}
        return str((await self.done("POST", MANAGEMENT + "/register", body))["queue_uid"])

    async def leave(self, uid: str) -> None:
        await self.done("DELETE", f"{MANAGEMENT}/{uid}")

    async def status(self, uid: str) -> Any:
        return await self.done("GET", f"{MANAGEMENT}/{uid}/status")

    async def board(self, shop: str) -> Any:
        return await self.done("GET", f"{OPERATIONS}/shops/{shop}")

    async def doctor(self, shop: str) -> str:
        """A doctor on duty."""
        uid = await self.tenant.insert("doctors")
        await self.duty(uid, "on-duty", {"shop_uids": [shop]})
        return uid

    async def duty(self, doctor: str, step: str, body: Any = None) -> Any:
        return await self.done("POST", f"{OPERATIONS}/doctors/{doctor}/{step}", body)

    async def visit(self, uid: str, step: str, body: Any) -> Any:
        return await self.done("POST", f"{OPERATIONS}/visits/{uid}/{step}", body)

    async def follow(
        self, path: str, last: object = None, *, url: str | None = None, **more: Any
    ) -> Follower:
        headers = more.pop("headers", self.headers)
        follower = await Follower.open(url or self.url, path, headers, last, **more)
        self.followers.append(follower)
        return follower

    def path(self, uid: str) -> str:
        return f"{MANAGEMENT}/{uid}/events"

    def board_path(self, shop: str) -> str:
        return f"{OPERATIONS}/events?shop_uid={shop}"

    async def told(self, after: int = 0, uid: str | None = None) -> list[tuple[str, str, str]]:
        """The ledger: position, visit and status of each step after a position, in order."""
        rows = await self.tenant.rows(
            "SELECT position, subject_uid, convert_from(body, 'UTF8')::jsonb #>> '{data,status}' AS status FROM events "
            "WHERE organisation_id = $1 AND event_type = 'waiting_room_updated' AND position > $2 "
            "AND ($3::text IS NULL OR subject_uid = $3) ORDER BY position",
            after,
            uid,
        )
        return [(str(row["position"]), row["subject_uid"], row["status"]) for row in rows]


def steps(events: list[Event]) -> list[tuple[str, str, str]]:
    """The steps among events, as the ledger has them."""
    return [(e.id, e.data["uid"], e.data["status"]) for e in events if e.name == "step"]


@contextlib.asynccontextmanager
async def desk_at(url: str, tenant: Tenant) -> AsyncIterator[Desk]:
    async with httpx.AsyncClient(trust_env=False, timeout=ENOUGH) as http:
        desk = Desk(url, http, tenant, await tenant.headers())
        try:
            yield desk
        finally:
            for follower in desk.followers:
                follower.cut()
            await asyncio.sleep(0)
