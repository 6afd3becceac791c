"""Who asks: Ninja's header authentication over the table of keys, with the permission that a route wants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.http import HttpRequest
from ninja.security import APIKeyHeader

from bench.peers.django_ninja.errors import ApiError
from bench.peers.django_ninja.models import ApiKey
from rxdesk.kit.keys import read_key

_LONGEST_HEADER = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """A valid key."""

    organisation_id: int
    key_uid: str
    permissions: list[str]


class Request(HttpRequest):
    """What a handler gets: a request whose caller is known."""

    auth: Caller


class Key(APIKeyHeader):
    """Wants a valid key with this permission."""

    param_name = "X-API-Key"

    def __init__(self, permission: str) -> None:
        super().__init__()
        self.permission = permission

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller:  # noqa: ARG002 (Ninja's signature)
        """Give the caller. Raises the contract's 401 or 403."""
        if key is None:
            raise _refused(401, "authorization_header_missing", "Authorization header is expected")
        if not 0 < len(key) <= _LONGEST_HEADER or not key.isascii():
            raise _refused(
                401, "invalid_header", "X-API-Key must be sent once, as 1 to 256 printable ASCII characters"
            )
        caller = _find(key)
        if caller is None:
            raise _refused(401, "invalid_api_key", "The API key is not valid")
        if self.permission not in caller.permissions:
            raise _refused(403, "permission_denied", "The API key lacks the permission for this operation")
        return caller


def _find(key: str) -> Caller | None:
    reference = read_key(key)
    if reference is None:
        return None
    rows = ApiKey.objects.filter(
        organisation_id=reference.organisation_id, digest=reference.digest, revoked_at=None
    ).values_list("uid", "permissions", "expires_at")
    for uid, permissions, expires_at in rows:
        if expires_at is None or expires_at > datetime.now(UTC):
            return Caller(reference.organisation_id, uid, permissions)
    return None


def _refused(status: int, code: str, description: str) -> ApiError:
    return ApiError(status, {"code": code, "description": description})
