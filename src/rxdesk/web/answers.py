"""Answers: what a handler gives, and the one place through which every body leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from rxdesk.errors import ApiError

Scope: TypeAlias = Any  # ASGI's own types differ between servers and frameworks
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
RawHeaders: TypeAlias = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"
_NO_CONTENT = 204


class Answer(msgspec.Struct, frozen=True):
    """What a handler gives: status, bytes, extra headers, and their media type."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}
    media_type: bytes = JSON


def error_answer(error: ApiError) -> Answer:
    """Make the answer of an ApiError."""
    return Answer(error.status, msgspec.json.encode(error.body), error.headers)


async def send_answer(send: Send, answer: Answer, raw: RawHeaders = ()) -> None:
    """Send an answer; `raw` are headers of the caller's rate limit."""
    headers = list(raw)
    if answer.status != _NO_CONTENT:
        headers.append((b"content-type", answer.media_type))
        headers.append((b"content-length", str(len(answer.body)).encode()))
    if answer.headers:
        headers += [
            (name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()
        ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
