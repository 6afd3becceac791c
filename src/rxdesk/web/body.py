"""Input from a request: the strict door for bodies, and query parameters given once."""

from __future__ import annotations

import asyncio
import itertools
import re
import types
import typing
from collections.abc import Awaitable, Callable, Container, Hashable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from rxdesk import errors
from rxdesk.kit import strict_json
from rxdesk.kit.wording import plain

T = TypeVar("T")

MAX_BODY = 1024 * 1024
_MOST_FAULTS = 1000
_LONGEST_FAULT = 200
_LONGEST_NAME = 100  # of an unknown member, as it is echoed
_JSON = re.compile(r'\s*application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?;?\s*', re.IGNORECASE)
_INTEGER = re.compile(r"[0-9]{1,10}", re.ASCII)

Receive = Callable[[], Awaitable[Any]]


def check_content_type(values: Sequence[bytes]) -> None:
    """Refuse another type than JSON, and two; none counts as JSON."""
    if values and (len(values) > 1 or _JSON.fullmatch(values[0].decode("latin-1")) is None):
        raise errors.simple(415, "Content-Type must be application/json")


async def read_body(
    receive: Receive, content_length: bytes | None, *, deadline: float, limit: int = MAX_BODY
) -> bytes:
    """Read a whole body of at most so many bytes (1 MiB) before the deadline (event loop time)."""
    too_large = errors.simple(413, f"The body is larger than {limit} bytes")
    if content_length is not None and content_length.isdigit() and int(content_length) > limit:
        raise too_large
    parts: list[bytes] = []
    length = 0
    try:
        async with asyncio.timeout_at(deadline):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise errors.simple(400, "The body ended early")
                part = message.get("body", b"")
                length += len(part)
                if length > limit:
                    raise too_large
                parts.append(part)
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError as error:
        raise errors.simple(408, "The body did not arrive in time") from error


def decode(body: bytes) -> Any:  # noqa: ANN401 (JSON has no narrower type before a schema gives one)
    """Decode a body by the strict door; 400 when it is not JSON."""
    if not body:
        raise errors.simple(400, "The body is empty; JSON is expected")
    try:
        return strict_json.loads(body)
    except strict_json.StrictJsonError as error:
        raise errors.simple(400, f"The body is refused: {error}") from error


def convert(value: object, kind: type[T]) -> T:
    """Give the value as its schema; 400 naming each faulty top-level member."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise errors.invalid(*_faults(value, kind, str(error))) from error


def _faults(value: object, kind: Any, first: str) -> list[dict[str, str]]:  # noqa: ANN401 (a type form)
    """Name all faulty members, the first thousand: a second pass, on the way to an error only."""
    found = list(itertools.islice(_each_fault(value, kind), _MOST_FAULTS))
    return found or [errors.fault("", "body", _plain(first, kind))]


def _each_fault(value: object, kind: Any) -> Iterator[dict[str, str]]:  # noqa: ANN401 (a type form)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        yield from _each_fault(value, arguments[0])
    elif origin is list and isinstance(value, list):
        # Longer than any list may be, it is refused for its length; no need to look at a million items.
        for position, item in enumerate(value[:_MOST_FAULTS]):
            for fault in _item_faults(item, arguments[0]):
                field = f"{position}.{fault['field']}" if fault["field"] else str(position)
                yield {**fault, "field": field}
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(value, dict):
        yield from _member_faults(value, kind)


def _member_faults(value: dict[str, Any], kind: Any) -> Iterator[dict[str, str]]:  # noqa: ANN401 (a type form)
    fields, hints = _fields(kind)
    for name, field in fields.items():
        if name not in value:
            if field.required:
                yield errors.fault(name, "body", "is required")
            continue
        try:
            msgspec.convert(value[name], hints[field.name])
        except msgspec.ValidationError as error:
            yield errors.fault(name, "body", _plain(str(error), hints[field.name]))
    for name in value:
        if name not in fields:
            yield errors.fault(name[:_LONGEST_NAME], "body", "is not known here")


def _item_faults(item: object, kind: Any) -> list[dict[str, str]]:  # noqa: ANN401 (a type form)
    try:
        msgspec.convert(item, kind)
    except msgspec.ValidationError as error:
        return _faults(item, kind, str(error))
    return []


@cache
def _fields(kind: type[Any]) -> tuple[dict[str, msgspec.structs.FieldInfo], dict[str, Any]]:
    """Give a schema's fields by their name on the wire, and their types by their name in Python."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    return fields, typing.get_type_hints(kind, include_extras=True)


def _plain(message: str, kind: Any) -> str:  # noqa: ANN401 (a type form)
    """Say a fault in our words, and never with more of the input than one can read."""
    if message.startswith("Invalid enum value") and (values := _choices(kind)):
        return f"must be one of: {', '.join(values)}"
    message = plain(message)
    return message if len(message) <= _LONGEST_FAULT else message[:_LONGEST_FAULT] + "…"


@cache
def _choices(kind: Any) -> tuple[str, ...]:  # noqa: ANN401 (a type form)
    """Give the texts that a schema allows, where it is a choice of them."""
    if typing.get_origin(kind) is typing.Literal:
        return typing.get_args(kind)
    return tuple(choice for part in typing.get_args(kind) for choice in _choices(part))


def read_query(query: bytes, kind: type[T]) -> T:
    """Read the known parameters of a query string into their schema; unknown ones are ignored.

    400 when a known one is given twice, is not UTF-8, is missing, or is not of its type.
    """
    known, hints = _fields(typing.cast("Hashable", kind))
    given, faults = _given(query, known)
    values: dict[str, object] = {}
    bad = {fault["field"] for fault in faults}
    for name, field in known.items():
        texts = given.get(name, [])
        if len(texts) > 1:
            faults.append(errors.fault(name, "query", "is given more than once"))
        elif texts:
            try:
                values[name] = msgspec.convert(_typed(texts[0], hints[field.name]), hints[field.name])
            except (msgspec.ValidationError, ValueError) as error:
                faults.append(errors.fault(name, "query", _plain(str(error), hints[field.name])))
        elif field.required and name not in bad:
            faults.append(errors.fault(name, "query", "is required"))
    if faults:
        raise errors.invalid(*faults)
    return msgspec.convert(values, kind)


def _given(query: bytes, known: Container[str]) -> tuple[dict[str, list[str]], list[dict[str, str]]]:
    """Read the known parameters: their texts in order, and the faults of those that are no text."""
    given: dict[str, list[str]] = {}
    faults: list[dict[str, str]] = []
    for pair in query.split(b"&"):
        name_bytes, _, value_bytes = pair.partition(b"=")
        name = unquote_to_bytes(name_bytes.replace(b"+", b" ")).decode("utf-8", "replace")
        if name not in known:
            continue
        try:
            text = unquote_to_bytes(value_bytes.replace(b"+", b" ")).decode("utf-8")
        except UnicodeDecodeError:
            faults.append(errors.fault(name, "query", "is not UTF-8"))
            continue
        if "\x00" in text:
            faults.append(errors.fault(name, "query", "holds NUL"))
            continue
        given.setdefault(name, []).append(text)
    return given, faults


def _typed(text: str, hint: Any) -> str | int:  # noqa: ANN401 (a type form)
    if not _is_integer(hint):
        return text
    if _INTEGER.fullmatch(text) is None:
        message = "must be a whole number of 1 to 10 digits"
        raise ValueError(message)
    return int(text)


@cache
def _is_integer(hint: Any) -> bool:  # noqa: ANN401 (a type form)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _is_integer(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return any(_is_integer(argument) for argument in arguments)
    return hint is int
