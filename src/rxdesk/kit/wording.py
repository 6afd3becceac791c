"""What msgspec says of a value that it refuses, in the words of JSON."""

from __future__ import annotations

import re

_NOUNS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "date": "a date",
}
_OTHER = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_BOUND = re.compile(r"Expected `([^`]+)`")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`")


def plain(message: str) -> str:
    """Put a validation error in plain words: `must be an integer or null, not a string`."""
    message = _OTHER.sub(lambda m: f"must be {_nouns(m[1])}, not {_nouns(m[2])}", message, count=1)
    message = _BOUND.sub(lambda m: f"must be {_nouns(m[1])}", message, count=1)
    message = _MISSING.sub(r"must have the member '\1'", message, count=1)
    message = _UNKNOWN.sub(r"has the member '\1', which is not known here", message, count=1)
    message = message.replace("Invalid RFC3339 encoded date", "must be a date, as YYYY-MM-DD")
    return message.replace("`", "'")


def _nouns(kinds: str) -> str:
    return " or ".join(_NOUNS.get(kind, kind) for kind in kinds.split(" | "))
