"""The declaration of an endpoint: method, path, permission, and all that its documentation needs.

The permission is a part of the declaration that cannot be left out; None stands for «any key of the organisation».
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from rxdesk import errors
from rxdesk.db.pool import DatabaseUnavailableError
from rxdesk.errors import ApiError
from rxdesk.permissions import AnyPermission
from rxdesk.web.answers import Answer, App, Receive, Scope, Send, error_answer, send_answer
from rxdesk.web.asgi import begin
from rxdesk.web.call import Call, Services
from rxdesk.web.conditional import unless_same

PARAMETER = re.compile(r"\{([a-z_]+)\}")
Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]
Method: TypeAlias = Literal["GET", "POST", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is known of an endpoint before any request: it routes, guards and documents."""

    name: str
    method: Method
    path: str
    permission: AnyPermission | None
    tag: str
    summary: str
    description: str = ""
    status: int = 200
    nothing: int | None = None  # the status when there is nothing to answer with
    updated: int | None = None  # the status when it was there already, and was changed
    path_parameters: dict[str, str] = field(default_factory=dict)
    query: type[Any] | None = None
    query_required: bool = True
    body: Any = None
    body_required: bool = True
    body_example: Any = None
    answer: Any = None
    answer_example: Any = None
    errors: tuple[int, ...] = ()
    idempotent: bool = False
    conditional: bool = False  # answers have an entity tag, and If-None-Match is heeded
    streams: bool = False  # answers with Server-Sent Events, and heeds Last-Event-ID
    dated: bool = False  # answers have a Last-Modified, and If-Modified-Since is heeded
    open: bool = False  # asks for no key
    media_type: str = ""  # of an answer that is no JSON
    header_parameters: dict[str, str] = field(default_factory=dict)  # headers that are heeded, and what for


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An operation and its handler."""

    operation: Operation
    handler: Handler

    async def answer(self, call: Call) -> Answer:
        """Run the handler and give its answer, or its error's."""
        try:
            try:
                answer = await self.handler(call)
                if self.operation.conditional:
                    answer = unless_same(answer, call.header_values(b"if-none-match"))
                return answer  # noqa: TRY300 (an error of the lines above is one of the answer)
            except ApiError:
                # A fault of the input may be found before the caller is known, and must not overtake the 401,
                # 429 or 403 that comes first.
                if not call.judged:
                    await call.authorise()
                raise
        except ApiError as error:
            return error_answer(error)
        except DatabaseUnavailableError:
            return error_answer(errors.unavailable())

    def app(self, services: Services) -> App:
        """Make the ASGI application that answers at the operation's path and method."""
        operation = self.operation

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            call = Call(services, operation, scope, receive)
            answer = await self.answer(call)
            if answer.writer is not None:
                answer = begin(scope, answer)
            await send_answer(send, answer, call.headers)

        return serve


def endpoint(
    method: Method,
    path: str,
    permission: AnyPermission | None,
    **documentation: Any,  # noqa: ANN401 (checked by Operation)
) -> Callable[[Handler], Endpoint]:
    """Declare an endpoint; the handler's name is the operation's id."""

    def declare(handler: Handler) -> Endpoint:
        name = getattr(handler, "__name__", "")
        operation = Operation(name=name, method=method, path=path, permission=permission, **documentation)
        return Endpoint(operation, handler)

    return declare
