"""Push notifications: one query for all passes of the array, one insert for all messages, one transaction."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated

from django.db import transaction
from django.db.models import F, FilteredRelation, Q
from django.db.models.functions import Coalesce
from ninja import Body, Router

from bench.peers.django_ninja import schemas
from bench.peers.django_ninja.auth import Caller, Key, Request
from bench.peers.django_ninja.models import Pass, PushNotification
from bench.peers.django_ninja.reading import Values
from rxdesk.kit.uids import new_uid

router = Router()
_PLACEHOLDER = re.compile(r"\{([^{}\s]+)\}")
_PERSONAL = ("display_name", "first_name", "last_name")
_LONGEST = 500
Pushes = Annotated[list[schemas.Push], Body(min_length=1, max_length=1000)]


class _UnfitError(Exception):
    """A message that cannot be queued; its text is the contract's error."""


@router.post(
    "/wallet-passes/push-notifications",
    auth=Key("wallet_pass_push_notification:write"),
    response=schemas.PushResults,
)
def send_push_notifications(request: Request, pushes: Pushes) -> Values:
    """Queue the messages; a fault of state fails its element alone."""
    with transaction.atomic():
        return _queue(request.auth, pushes)


def _queue(caller: Caller, pushes: list[schemas.Push]) -> Values:
    now = datetime.now(UTC)
    passes = _passes(caller.organisation_id, {push.wallet_pass_uid for push in pushes})
    queued, results = [], []
    for push in pushes:
        result = {"wallet_pass_uid": push.wallet_pass_uid, "status": "queued", "error": None}
        try:
            message = _message(push.message, passes.get(push.wallet_pass_uid), now)
        except _UnfitError as unfit:
            result.update(status="failed", error=str(unfit))
        else:
            queued.append(
                PushNotification(
                    organisation_id=caller.organisation_id,
                    uid=new_uid("pn"),
                    wallet_pass_uid=push.wallet_pass_uid,
                    message=message,
                    status="queued",
                    created_at=now,
                    actor_kind="key",
                    actor_uid=caller.key_uid,
                )
            )
        results.append(result)
    PushNotification.objects.bulk_create(queued)
    return {"data": results, "total": len(results)}


def _passes(tenant: int, uids: set[str]) -> dict[str, Values]:
    """Give the passes by uid, with their template's fields and the names of who holds them."""
    rows = (
        Pass.objects.of(tenant, uid__in=uids, template__deleted_at=None)
        .annotate(holder=FilteredRelation("patient", condition=Q(patient__deleted_at=None)))
        .values(
            "uid",
            "status",
            "expires_at",
            "field_values",
            fields=F("template__fields"),
            **{f"holder_{name}": Coalesce(f"holder__{name}", name) for name in _PERSONAL},
        )
    )
    return {row["uid"]: row for row in rows}


def _message(text: str, wallet_pass: Values | None, now: datetime) -> str:
    if wallet_pass is None:
        raise _UnfitError("not_found")
    expires_at = wallet_pass["expires_at"]
    if wallet_pass["status"] == "active" and expires_at is not None and expires_at <= now:
        raise _UnfitError("expired")
    if wallet_pass["status"] != "active":
        raise _UnfitError(wallet_pass["status"])

    def fill(match: re.Match[str]) -> str:
        return _value(match[1], wallet_pass)

    filled = _PLACEHOLDER.sub(fill, text)
    if len(filled) > _LONGEST:
        raise _UnfitError("too_long")
    return filled


def _value(name: str, wallet_pass: Values) -> str:
    if name in _PERSONAL:
        value = wallet_pass[f"holder_{name}"]
    elif name in wallet_pass["fields"]:
        value = wallet_pass["field_values"].get(name)
    else:
        raise _UnfitError(f"unknown_placeholder:{name}")
    if value is None or value == "":
        raise _UnfitError(f"empty_placeholder:{name}")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
