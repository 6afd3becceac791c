"""Google's schema of classes and objects: names, types and choices, as its discovery document has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

_PYTHON: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


@cache
def _schema() -> dict[str, Any]:
    text = resources.files("rxdesk.wallet.emulator").joinpath("google_schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def fault_of(kind: str, value: object) -> str | None:
    """Say what is wrong with a value of one of Google's types, such as `GenericObject`; None when nothing is.

    Unknown names, values of another type or choice, and required names that are missing or empty.
    """
    fault = _fault(kind, value, kind)
    if fault is None and isinstance(value, dict):
        missing = [name for name in _schema()["required"].get(kind, ()) if not value.get(name)]
        fault = f"{kind}.{missing[0]} is required" if missing else None
    return fault


def _fault(kind: Any, value: object, place: str) -> str | None:  # noqa: ANN401 - a name, a list or a choice
    if isinstance(kind, list):
        if not isinstance(value, list):
            return f"{place} must be a list"
        faults = (_fault(kind[0], item, f"{place}[{number}]") for number, item in enumerate(value))
        return next((fault for fault in faults if fault is not None), None)
    if isinstance(kind, dict):
        return None if value in kind["enum"] else f"{place} has a value that there is not"
    if kind in _PYTHON:
        right = isinstance(value, _PYTHON[kind]) and isinstance(value, bool) == (kind == "boolean")
        return None if right else f"{place} must be of type {kind}"
    return _fault_of_object(kind, value, place)


def _fault_of_object(kind: str, value: object, place: str) -> str | None:
    if not isinstance(value, dict):
        return f"{place} must be an object"
    known = _schema()["types"][kind]
    for name, item in value.items():
        if name not in known:
            return f"{place} has no {name}"
        fault = _fault(known[name], item, f"{place}.{name}")
        if fault is not None:
            return fault
    return None
