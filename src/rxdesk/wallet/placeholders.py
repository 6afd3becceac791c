"""Placeholders: `{first_name}` and the like in messages and in the fields of cards, filled from the holder's data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# Whatever stands in braces: a misspelt name must fail, not reach the holder as it is.
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
PERSONAL = ("display_name", "first_name", "last_name")


def names_in(text: str) -> Iterator[str]:
    """Name the placeholders of a text; braces with nothing in them are none."""
    return (name for match in _PLACEHOLDER.finditer(text) if (name := match[1].strip()))


def fill(text: str, value_of: Callable[[str], str]) -> str:
    """Fill a text; what a value holds is not looked at again."""

    def filled(match: re.Match[str]) -> str:
        name = match[1].strip()
        return value_of(name) if name else match[0]

    return _PLACEHOLDER.sub(filled, text)


def values_of(personal: Mapping[str, Any], field_values: str) -> dict[str, str]:
    """Give the text for each placeholder that has one; `field_values` is JSON text.

    A number is written as the database has it: 12.50 stays 12.50. A field that is called as a name stands in for it
    where the holder's own is not known.
    """
    values = json.loads(field_values, parse_int=str, parse_float=str)
    values |= {name: personal[name] for name in PERSONAL if personal[name]}
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in values.items()
        if value is not None and value != ""
    }
