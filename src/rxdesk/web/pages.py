"""The open pages: Swagger UI with files of ours, the OpenAPI document, and the probes of an orchestrator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from importlib import resources

from rxdesk import errors
from rxdesk.web import openapi
from rxdesk.web.answers import Answer, App, Receive, Scope, Send, error_answer, send_answer
from rxdesk.web.api import Api

# Nothing from elsewhere: scripts, styles, images and requests are our own origin's.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS = {
    "swagger-ui.css": b"text/css; charset=utf-8",
    "swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
    "favicon-32x32.png": b"image/png",
    "start.js": b"text/javascript; charset=utf-8",
}


@cache
def _asset(name: str) -> bytes:
    return resources.files("rxdesk.web").joinpath("swagger_ui", name).read_bytes()


def _page(base: str, title: str) -> bytes:
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n"
        f'<link rel="stylesheet" href="{base}/apidocs/swagger-ui.css">\n'
        f'<link rel="icon" type="image/png" href="{base}/apidocs/favicon-32x32.png">\n'
        f'</head>\n<body>\n<div id="swagger-ui" data-document="{base}/openapi.json"></div>\n'
        "<noscript>This page needs JavaScript. The document it shows is "
        f'<a href="{base}/openapi.json">openapi.json</a>.</noscript>\n'
        f'<script src="{base}/apidocs/swagger-ui-bundle.js"></script>\n'
        f'<script src="{base}/apidocs/start.js"></script>\n'
        "</body>\n</html>\n"
    ).encode()


def _at(give: Callable[[Scope], Awaitable[Answer]]) -> dict[str, App]:
    async def serve(scope: Scope, _: Receive, send: Send) -> None:
        await send_answer(send, await give(scope))

    return {"GET": serve}


def documents(api: Api) -> dict[str, dict[str, App]]:
    """Make the handlers of an API's Swagger page and document, by path and method."""
    page = _page(api.base, api.title)
    document = cache(lambda: openapi.encode(api))

    async def apidocs(_: Scope) -> Answer:
        headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
        return Answer(200, page, headers, b"text/html; charset=utf-8")

    async def asset(scope: Scope) -> Answer:
        name = scope["path_params"]["name"]
        if name not in _ASSETS:
            return error_answer(errors.not_found())
        return Answer(200, _asset(name), {"Cache-Control": "max-age=3600"}, _ASSETS[name])

    async def openapi_document(_: Scope) -> Answer:
        return Answer(200, document(), {"Cache-Control": "no-cache"})

    return {
        f"{api.base}/apidocs": _at(apidocs),
        f"{api.base}/apidocs/{{name}}": _at(asset),
        f"{api.base}/openapi.json": _at(openapi_document),
    }


def probes(ready: Callable[[], Awaitable[bool]]) -> dict[str, dict[str, App]]:
    """Make the handlers of an orchestrator's probes, by path and method."""

    async def livez(_: Scope) -> Answer:
        return Answer(200, b'{"status":"ok"}')

    async def readyz(_: Scope) -> Answer:
        if await ready():
            return Answer(200, b'{"status":"ok"}')
        return Answer(503, b'{"status":"unavailable"}', {"Retry-After": "1"})

    return {"/livez": _at(livez), "/readyz": _at(readyz)}
