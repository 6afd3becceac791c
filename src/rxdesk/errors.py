"""The one error type of the API, and those that several features share (contract, section 1, Errors)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class ApiError(Exception):
    """An answer that is not a success: status, JSON body and extra headers."""

    def __init__(
        self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers or {}


def simple(status: int, text: str, **members: object) -> ApiError:
    """Make the standard error: `{"error": text}` and further members."""
    return ApiError(status, {"error": text, **members})


def not_found(field: str | None = None) -> ApiError:
    """Make the 404, the same for absent, deleted and another organisation's; `field` names a body reference."""
    return (
        simple(404, "Resource not found") if field is None else simple(404, "Resource not found", field=field)
    )


def fault(field: str, location: str, message: str) -> dict[str, str]:
    """Describe one faulty member of the input; `location` is body, query or path."""
    return {"field": field, "location": location, "message": message}


def invalid(*faults: dict[str, str]) -> ApiError:
    """Make the validation error, naming each faulty top-level member."""
    return ApiError(400, {"error": "Validation failed", "details": list(faults)})


def header_missing() -> ApiError:
    """Make the 401 for a request without X-API-Key."""
    return ApiError(
        401, {"code": "authorization_header_missing", "description": "Authorization header is expected"}
    )


def header_invalid() -> ApiError:
    """Make the 401 for an X-API-Key that is empty, over 256 bytes, not ASCII or sent twice."""
    return ApiError(
        401,
        {
            "code": "invalid_header",
            "description": "X-API-Key must be sent once, as 1 to 256 printable ASCII characters",
        },
    )


def key_invalid() -> ApiError:
    """Make the 401 for a key of wrong form, unknown, inactive, expired or revoked: all the same."""
    return ApiError(401, {"code": "invalid_api_key", "description": "The API key is not valid"})


def token_invalid() -> ApiError:
    """Make the 401 of a device whose token is missing or not the pass's; the same where there is no such pass."""
    return simple(401, "The token is not valid")


def permission_denied() -> ApiError:
    """Make the 403, decided before the resource is looked up."""
    return ApiError(
        403,
        {"code": "permission_denied", "description": "The API key lacks the permission for this operation"},
    )


def not_allowed(text: str, allowed: Iterable[str]) -> ApiError:
    """Make the 409 of a step that a lifecycle does not have; `allowed` names the steps that it has from there."""
    return simple(409, text, allowed=list(allowed))


def too_many(retry_after: int, text: str = "Rate limit exceeded") -> ApiError:
    """Make the 429; `retry_after` in seconds."""
    return ApiError(429, {"error": text}, {"Retry-After": str(retry_after)})


def unavailable(retry_after: int = 1) -> ApiError:
    """Make the 503 of overload or an absent database; `retry_after` in seconds."""
    return ApiError(503, {"error": "Service unavailable"}, {"Retry-After": str(retry_after)})
