"""One call of one endpoint: who asks, what is asked, and the one way to an answer.

The order of checks is the contract's: 401, 429, 403, then the input, then rows. An input fault that is found
before the caller is known waits until the caller has been judged (`Endpoint` sees to it).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from rxdesk import errors, idempotency
from rxdesk.access import Access, Caller, Presumed, PresumptionError, Read, Transaction, Updated
from rxdesk.errors import ApiError
from rxdesk.kit.clock import Clock
from rxdesk.kit.egress import Egress
from rxdesk.kit.keys import KeyReference, read_key
from rxdesk.kit.uids import is_uid
from rxdesk.settings import Settings
from rxdesk.web import body as door
from rxdesk.web.answers import Answer, RawHeaders, Scope
from rxdesk.web.asgi import SLASH
from rxdesk.web.rate_limit import Network, RateLimiter, Verdict, client_address

if TYPE_CHECKING:
    from rxdesk.web.endpoint import Operation

T = TypeVar("T")

_MAX_KEY_HEADER = 256


@dataclass(frozen=True, slots=True)
class Services:
    """What a serving process holds and every call uses."""

    settings: Settings
    access: Access
    clock: Clock
    limiter: RateLimiter
    egress: Egress
    trusted_proxies: tuple[Network, ...] = ()
    parts: Mapping[type[Any], Any] = field(default_factory=dict)

    def part(self, kind: type[T]) -> T:
        """Give what a feature keeps for itself in this process, by its class."""
        part: T = self.parts[kind]
        return part


def _encoded(value: object) -> str:
    """Give a value as JSON text."""
    return msgspec.json.encode(value).decode()


class Incoming:
    """A request on its way through an endpoint: its input, before anybody asks whose it is."""

    __slots__ = ("operation", "path", "receive", "scope", "services")

    def __init__(self, services: Services, operation: Operation, scope: Scope, receive: door.Receive) -> None:
        self.services = services
        self.operation = operation
        self.scope = scope
        self.receive = receive
        self.path: dict[str, Any] = scope["path_params"]

    @property
    def now(self) -> datetime:
        """The present instant by the server's clock."""
        return self.services.clock()

    @property
    def settings(self) -> Settings:
        """The server's settings."""
        return self.services.settings

    def uid(self, name: str) -> str:
        """Give a uid of the path, or one that no row has when it has no uid's form: both are the same 404."""
        value = str(self.path[name])
        return value if is_uid(value) else ""

    def text(self, name: str) -> str:
        """Give a free text of the path; one that the database could not hold becomes empty."""
        value = str(self.path[name]).replace(SLASH, "/")
        return "" if "\x00" in value or len(value) > 256 else value  # noqa: PLR2004 (longer than any name)

    def query(self, kind: type[T]) -> T:
        """Read the query parameters; 400 naming each faulty one."""
        return door.read_query(self.scope["query_string"], kind)

    def header_values(self, name: bytes) -> list[bytes]:
        """Give all values of a header, in the order they came."""
        return [value for key, value in self.scope["headers"] if key == name]

    def address(self) -> str:
        """Give the client's address."""
        peer = self.scope.get("client")
        forwarded = [value.decode("latin-1") for value in self.header_values(b"x-forwarded-for")]
        return client_address(peer[0] if peer else "", forwarded, self.services.trusted_proxies)

    async def data(self, limit: int = door.MAX_BODY) -> bytes:
        """Read the whole body; 413 when it has more bytes than that, 408 when it does not come in time."""
        lengths = self.header_values(b"content-length")
        return await door.read_body(
            self.receive, lengths[0] if lengths else None, deadline=self.scope["rxdesk.deadline"], limit=limit
        )


class Call(Incoming):
    """One request of a key on its way through an endpoint."""

    __slots__ = ("_body", "_counted", "_key", "_presumed", "caller", "headers", "judged")

    def __init__(self, services: Services, operation: Operation, scope: Scope, receive: door.Receive) -> None:
        super().__init__(services, operation, scope, receive)
        self.caller: Caller | None = None
        self.judged = False  # the key was looked at: an error since then is the verdict, or comes after it
        self.headers: RawHeaders = ()
        self._key: KeyReference | None = None
        self._presumed: Presumed | None = None
        self._counted: tuple[Caller, Verdict] | None = None
        self._body: object = None

    # Input -----------------------------------------------------------------------------------------------

    async def body(self, kind: type[T]) -> T:
        """Read and check the body; the caller is judged, or presumed, first."""
        if self.caller is None and self._presumed is None:
            await self.authorise()
        return self._read(await self.data(), kind)

    async def body_if_any(self, kind: type[T]) -> T:
        """Read and check the body, or take its defaults when it is empty; the caller is judged first."""
        await self.authorise()
        data = await self.data()
        return self._read(data or b"{}", kind)

    async def body_or_query(self, kind: type[T]) -> T:
        """Read the body, or the query parameters when it is empty; the caller is judged before a body is read."""
        if not self.header_values(b"content-length") and not self.header_values(b"transfer-encoding"):
            return self.query(kind)
        await self.authorise()
        data = await self.data()
        return self._read(data, kind) if data else self.query(kind)

    def _read(self, data: bytes, kind: type[T]) -> T:
        door.check_content_type(self.header_values(b"content-type"))
        self._body = door.decode(data)
        value = door.convert(self._body, kind)
        self._idempotent()  # a bad Idempotency-Key is a 400 as well, before any 404 or 422
        return value

    # Who asks --------------------------------------------------------------------------------------------

    async def _reference(self) -> KeyReference:
        self.judged = True
        if self._key is not None:
            return self._key
        values = self.header_values(b"x-api-key")
        if not values:
            raise errors.header_missing()
        if len(values) > 1 or not 0 < len(values[0]) <= _MAX_KEY_HEADER or not values[0].isascii():
            raise errors.header_invalid()
        key = read_key(values[0].decode("ascii"))
        if key is None:
            raise errors.key_invalid()
        if not self.services.limiter.knows(key.digest):
            verdict = self.services.limiter.may_try(self.address())
            if not verdict.allowed:
                self.headers = verdict.headers
                raise errors.too_many(verdict.retry_after)
        self._key = key
        return key

    async def _judge(self, key: KeyReference, caller: Caller | None) -> Caller:
        if caller is None:
            self.headers = ()  # a presumption's
            self.services.limiter.note_unknown(self.address(), key.digest)
            raise errors.key_invalid()
        self.services.limiter.note_known(key.digest)
        self._is(caller)
        await self._count(caller)
        if not caller.allowed:
            raise errors.permission_denied()
        return caller

    def _is(self, caller: Caller) -> None:
        self.caller = caller
        self.scope["rxdesk.organisation"] = caller.organisation_id
        self.scope["rxdesk.key"] = caller.key_uid

    async def _count(self, caller: Caller) -> None:
        """Count the request, once, against the key's limits; 429."""
        if self._counted is None or self._counted[0] != caller:
            self._counted = caller, await self.services.limiter.hit(caller)
        verdict = self._counted[1]
        self.headers = verdict.headers
        if not verdict.allowed:
            raise errors.too_many(verdict.retry_after)

    async def authorise(self, *, seconds: float | None = None) -> Caller:
        """Judge the caller by a statement of its own; for writes, for faulty input and for health.

        `seconds` is a time limit below the usual one.
        """
        if self.caller is not None:
            return self.caller
        key = await self._reference()
        caller, _ = await self.services.access.read(key, self.operation.permission, None, seconds=seconds)
        return await self._judge(key, caller)

    async def presume(self) -> Caller:
        """Give who the key was when last seen, for a `write` of one statement, which judges it again.

        A key that is not remembered, and one whose request is to be done once, are judged at once. Whatever goes wrong
        before that statement has the caller judged first, as faulty input always has.
        """
        permission = self.operation.permission
        if permission is None or self.header_values(b"idempotency-key"):
            return await self.authorise()
        key = await self._reference()
        presumed = self.services.access.presumed(key, permission)
        if presumed is None:
            caller = await self.authorise()
            if caller.pharmacy_uid is None:
                self.services.access.remember(key, permission, caller)
            return caller
        self.judged = False
        await self._count(presumed.caller)
        self._presumed = presumed
        return presumed.caller

    # Answers ---------------------------------------------------------------------------------------------

    async def read(self, read: Read, *arguments: object) -> Answer:
        """Answer with the body of one statement, which also judges the caller."""
        return Answer(self.operation.status, (await self.found(read, *arguments)).encode())

    async def found(self, read: Read, *arguments: object) -> str:
        """Give the body of one statement, which also judges the caller, as JSON text; 404 if there is none."""
        key = await self._reference()
        caller, text = await self.services.access.read(key, self.operation.permission, read, *arguments)
        await self._judge(key, caller)
        if text is None:
            raise errors.not_found()
        return text

    async def write(
        self, command: Callable[..., Awaitable[object]], *arguments: object, at_once: bool = False
    ) -> Answer:
        """Run `command(tx, *arguments)` in one transaction and answer with what it gives, as JSON.

        `at_once`: the command is one statement and needs none around it, but for an Idempotency-Key's sake.
        """
        if self._presumed is None:
            await self.authorise()
        request = self._idempotent()

        async def run(tx: Transaction) -> tuple[int, str]:
            async def once() -> tuple[int, str]:
                result = await command(tx, *arguments)
                if result is None:
                    return self.operation.nothing or self.operation.status, ""
                if isinstance(result, Updated):
                    return self.operation.updated or self.operation.status, _encoded(result.value)
                return self.operation.status, _encoded(result)

            return await once() if request is None else await idempotency.once(tx, request, once)

        access = self.services.access
        if at_once and request is None:
            status, text = await self._write_at_once(run)
        else:
            status, text = await access.write(await self.authorise(), run)
        return Answer(status, text.encode())

    async def _write_at_once(self, run: Callable[[Transaction], Awaitable[T]]) -> T:
        access = self.services.access
        presumed = self._presumed
        if presumed is not None and self.caller is None:
            try:
                done = await access.write_at_once(presumed.caller, run, presumed)
            except PresumptionError:
                pass  # nothing was written, and it is asked anew who this is
            except ApiError:
                self._stood(presumed)
                raise
            else:
                self._stood(presumed)
                return done
        return await access.write_at_once(await self.authorise(), run)

    def _stood(self, presumed: Presumed) -> None:
        self.judged = True
        self._is(presumed.caller)

    async def kept(self) -> Answer | None:
        """Give the answer kept for the request's Idempotency-Key.

        For handlers that ask the outside world before they write: what it says now must not change what was
        answered then.
        """
        request = self._idempotent()
        if request is None:
            return None
        caller = await self.authorise()
        found = await self.services.access.write(caller, lambda tx: idempotency.kept(tx, request))
        return None if found is None else Answer(found[0], found[1].encode())

    def _idempotent(self) -> idempotency.Idempotent | None:
        values = self.header_values(b"idempotency-key")
        if not values or not self.operation.idempotent:
            return None
        header = values[0].decode("latin-1") if len(values) == 1 else ""
        # Two pharmacies of one organisation know nothing of each other, so neither do their keys.
        pharmacy_uid = None if self.caller is None else self.caller.pharmacy_uid
        route = self.operation.name if pharmacy_uid is None else f"{self.operation.name} {pharmacy_uid}"
        if self.path:  # what is done to one row is not what was done to another
            route = f"{route} {json.dumps(list(self.path.values()))}"
        return idempotency.identify(route, header, self._body)
