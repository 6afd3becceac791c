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


class _Router(Router):
    """Starlette's, which tries all patterns in turn: here it tries those alone that a path can match."""

    def __init__(self, routes: list[Route], lifespan: Lifespan) -> None:
        super().__init__(routes, redirect_slashes=False, default=_unknown_path, lifespan=lifespan)
        self._alike: dict[tuple[int, str], list[Route]] = {}
        for route in routes:
            self._alike.setdefault(_kind(route.path), []).append(route)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request by the first route that matches, or what is no request as Starlette does."""
        if scope["type"] != "http":
            await super().app(scope, receive, send)
            return
        path = scope["path"]
        slashes, third = _kind(path)
        for kind in ((slashes, third), (slashes, _ANY)):
            for route in self._alike.get(kind, ()):
                match = route.path_regex.match(path)
                if match is not None:
                    scope["path_params"] = match.groupdict()
                    await route.app(scope, receive, send)
                    return
        await self.default(scope, receive, send)


_ANY = "{"


def _kind(path: str) -> tuple[int, str]:
    """Give what a template has in common with each path that it matches: its slashes, and its third name.

    That is `orders` in `/v1/management/orders/ord-1`; one that is a parameter can be any.
    """
    names = path.split("/", 4)
    third = names[3] if len(names) > 3 else ""  # noqa: PLR2004 (the third name)
    return path.count("/"), _ANY if third.startswith("{") else third


def router(handlers: Handlers, lifespan: Lifespan) -> Router:
    """Make the application of all paths; templates are like `/orders/{order_uid}`, names hold no slash.

    A path comes without its trailing slash (see rxdesk.web.asgi).
    """
    routes = [
        Route(template.removesuffix("/"), _Path(template, methods)) for template, methods in handlers.items()
    ]
    return _Router(routes, lifespan)
