"""The contract's error bodies."""

from __future__ import annotations

from collections.abc import Mapping

NOT_FOUND = {"error": "Resource not found"}


class ApiError(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, body: Mapping[str, object]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def not_found(field: str) -> ApiError:
    """A body's reference that is not the organisation's."""
    return ApiError(404, {**NOT_FOUND, "field": field})


def invalid(field: str, location: str, message: str) -> ApiError:
    """A faulty member of the input."""
    details = [{"field": field, "location": location, "message": message}]
    return ApiError(400, {"error": "Validation failed", "details": details})
