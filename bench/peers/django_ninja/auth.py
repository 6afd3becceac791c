"""Who asks: Ninja's header authentication over the table of keys, with the permission that a route wants."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import HttpRequest
from ninja.security import APIKeyHeader

from bench.peers.django_ninja.models import ApiKey
from bench.peers.rules import Caller, key_reference, permitted, unknown_key


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
        reference = key_reference(key)
        rows = ApiKey.objects.filter(
            organisation_id=reference.organisation_id, digest=reference.digest, revoked_at=None
        ).values_list("uid", "permissions", "expires_at")
        for uid, permissions, expires_at in rows:
            if expires_at is None or expires_at > datetime.now(UTC):
                caller = Caller(reference.organisation_id, uid, permissions)
                return permitted(caller, self.permission)
        raise unknown_key()
