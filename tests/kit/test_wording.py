"""What a validation error says, in the words of JSON."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from rxdesk.kit.wording import plain


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    """A value with one member."""

    name: str


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (int, "7", "must be an integer, not a string"),
        (int | None, 1.5, "must be an integer or null, not a number"),
        (str, None, "must be a string, not null"),
        (list[int], {}, "must be an array, not an object"),
        (bool, [], "must be a boolean, not an array"),
        (Annotated[int, Meta(ge=1)], 0, "must be an integer >= 1"),
        (Annotated[str, Meta(max_length=3)], "four", "must be a string of length <= 3"),
        (list[int], [1, "2"], "must be an integer, not a string - at '$[1]'"),
        (date, "15.01.1990", "must be a date, as YYYY-MM-DD"),
        (Inner, {}, "must have the member 'name'"),
        (Inner, {"name": "x", "age": 1}, "has the member 'age', which is not known here"),
    ],
)
def test_words(kind: Any, value: object, said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(value, kind)
    assert plain(str(refused.value)) == said
