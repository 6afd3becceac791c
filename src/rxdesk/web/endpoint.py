"""The declaration of an endpoint: method, path, permission, and all that its documentation needs.

The permission is a part of the declaration that cannot be left out; None stands for «any valid key».
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from rxdesk import errors
from rxdesk.db.pool import DatabaseUnavailableError
from rxdesk.errors import ApiError
from rxdesk.permissions import Permission
from rxdesk.web.answers import error_response, json_response
from rxdesk.web.call import Answer, Call, Services

PARAMETER = re.compile(r"\{([a-z_]+)\}")
Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]
Method: TypeAlias = Literal["GET", "POST", "DELETE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is known of an endpoint before any request: it routes, guards and documents."""

    name: str
    method: Method
    path: str
    permission: Permission | None
    tag: str
    summary: str
    description: str = ""
    status: int = 200
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


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An operation and its handler."""

    operation: Operation
    handler: Handler

    async def answer(self, call: Call) -> Response[bytes]:
        """Run the handler and give its answer, or its error's."""
        try:
            try:
                answer = await self.handler(call)
            except ApiError:
                # A fault of the input may be found before the caller is known, and must not overtake the 401,
                # 429 or 403 that comes first.
                if not call.judged:
                    await call.authorise()
                raise
        except ApiError as error:
            return error_response(error, call.headers)
        except DatabaseUnavailableError:
            return error_response(errors.unavailable(), call.headers)
        return json_response(answer.status, answer.body, answer.headers, call.headers)

    def route(self, services: Services) -> HTTPRouteHandler:
        """Make the framework's handler."""
        operation = self.operation

        async def handle(request: Request[Any, Any, Any]) -> Response[bytes]:
            return await self.answer(Call(services, operation, request.scope, request.receive))

        return HTTPRouteHandler(
            path=PARAMETER.sub(r"{\1:str}", operation.path),
            http_method=operation.method,
            status_code=200,  # each Response carries its own
            name=operation.name,
        )(handle)


def endpoint(
    method: Method,
    path: str,
    permission: Permission | None,
    **documentation: Any,  # noqa: ANN401 (checked by Operation)
) -> Callable[[Handler], Endpoint]:
    """Declare an endpoint; the handler's name is the operation's id."""

    def declare(handler: Handler) -> Endpoint:
        name = getattr(handler, "__name__", "")
        operation = Operation(name=name, method=method, path=path, permission=permission, **documentation)
        return Endpoint(operation, handler)

    return declare
