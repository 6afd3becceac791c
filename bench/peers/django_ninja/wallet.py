"""Push notifications: one query for all passes of the array, one insert for all messages, one transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from django.db import transaction
from django.db.models import F, FilteredRelation, Q
from django.db.models.functions import Coalesce
from ninja import Body, Router

from bench.peers import schemas
from bench.peers.django_ninja.auth import Key, Request
from bench.peers.django_ninja.models import Pass, PushNotification
from bench.peers.django_ninja.reading import Values
from bench.peers.rules import PERSONAL, Caller, Holder, UnfitError, message
from rxdesk.kit.uids import new_uid

router = Router()
Pushes = Annotated[list[schemas.Push], Body(min_length=1, max_length=1000)]


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
            text = message(push.message, passes.get(push.wallet_pass_uid), now)
        except UnfitError as unfit:
            result.update(status="failed", error=str(unfit))
        else:
            queued.append(
                PushNotification(
                    organisation_id=caller.organisation_id,
                    uid=new_uid("pn"),
                    wallet_pass_uid=push.wallet_pass_uid,
                    message=text,
                    status="queued",
                    created_at=now,
                    actor_kind="key",
                    actor_uid=caller.key_uid,
                )
            )
        results.append(result)
    PushNotification.objects.bulk_create(queued)
    return {"data": results, "total": len(results)}


def _passes(tenant: int, uids: set[str]) -> dict[str, Holder]:
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
            **{f"holder_{name}": Coalesce(f"holder__{name}", name) for name in PERSONAL},
        )
    )
    return {
        row["uid"]: Holder(
            row["status"],
            row["expires_at"],
            row["fields"],
            row["field_values"],
            {name: row[f"holder_{name}"] for name in PERSONAL},
        )
        for row in rows
    }
