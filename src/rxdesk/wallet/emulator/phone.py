"""A simulated iPhone: it keeps passes and registers them, is pushed, fetches what is newer, says what it would show."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode

import msgspec
from cryptography import x509

from rxdesk.kit.egress import Egress, Method, Outcome
from rxdesk.kit.strict_json import UNREADABLE
from rxdesk.wallet.apple.reading import MOST_BYTES, PassRefused, ReadPass, read_pass
from rxdesk.wallet.emulator.apns import Devices

_NEW_VALUE: Final = "%@"
_TOKEN_BYTES = 32
_OK, _CREATED, _NO_CONTENT, _NOT_MODIFIED = 200, 201, 204, 304


class _Newer(msgspec.Struct, rename="camel"):
    serial_numbers: list[str]
    last_updated: str


@dataclass(slots=True)
class Held:
    """A pass on the phone, and when the server says that it was changed."""

    read: ReadPass
    last_modified: str | None = None

    @property
    def serial(self) -> str:
        """The pass's serial number."""
        return str(self.read.document["serialNumber"])


@dataclass(slots=True)
class Phone:
    """One iPhone. `screen` holds what its lock screen has said, `complaints` what it could not do.

    `root` is the authority whose passes it takes. `random_bytes` makes its identifier and its push token. `tell` is
    called with `screen` or `complaint` and what was said, `keep` with each file of a pass that it takes.
    """

    egress: Egress
    devices: Devices
    root: x509.Certificate
    random_bytes: Callable[[int], bytes]
    language: str = "en"
    tell: Callable[[str, str], None] | None = None
    keep: Callable[[bytes], None] | None = None
    screen: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    passes: dict[tuple[str, str], Held] = field(default_factory=dict)
    identifier: str = field(init=False)
    push_token: str = field(init=False)
    _tags: dict[tuple[str, str], str] = field(default_factory=dict)
    _pushed: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        self.identifier = self.random_bytes(_TOKEN_BYTES // 2).hex()
        self.push_token = self.random_bytes(_TOKEN_BYTES).hex()

    async def add(self, file: bytes) -> bool:
        """Add a pass, or a newer file of it, and register it; False when it is refused, by the phone or the server."""
        try:
            held = Held(read_pass(file, self.root))
        except PassRefused as refusal:
            self.complain(str(refusal))
            return False
        document = held.read.document
        key = (str(document["passTypeIdentifier"]), held.serial)
        self.passes[key] = held
        if "webServiceURL" not in document:
            self._keep(file)
            return True
        self.devices.know(self.push_token, self._pushed.put_nowait)
        outcome = await self._ask(
            held, "POST", self._registration(key), json.dumps({"pushToken": self.push_token}).encode()
        )
        if outcome.status not in (_OK, _CREATED):
            self.complain(f"registration was answered {outcome.status or outcome.error}")
            return False
        self._keep(file)
        return True

    async def remove(self, serial: str) -> None:
        """Remove a pass and unregister it; when it was the last one, pushes find the phone no more."""
        for key in [key for key in self.passes if key[1] == serial]:
            held = self.passes.pop(key)
            if "webServiceURL" in held.read.document:
                outcome = await self._ask(held, "DELETE", self._registration(key))
                if outcome.status != _OK:
                    self.complain(f"unregistering was answered {outcome.status or outcome.error}")
        if not self.passes:
            self.devices.forget(self.push_token)

    async def run(self) -> None:
        """Do what pushes ask for, one after the other, until cancelled."""
        while True:
            pass_type = await self._pushed.get()
            try:
                await self.catch_up(pass_type)
            finally:
                self._pushed.task_done()

    async def settled(self) -> None:
        """Wait until all that was pushed has been done."""
        await self._pushed.join()

    async def catch_up(self, pass_type: str) -> None:
        """Ask each web service of passes of a type which are newer, and fetch those."""
        holders = {
            held.read.document["webServiceURL"]: held
            for (kind, _), held in self.passes.items()
            if kind == pass_type and "webServiceURL" in held.read.document
        }
        for service, held in holders.items():
            tag = self._tags.get((service, pass_type))
            path = f"/v1/devices/{self.identifier}/registrations/{quote(pass_type, safe='')}"
            query = "?" + urlencode({"passesUpdatedSince": tag}) if tag is not None else ""
            outcome = await self._ask(held, "GET", path + query, proving=False)
            if outcome.status == _NO_CONTENT:
                continue
            if outcome.status != _OK:
                self.complain(f"the list of newer passes was answered {outcome.status or outcome.error}")
                continue
            try:
                said = msgspec.json.decode(outcome.answer, type=_Newer)
            except UNREADABLE:
                await self._report(held, "the list of newer passes cannot be read")
                continue
            done = [await self.refresh((pass_type, serial)) for serial in said.serial_numbers]
            if all(done):  # else it asks for the same once more, the next time
                self._tags[service, pass_type] = said.last_updated

    async def refresh(self, key: tuple[str, str]) -> bool:
        """Fetch a newer version of a pass, by its type and serial number, and show what changed.

        False when there was no answer that says anything.
        """
        held = self.passes.get(key)
        if held is None:
            return True
        since = {"If-Modified-Since": held.last_modified} if held.last_modified is not None else {}
        path = f"/v1/passes/{quote(key[0], safe='')}/{quote(key[1], safe='')}"
        outcome = await self._ask(held, "GET", path, headers=since)
        if outcome.status == _NOT_MODIFIED:
            return True
        if outcome.status != _OK:
            self.complain(f"a newer pass was answered {outcome.status or outcome.error}")
            return False
        try:
            read = read_pass(outcome.answer, self.root)
        except PassRefused as refusal:
            await self._report(held, f"a newer pass is refused: {refusal}")
            return False
        for line in alerts(held.read, read, self.language):
            self.show(line)
        self.passes[key] = Held(read, outcome.headers.get("Last-Modified"))
        self._keep(outcome.answer)
        return True

    async def _report(self, held: Held, message: str) -> None:
        """Tell the web service what is wrong with what it gave."""
        self.complain(message)
        await self._ask(held, "POST", "/v1/log", json.dumps({"logs": [message]}).encode(), proving=False)

    def _keep(self, file: bytes) -> None:
        if self.keep is not None:
            self.keep(file)

    def show(self, line: str) -> None:
        """Say something on the lock screen."""
        self._note(self.screen, "screen", line)

    def complain(self, message: str) -> None:
        """Say what it could not do."""
        self._note(self.complaints, "complaint", message)

    def _note(self, notes: list[str], kind: str, text: str) -> None:
        notes.append(text)
        if self.tell is not None:
            self.tell(kind, text)

    def _registration(self, key: tuple[str, str]) -> str:
        names = "/".join(quote(name, safe="") for name in key)
        return f"/v1/devices/{self.identifier}/registrations/{names}"

    async def _ask(
        self,
        held: Held,
        method: Method,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        proving: bool = True,
    ) -> Outcome:
        """Send a request to a pass's web service; `proving` by its token that it is held, where Apple's does so."""
        document = held.read.document
        sent = dict(headers or {})
        if proving:
            sent["Authorization"] = f"ApplePass {document['authenticationToken']}"
        if body:
            sent["Content-Type"] = "application/json"
        url = str(document["webServiceURL"]).rstrip("/") + path
        return await self.egress.request(method, url, body, sent, max_answer=MOST_BYTES)


def alerts(before: ReadPass, after: ReadPass, language: str) -> list[str]:
    """Give what a lock screen says of a new version: a line for each field that changed and has a change message."""
    old, lines = before.fields(), []
    for key, now in after.fields().items():
        value = after.shown(now["value"], language)
        if "changeMessage" not in now or key not in old:
            continue
        if before.shown(old[key]["value"], language) != value:
            lines.append(after.shown(now["changeMessage"], language).replace(_NEW_VALUE, value))
    return lines
