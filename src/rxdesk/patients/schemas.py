"""What the patient routes give (contract, section 2, routes 6 to 8)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec


class Patient(msgspec.Struct, kw_only=True):
    """A patient; `data` holds display_name, email, date_of_birth and the organisation's profile fields."""

    uid: str
    data: dict[str, Any]


class EmailSearch(msgspec.Struct, kw_only=True):
    """The e-mail address that a patient or one of the patient's orders has, letter case aside."""

    email: Annotated[str, msgspec.Meta(min_length=1, description="An e-mail address")]


class Intent(msgspec.Struct, kw_only=True):
    """Whether the last signed submission for an intent still counts."""

    return_code: Literal["VALID", "EXPIRED", "NOT_FOUND"]


EXAMPLE = Patient(
    uid="pp-abc123",
    data={"display_name": "Max Mustermann", "email": "max@example.com", "date_of_birth": "1990-01-15"},
)
INTENT_EXAMPLE = Intent(return_code="VALID")
