"""Paths to handlers, by Starlette's router: it knows the paths, and each path here knows its methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from starlette.routing import Route, Router

from rxdesk import errors
from rxdesk.web.answers import App, Receive, Scope, Send, error_answer, send_answer

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[None]]
Handlers: TypeAlias = Mapping[str, Mapping[str, App]]  # by path template and method

_NOT_FOUND = error_answer(errors.not_found())


async def _unknown_path(_: Scope, __: Receive, send: Send) -> None:
    await send_answer(send, _NOT_FOUND)


class _Path:
    """What answers at one path, by method. HEAD comes as GET (see rxdesk.web.asgi)."""

    def __init__(self, template: str, methods: Mapping[str, App]) -> None:
        self._template = template
        self._methods = dict(methods)
        allowed = {*methods, "HEAD"} if "GET" in methods else set(methods)
        allow = {"Allow": ", ".join(sorted(allowed))}
        self._refusal = error_answer(errors.ApiError(405, {"error": "Method not allowed"}, allow))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The router's patterns end in `$`, which lets a line feed follow.
        if scope["path"].endswith("\n") and not self._template.endswith("}"):
            await send_answer(send, _NOT_FOUND)
            return
        scope["rxdesk.route"] = self._template
        app = self._methods.get(scope["method"])
        if app is None:
            await send_answer(send, self._refusal)
        else:
            await app(scope, receive, send)


def router(handlers: Handlers, lifespan: Lifespan) -> Router:
    """Make the application of all paths; templates are like `/orders/{order_uid}`, names hold no slash.

    A path comes without its trailing slash (see rxdesk.web.asgi).
    """
    routes = [
        Route(template.removesuffix("/"), _Path(template, methods)) for template, methods in handlers.items()
    ]
    return Router(routes, redirect_slashes=False, default=_unknown_path, lifespan=lifespan)
