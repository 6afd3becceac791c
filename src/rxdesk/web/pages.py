"""The open pages: Swagger UI with files of ours, the OpenAPI document, and the probes of an orchestrator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from importlib import resources
from typing import Any

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from rxdesk import errors
from rxdesk.web import openapi
from rxdesk.web.answers import error_response, json_response
from rxdesk.web.endpoint import Endpoint

# Nothing from elsewhere: scripts, styles, images and requests are our own origin's.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript; charset=utf-8",
}


@cache
def _asset(name: str) -> bytes:
    return resources.files("rxdesk.web").joinpath("swagger_ui", name).read_bytes()


def _page(base: str) -> bytes:
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>RxDesk Management API</title>\n"
        f'<link rel="stylesheet" href="{base}/apidocs/swagger-ui.css">\n'
        f'<link rel="icon" type="image/png" href="{base}/apidocs/favicon-32x32.png">\n'
        f'</head>\n<body>\n<div id="swagger-ui" data-document="{base}/openapi.json"></div>\n'
        "<noscript>This page needs JavaScript. The document it shows is "
        f'<a href="{base}/openapi.json">openapi.json</a>.</noscript>\n'
        f'<script src="{base}/apidocs/swagger-ui-bundle.js"></script>\n'
        f'<script src="{base}/apidocs/start.js"></script>\n'
        "</body>\n</html>\n"
    ).encode()


def handlers(
    endpoints: Iterable[Endpoint], base: str, *, ready: Callable[[], Awaitable[bool]]
) -> list[HTTPRouteHandler]:
    """Make the handlers that need no key."""
    page = _page(base)
    document = cache(lambda: openapi.encode(endpoints, base))

    @get(f"{base}/apidocs", name="apidocs")
    async def apidocs() -> Response[bytes]:
        headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
        return Response(page, media_type="text/html; charset=utf-8", headers=headers)

    @get(f"{base}/apidocs/{{name:str}}", name="apidocs_asset")
    async def asset(request: Request[Any, Any, Any]) -> Response[bytes]:
        name = request.path_params["name"]
        if name not in _ASSETS:
            return error_response(errors.not_found())
        return Response(_asset(name), media_type=_ASSETS[name], headers={"Cache-Control": "max-age=3600"})

    @get(f"{base}/openapi.json", name="openapi")
    async def openapi_document() -> Response[bytes]:
        return json_response(200, document(), {"Cache-Control": "no-cache"})

    @get("/livez", name="livez")
    async def livez() -> Response[bytes]:
        return json_response(200, b'{"status":"ok"}', {})

    @get("/readyz", name="readyz")
    async def readyz() -> Response[bytes]:
        if await ready():
            return json_response(200, b'{"status":"ok"}', {})
        return json_response(503, b'{"status":"unavailable"}', {"Retry-After": "1"})

    return [apidocs, asset, openapi_document, livez, readyz]
