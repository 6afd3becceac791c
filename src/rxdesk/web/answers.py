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
SendBytes: TypeAlias = Callable[[bytes], Awaitable[None]]
Writer: TypeAlias = Callable[[SendBytes], Awaitable[None]]

JSON = b"application/json"
_WITHOUT_BODY = (204, 304)


class Answer(msgspec.Struct, frozen=True):
    """What a handler gives: status, bytes, extra headers, and their media type.

    A `writer` sends the body itself, piece by piece, for as long as it takes.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = {}
    media_type: bytes = JSON
    writer: Writer | None = None


def error_answer(error: ApiError) -> Answer:
    """Make the answer of an ApiError."""
    return Answer(error.status, msgspec.json.encode(error.body), error.headers)


async def send_answer(send: Send, answer: Answer, raw: RawHeaders = ()) -> None:
    """Send an answer; `raw` are headers of the caller's rate limit."""
    headers = list(raw)
    if answer.status not in _WITHOUT_BODY:
        headers.append((b"content-type", answer.media_type))
        if answer.writer is None:
            headers.append((b"content-length", str(len(answer.body)).encode()))
    if answer.headers:
        headers += [
            (name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()
        ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.writer is not None:
        await answer.writer(
            lambda piece: send({"type": "http.response.body", "body": piece, "more_body": True})
        )
    await send({"type": "http.response.body", "body": answer.body})
