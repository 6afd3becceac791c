"""From the bytes of a line to a typed entity, or to the names of all its faults.

The fast path is the strict door and one typed conversion. It stops at the first fault; only then a second
pass walks the line and names each one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from rxdesk.importing.formats import LINES, Entity, Kind
from rxdesk.importing.rules import rule_faults
from rxdesk.kit.strict_json import StrictJsonError, loads
from rxdesk.kit.wording import plain

# Of what a file says, no more than this is repeated: a line may be a megabyte, and a report holds 1,000.
_MAX_NAME = 80
_MAX_REASON = 200
_FIELD = re.compile(r" - at `\$[^`]*`")


class FieldFault(NamedTuple):
    """A fault inside a line: the dotted path of the field, and why."""

    field: str
    reason: str


def decode(kind: Kind, data: bytes) -> Entity | list[FieldFault]:
    """Decode a line: the entity, or at least one fault."""
    try:
        value = loads(data)
    except StrictJsonError as error:
        return [FieldFault("", str(error))]
    try:
        entity = msgspec.convert(value, LINES[kind])
    except msgspec.ValidationError as error:
        # What convert refused and the walk does not would be a gap in the walk: its own words are kept then.
        return list(_walk(value, LINES[kind], "")) or [FieldFault("", _reason(str(error), object))]
    faults = [FieldFault(field, reason) for field, reason in rule_faults(entity)]
    return faults or entity


def _walk(value: object, wanted: Any, path: str) -> Iterator[FieldFault]:  # noqa: ANN401 (any annotation)
    struct = _struct_in(wanted)
    if struct is not None and isinstance(value, dict):
        yield from _walk_struct(value, struct, path)
    elif (item := _item_of(wanted)) is not None and isinstance(value, list):
        places = (f"{path}.{position}" if path else str(position) for position in range(len(value)))
        faults = [
            fault for one, place in zip(value, places, strict=True) for fault in _walk(one, item, place)
        ]
        yield from faults or _refused(value, wanted, path)  # each may be right, and they be too many
    else:
        yield from _refused(value, wanted, path)


def _refused(value: object, wanted: Any, path: str) -> Iterator[FieldFault]:  # noqa: ANN401
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        yield FieldFault(path, _reason(str(error), wanted))


def _walk_struct(value: dict[str, Any], struct: type[msgspec.Struct], path: str) -> Iterator[FieldFault]:
    prefix = f"{path}." if path else ""
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    hints = get_type_hints(struct, include_extras=True)
    for name in value:
        if name not in fields:
            yield FieldFault(prefix + name[:_MAX_NAME], "unknown member")
    for name, field in fields.items():
        if name in value:
            yield from _walk(value[name], hints[name], prefix + name)
        elif field.required:
            yield FieldFault(prefix + name, "required, but missing")


def _bare(wanted: Any) -> Any:  # noqa: ANN401
    """Give a type without what is said of it besides: that it may be null, its limits."""
    if get_origin(wanted) in (Union, UnionType):
        others = [one for one in get_args(wanted) if one is not NoneType]
        return _bare(others[0]) if len(others) == 1 else wanted
    return get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted


def _struct_in(wanted: Any) -> type[msgspec.Struct] | None:  # noqa: ANN401
    wanted = _bare(wanted)
    return wanted if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct) else None


def _item_of(wanted: Any) -> Any:  # noqa: ANN401
    """Give the type of a list's items when they are objects; None for anything else."""
    wanted = _bare(wanted)
    if get_origin(wanted) is list and _struct_in(get_args(wanted)[0]) is not None:
        return get_args(wanted)[0]
    return None


def _reason(message: str, wanted: Any) -> str:  # noqa: ANN401
    if message.startswith("Expected `str` matching regex"):
        return f"not of its form{_description(wanted)}"
    reason = plain(_FIELD.sub("", message))
    if len(reason) > _MAX_REASON:
        reason = f"{reason[:_MAX_REASON]}…"
    if reason.startswith("Invalid enum value"):
        return f"{reason[0].lower()}{reason[1:]}; one of: {', '.join(_choices(wanted))}"
    return reason[0].lower() + reason[1:]


def _description(wanted: Any) -> str:  # noqa: ANN401
    for part in (wanted, *get_args(wanted)):
        for meta in getattr(part, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.description:
                return f": {meta.description}"
    return ""


def _choices(wanted: Any) -> list[str]:  # noqa: ANN401
    return [choice for choice in get_args(wanted) if isinstance(choice, str)]
