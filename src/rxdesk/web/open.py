"""Endpoints that are open to everybody: no key, a limit for each address, and what they show is proved by a token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from rxdesk import errors
from rxdesk.db.pool import DatabaseUnavailableError
from rxdesk.errors import ApiError
from rxdesk.web import body as door
from rxdesk.web.answers import Answer, App, RawHeaders, Receive, Scope, Send, error_answer, send_answer
from rxdesk.web.call import Incoming, Services
from rxdesk.web.endpoint import Method, Operation

T = TypeVar("T")
_MAX_BODY = 16 * 1024


class Visit(Incoming):
    """One request without a key."""

    __slots__ = ("headers",)

    def __init__(self, services: Services, operation: Operation, scope: Scope, receive: Receive) -> None:
        super().__init__(services, operation, scope, receive)
        self.headers: RawHeaders = ()

    @property
    def only_looks(self) -> bool:
        """Whether it is a HEAD: it is answered as GET, without a body, so nobody has got anything by it."""
        return bool(self.scope.get("rxdesk.head"))

    def admit(self) -> None:
        """Count the request; 429 when its address has asked too often."""
        verdict = self.services.limiter.may_visit(self.address())
        if not verdict.allowed:
            self.headers = verdict.headers
            raise errors.too_many(verdict.retry_after)

    def header(self, name: bytes) -> str:
        """Give the value of a header; empty when it is missing or sent twice."""
        values = self.header_values(name)
        return values[0].decode("latin-1") if len(values) == 1 else ""

    async def organisation(self, public_code: str) -> int:
        """Give the number of the organisation with that public code; 404 when there is none."""
        found = await self.services.access.organisation_of(public_code)
        if found is None:
            raise errors.not_found()
        self.scope["rxdesk.organisation"] = found
        return found

    async def body(self, kind: type[T]) -> T:
        """Read and check a body of at most 16 KiB."""
        data = await self.data(_MAX_BODY)
        door.check_content_type(self.header_values(b"content-type"))
        return door.convert(door.decode(data), kind)


OpenHandler: TypeAlias = Callable[[Visit], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class OpenEndpoint:
    """An operation that is open to everybody, and its handler."""

    operation: Operation
    handler: OpenHandler

    def app(self, services: Services) -> App:
        """Make the ASGI application that answers at the operation's path and method."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            visit = Visit(services, self.operation, scope, receive)
            await send_answer(send, await self._answer(visit), visit.headers)

        return serve

    async def _answer(self, visit: Visit) -> Answer:
        try:
            visit.admit()
            return await self.handler(visit)
        except ApiError as error:
            return error_answer(error)
        except DatabaseUnavailableError:
            return error_answer(errors.unavailable())


def open_endpoint(
    method: Method,
    path: str,
    **documentation: Any,  # noqa: ANN401 (checked by Operation)
) -> Callable[[OpenHandler], OpenEndpoint]:
    """Declare an endpoint that is open to everybody; the handler's name is the operation's id."""

    def declare(handler: OpenHandler) -> OpenEndpoint:
        name = getattr(handler, "__name__", "")
        operation = Operation(
            name=name, method=method, path=path, permission=None, open=True, **documentation
        )
        return OpenEndpoint(operation, handler)

    return declare
