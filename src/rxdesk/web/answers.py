"""Answers as the framework wants them: the one place through which every body passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from litestar.response import Response

from rxdesk.errors import ApiError

_JSON = "application/json"


def json_response(
    status: int, body: bytes, headers: Mapping[str, str], raw: Iterable[tuple[bytes, bytes]] = ()
) -> Response[bytes]:
    """Make an answer of JSON bytes as they are; `raw` are headers of the caller's rate limit."""
    merged = {**headers, **{name.decode(): value.decode() for name, value in raw}}
    return Response(body, status_code=status, media_type=_JSON, headers=merged)


def error_response(error: ApiError, raw: Iterable[tuple[bytes, bytes]] = ()) -> Response[bytes]:
    """Make the answer of an ApiError."""
    return json_response(error.status, msgspec.json.encode(error.body), error.headers, raw)
