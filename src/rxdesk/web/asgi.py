"""The outermost layer: request ids, HEAD and OPTIONS, the deadline, the log line, and the last resort."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

import msgspec
import structlog

from rxdesk.kit import logs
from rxdesk.kit.deadlines import Deadlines
from rxdesk.web.answers import Answer, App, Receive, Scope, Send, SendBytes

Observe: TypeAlias = Callable[[str, str, int, float], None]

_log = structlog.get_logger("rxdesk.http")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_AS_DECLARED = (b"x-content-type-options", b"nosniff")
_NOT_KEPT = (b"cache-control", b"no-store")
_NO_SUCH_METHOD = "-"


class Outer:
    """Wraps the framework's application."""

    def __init__(
        self, app: App, *, request_seconds: float, observe: Observe, close: Callable[[], Awaitable[None]]
    ) -> None:
        self._app = app
        self.close = close
        self._request_seconds = request_seconds
        self._observe = observe
        self._deadlines = Deadlines()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope["headers"])
        method = scope["method"]
        inner = scope
        if method == "HEAD":
            inner = {**scope, "method": "GET", "rxdesk.head": True}
        elif method not in _METHODS:
            inner = {**scope, "method": _NO_SUCH_METHOD}  # a 405 that names the methods there are
        body: _Receiving | None = None
        if method in _WITH_BODY:
            receive = body = _Receiving(receive, scope["headers"])
        answer = _Sending(send, request_id, body, without_body=method == "HEAD")
        # Half a second is left to say that it took too long.
        deadline = asyncio.get_running_loop().time() + self._request_seconds - 0.5
        inner["rxdesk.deadline"] = deadline
        raw_path = scope.get("raw_path") or b""
        if b"%2f" in raw_path.lower():  # an encoded slash is a part of a name, not a separator
            inner["path"] = unquote(_SLASH.sub(quote(SLASH).encode(), raw_path))
        inner["path"] = inner["path"].removesuffix("/")  # every route answers with and without it
        try:
            with self._deadlines.at(deadline + 0.5) as inner["rxdesk.time_limit"]:
                await self._app(inner, receive, answer)
        except TimeoutError:
            await answer.instead(503, {"error": "Service unavailable"}, ((b"retry-after", b"1"),))
        except Exception as error:  # noqa: BLE001 (the last resort: whatever it is, the client gets a clean 500)
            _log.error("unhandled", request_id=request_id, error=type(error).__name__, at=_frames(error))
            await answer.instead(500, {"error": "Internal server error", "request_id": request_id})
        seconds = time.perf_counter() - started
        route = inner.get("rxdesk.route") or "-"
        self._observe(method, route, answer.status, seconds)
        logs.routine(
            "request",
            method=method if method in _METHODS else "other",
            route=route,
            status=answer.status,
            ms=round(seconds * 1000, 2),
            organisation=inner.get("rxdesk.organisation"),
            key=inner.get("rxdesk.key"),
            request_id=request_id,
        )


# Stands for an encoded slash in a path until a handler reads the name: a code point that is no character.
SLASH = "\uffff"
_SLASH = re.compile(rb"%2f", re.IGNORECASE)
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_METHODS = frozenset({"GET", "HEAD", *_WITH_BODY})
_DRAIN_BYTES = 8 * 1024 * 1024
_DRAIN_SECONDS = 1.0
_REFUSED = 400  # HTTP's first status of refusal


def begin(scope: Scope, answer: Answer) -> Answer:
    """Let an answer that writes itself take its time; HEAD has its headers only."""
    scope["rxdesk.time_limit"].lift()
    return msgspec.structs.replace(answer, writer=_write_nothing) if scope.get("rxdesk.head") else answer


async def _write_nothing(_: SendBytes) -> None:
    pass


def _request_id(headers: list[tuple[bytes, bytes]]) -> str:
    given = [value for name, value in headers if name == b"x-request-id"]
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0].decode("ascii")
    return f"req-{secrets.token_hex(16)}"  # a uid is in order of time as well, and takes five times as long


def _frames(error: BaseException) -> list[str]:
    """Give where an error arose, without its message, which may hold what a client sent."""
    return [
        f"{frame.filename}:{frame.lineno}:{frame.name}" for frame in traceback.extract_tb(error.__traceback__)
    ]


class _Receiving:
    """Hands a request's body on, and knows whether all of it came."""

    def __init__(self, receive: Receive, headers: list[tuple[bytes, bytes]]) -> None:
        self._receive = receive
        self._headers = headers
        self._ended = False

    async def __call__(self) -> Any:  # noqa: ANN401 (an ASGI message)
        asked, self._ended = self._ended, True  # a receive that is cut off cannot be asked again
        message = await self._receive()
        self._ended = asked or message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Take in what a refused request still sends, within limits.

        The server closes a connection with an unread body, and a client that is still sending would then see a
        reset instead of the answer. One that waits for `100 Continue` has sent nothing and must not be told to.
        """
        if any(name == b"expect" for name, _ in self._headers):
            return
        left = _DRAIN_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self._ended and left > 0:
                    left -= len((await self()).get("body", b""))


class _Sending:
    """Passes an answer on, with our headers; knows its status and whether it has begun."""

    def __init__(self, send: Send, request_id: str, body: _Receiving | None, *, without_body: bool) -> None:
        self._send = send
        self._request_body = body
        self._request_id = request_id
        self._without_body = without_body
        self.status = 0

    async def __call__(self, message: Any) -> None:  # noqa: ANN401 (an ASGI message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status >= _REFUSED and self._request_body is not None:
                await self._request_body.drain()
            # The list was made for this one answer: a copy for each costs more than the headers.
            headers: list[tuple[bytes, bytes]] = message["headers"]
            if not [name for name, _ in headers if name == b"cache-control"]:
                headers.append(_NOT_KEPT)
            headers += ((b"x-request-id", self._request_id.encode()), _AS_DECLARED)
        elif self._without_body:
            message["body"] = b""
        await self._send(message)

    async def instead(
        self, status: int, body: Mapping[str, object], headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        """Send an answer of our own, unless one has begun."""
        if self.status:
            return
        encoded = msgspec.json.encode(body)
        start = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(encoded)).encode()),
            *headers,
        ]
        await self({"type": "http.response.start", "status": status, "headers": start})
        await self({"type": "http.response.body", "body": encoded})
