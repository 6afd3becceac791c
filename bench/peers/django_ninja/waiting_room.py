"""The waiting room. The order of a shop's queue is drawn from a sequence under the lock of its room's row."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import transaction
from django.db.models import Exists, QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from ninja import Router

from bench.peers import schemas
from bench.peers.django_ninja.auth import Key, Request
from bench.peers.django_ninja.models import Doctor, Event, EventStream, Patient, Shop, Visit, WaitingRoom
from bench.peers.django_ninja.reading import Values, uid_or_404
from bench.peers.rules import (
    PRESENT,
    VISIT_EVENT,
    ApiError,
    Caller,
    not_found,
    visit_event,
    waiting_minutes,
)
from rxdesk.kit.uids import new_uid

router = Router()


@router.post("/waiting-room/register", auth=Key("waiting_room:write"), response={201: schemas.Place})
def register_visit(request: Request, body: schemas.Registration) -> Values:
    """Give the patient the next place in the shop's queue."""
    with transaction.atomic():
        return _register(request.auth, body)


def _register(caller: Caller, body: schemas.Registration) -> Values:
    tenant = caller.organisation_id
    shop = _references(tenant, body)
    # Held to the end of the transaction, so that turns become visible in their order.
    room, _ = WaitingRoom.objects.select_for_update().get_or_create(
        organisation_id=tenant, uid=body.shop_uid, defaults={"last_turn": 0}
    )
    present = Visit.objects.of(
        tenant, shop_uid=body.shop_uid, patient_uid=body.patient_profile_uid, status__in=PRESENT
    )
    for uid in present.values_list("uid", flat=True):
        raise ApiError(409, {"error": "Patient is already waiting", "queue_uid": uid})
    room.last_turn += 1
    room.save(update_fields=["last_turn"])
    now = datetime.now(UTC)
    visit = Visit.objects.create(
        organisation_id=tenant,
        uid=new_uid("q"),
        shop_uid=body.shop_uid,
        patient_uid=body.patient_profile_uid,
        preferred_doctor_uid=body.preferred_doctor_uid,
        visit_reason=body.visit_reason,
        status="waiting",
        turn=room.last_turn,
        created_at=now,
        updated_at=now,
        actor_kind="key",
        actor_uid=caller.key_uid,
    )
    position = _waiting_up_to(tenant, body.shop_uid, visit.turn).count()
    _tell(caller, visit.uid, visit.status, visit.created_at)
    return {
        "queue_uid": visit.uid,
        "position": position,
        "estimated_wait_minutes": waiting_minutes(
            position, shop["consultation_minutes"], shop["doctors_on_duty"]
        ),
    }


def _tell(caller: Caller, uid: str, status: str, created_at: datetime) -> None:
    """Store the event of a visit's change, under the lock that gives positions."""
    stream, _ = EventStream.objects.select_for_update().get_or_create(
        organisation_id=caller.organisation_id, uid="all", defaults={"last_position": 0}
    )
    stream.last_position += 1
    stream.save(update_fields=["last_position"])
    now = datetime.now(UTC)
    Event.objects.create(
        organisation_id=caller.organisation_id,
        uid=new_uid("evt"),
        position=stream.last_position,
        event_type=VISIT_EVENT,
        subject_uid=uid,
        occurred_at=now,
        body=visit_event(uid, status, created_at, now),
        actor_kind="key",
        actor_uid=caller.key_uid,
    )


def _references(tenant: int, body: schemas.Registration) -> Values:
    """Give the shop. Raises 404 naming the first reference that is not the organisation's."""
    known = {
        "patient_profile_uid": Exists(Patient.objects.of(tenant, uid=body.patient_profile_uid)),
    }
    if body.preferred_doctor_uid is not None:
        known["preferred_doctor_uid"] = Exists(Doctor.objects.of(tenant, uid=body.preferred_doctor_uid))
    shops = Shop.objects.of(tenant, uid=body.shop_uid)
    for shop in shops.values("consultation_minutes", "doctors_on_duty", **known):
        for field in known:
            if not shop[field]:
                raise not_found(field)
        return shop
    raise not_found("shop_uid")


def _waiting_up_to(tenant: int, shop_uid: str, turn: int) -> QuerySet:
    return Visit.objects.of(tenant, shop_uid=shop_uid, status="waiting", turn__lte=turn)


@router.get("/waiting-room/{queue_uid}/status", auth=Key("waiting_room:read"), response=schemas.VisitStatus)
def get_visit_status(request: Request, queue_uid: str) -> Values:
    """Answer with status, position and estimate."""
    tenant = request.auth.organisation_id
    visit = get_object_or_404(
        Visit.objects.of(tenant, uid=uid_or_404(queue_uid)).values(
            "status",
            "shop_uid",
            "turn",
            "video_room_id",
            "allocated_at",
            "shop__consultation_minutes",
            "shop__doctors_on_duty",
        )
    )
    position = minutes = None
    if visit["status"] == "waiting":
        position = _waiting_up_to(tenant, visit["shop_uid"], visit["turn"]).count()
        minutes = waiting_minutes(
            position, visit["shop__consultation_minutes"], visit["shop__doctors_on_duty"]
        )
    return {
        "queue_uid": queue_uid,
        "status": visit["status"],
        "position": position,
        "estimated_wait_minutes": minutes,
        "video_room_id": visit["video_room_id"],
        "allocated_at": visit["allocated_at"],
    }


@router.delete("/waiting-room/{queue_uid}", auth=Key("waiting_room:write"), response={204: None})
def cancel_visit(request: Request, queue_uid: str) -> None:
    """Cancel a visit that waits or is allocated; one that is cancelled already stays so."""
    caller, now = request.auth, datetime.now(UTC)
    with transaction.atomic():
        visit = (
            Visit.objects.of(caller.organisation_id, uid=uid_or_404(queue_uid)).select_for_update().first()
        )
        if visit is None:
            raise Http404
        if visit.status == "completed":
            raise ApiError(409, {"error": "The visit is completed and cannot be cancelled"})
        if visit.status not in PRESENT:
            return
        visit.status, visit.ended_at, visit.updated_at = "cancelled", now, now
        visit.actor_kind, visit.actor_uid = "key", caller.key_uid
        visit.save(update_fields=["status", "ended_at", "updated_at", "actor_kind", "actor_uid"])
        _tell(caller, visit.uid, visit.status, visit.created_at)
